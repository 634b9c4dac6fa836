"""The SOC of a store by its measured energies and its measured SOC: a Kalman filter with one state.

Notes
-----
s' = s + x - y, with x = W_import η_charge / E and y = W_export / (η_discharge E), as in `twin_devices.physics.storage`.
The residual is the measured SOC minus the predicted one. With the described parameters it is white, with the variance
that the filter states (the innovations property, Kailath 1968). If a parameter is another one, its mean is a known
multiple of that parameter's error; the multiple follows by the same recursion (Willsky and Jones, IEEE Trans. Automatic
Control 21, 1976).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.participant import Json
from twin_devices.physics.storage import Store

SOC_ERROR_FRAC = 0.005
"""Standard deviation of a measured SOC: a display in whole percent has 0.003 of rounding, and its gauge as much."""
ENERGY_ERROR_FRAC = 0.01
"""Standard deviation of the energy of an interval, of that energy: what is not a constant error of the meter."""
REST_DRIFT_PER_H = 0.0005
"""Standard deviation of what the SOC moves by itself in an hour: the battery management's own consumption."""
RECALIBRATED_DEVIATIONS, MOST_EFFECT = 6.0, 0.3
"""A residual beyond so many standard deviations, and beyond what a parameter that is off by this part explains, is the
gauge's own correction: it says nothing about the store."""

CHARGE, DISCHARGE, CAPACITY = "charge_efficiency", "discharge_efficiency", "capacity_kwh"
PARAMETERS = (CHARGE, DISCHARGE, CAPACITY)
"""Of a store; by the names of the site description."""


def described(store: Store) -> dict[str, float]:
    """The parameters of a store by name."""
    return {
        CHARGE: store.charge_efficiency,
        DISCHARGE: store.discharge_efficiency,
        CAPACITY: store.capacity_kwh,
    }


def value_at(parameter: str, described_value: float, effect: float) -> float:
    """The parameter whose changes of SOC are ``1 + effect`` times those described."""
    return described_value * (1.0 + effect) if parameter == CHARGE else described_value / max(1.0 + effect, 0.05)


def effect_of(parameter: str, ratio: float) -> float:
    """The inverse of `value_at`, for a parameter that is ``ratio`` times the described one."""
    return ratio - 1.0 if parameter == CHARGE else 1.0 / ratio - 1.0


def charged_frac(store: Store, drawn_kwh: float) -> float:
    """Change of SOC by AC energy drawn."""
    return drawn_kwh * store.charge_efficiency / store.capacity_kwh


def discharged_frac(store: Store, given_kwh: float) -> float:
    """Change of SOC by AC energy given, as a magnitude."""
    return given_kwh / store.discharge_efficiency / store.capacity_kwh


@dataclass(frozen=True, slots=True)
class Residual:
    """One measured SOC against its prediction. ``sensitivities``: mean of the residual per unit of effect."""

    value: float
    variance: float
    sensitivities: Mapping[str, float]


class SocFilter:
    """Follows one store from a first measured SOC on."""

    def __init__(self) -> None:
        self._soc: float | None = None
        self._variance = 0.0
        self._bias = dict.fromkeys(PARAMETERS, 0.0)
        """By how much the filter's SOC lags the true one, per unit of a parameter's effect."""

    @property
    def soc_frac(self) -> float | None:
        """None: not begun."""
        return self._soc

    def begin(self, measured_frac: float) -> None:
        """Forgets what was, and goes on from a measured SOC."""
        self._soc, self._variance = measured_frac, SOC_ERROR_FRAC**2
        self._bias = dict.fromkeys(PARAMETERS, 0.0)

    def stop(self) -> None:
        """There is no store any more, or its SOC is not known."""
        self._soc = None

    def expected(self, store: Store, drawn_kwh: float, given_kwh: float) -> float | None:
        """The SOC after these energies, within 0 and 1."""
        if self._soc is None:
            return None
        return min(max(self._soc + charged_frac(store, drawn_kwh) - discharged_frac(store, given_kwh), 0.0), 1.0)

    def step(
        self, store: Store, drawn_kwh: float, given_kwh: float, hours: float, measured_frac: float
    ) -> Residual | None:
        """Goes on by one interval; None: the SOC was recalibrated, and the filter begins anew."""
        assert self._soc is not None
        charged, discharged = charged_frac(store, drawn_kwh), discharged_frac(store, given_kwh)
        moved = ENERGY_ERROR_FRAC * (charged + discharged)
        predicted = self._soc + charged - discharged
        variance = self._variance + moved**2 + REST_DRIFT_PER_H**2 * hours
        residual, spread = measured_frac - predicted, variance + SOC_ERROR_FRAC**2
        effects = {CHARGE: charged, DISCHARGE: -discharged, CAPACITY: charged - discharged}
        sensitivities = {name: self._bias[name] + effect for name, effect in effects.items()}
        explained = MOST_EFFECT * max(map(abs, sensitivities.values()))
        if abs(residual) > RECALIBRATED_DEVIATIONS * spread**0.5 + explained:
            self.begin(measured_frac)
            return None
        gain = variance / spread
        self._soc = predicted + gain * residual
        self._variance = (1.0 - gain) * variance
        self._bias = {name: (1.0 - gain) * each for name, each in sensitivities.items()}
        return Residual(residual, spread, sensitivities)

    def snapshot(self) -> Json:
        return {"soc": self._soc, "variance": self._variance, "bias": self._bias}

    def restore(self, state: Json) -> None:
        self._soc, self._variance, self._bias = state["soc"], state["variance"], dict(state["bias"])
