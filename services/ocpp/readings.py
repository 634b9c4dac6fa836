"""Meter values of OCPP's versions as measurements in the contract's units and signs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ENERGY, EXPORTED = "Energy.Active.Import.Register", "Energy.Active.Export.Register"
POWER, POWER_OUT = "Power.Active.Import", "Power.Active.Export"
SOC = "SoC"
CURRENT, VOLTAGE = "Current.Import", "Voltage"
_FACTORS = {"W": 1.0, "kW": 1e3, "Wh": 1.0, "kWh": 1e3, "A": 1.0, "V": 1.0, "Percent": 0.01, "percent": 0.01}
"""To W, Wh, A, V and a fraction."""
_KIND = {ENERGY: "Wh", EXPORTED: "Wh", POWER: "W", POWER_OUT: "W", SOC: "Percent", CURRENT: "A", VOLTAGE: "V"}
"""Measurands that are read, with the unit where none is given."""
_ELSEWHERE = {"Inlet", "Body"}
"""Locations that are not the outlet's: the station's own supply."""
LEAST_A, LEAST_W = 2.0, 500.0
"""Least current, and power, of a phase that says on how many a vehicle charges; below, it may be an idle one's."""
_SLACK = 1.5
"""A power up to so many times the nameplate's is believed."""


@dataclass(frozen=True, slots=True)
class Rated:
    """Facts of the charger's description that its messages are held against."""

    max_charge_kw: float
    max_discharge_kw: float
    phases: int
    voltage_v: float
    power_unit: Literal["W", "kW"] | None = None
    energy_unit: Literal["Wh", "kWh"] | None = None
    switches_phases: bool = False
    """It charges on one phase or on ``phases``, as it is asked."""
    alone: int | None = None
    """Which phase (1 to 3) is to be used alone, where the site says so."""

    @property
    def most_kw(self) -> float:
        return max(self.max_charge_kw, self.max_discharge_kw)


@dataclass(frozen=True, slots=True)
class Reading:
    """Values of one instant; None: not said. ``faults``: sampled values that were not taken, and why."""

    power_kw: float | None = None
    energy_import_kwh: float | None = None
    energy_export_kwh: float | None = None
    soc_frac: float | None = None
    phases: Literal[1, 3] | None = None
    """On which current flows, where it is measured for each and enough of it flows."""
    faults: tuple[str, ...] = ()


@dataclass
class _Found:
    """Values by measurand and phase (None: all phases), in W, Wh, A, V and fractions."""

    values: dict[str, dict[str | None, float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def total(self, measurand: str) -> float | None:
        """The value of all phases, or the sum of those of single ones."""
        by_phase = self.values.get(measurand)
        if not by_phase:
            return None
        return by_phase[None] if None in by_phase else sum(by_phase.values())


def read(sampled: Iterable[Mapping[str, Any]], rated: Rated) -> Reading:
    """A meter value's sampled values, of OCPP 1.6 or 2, keys in snake case. What makes no sense is named and left out.

    ``Power`` is the import less the export. A charger that says currents alone has their power at unit power factor.
    """
    found = _Found()
    for sample in sampled:
        try:
            _take(sample, rated, found)
        except (ValueError, TypeError) as error:
            found.faults.append(str(error)[:120])
    power_kw = _power_kw(found, rated)
    if power_kw is not None and not -_SLACK * rated.most_kw <= power_kw <= _SLACK * rated.most_kw:
        hint = "; W given as kW? See power_unit" if abs(power_kw) / 1000 <= _SLACK * rated.most_kw else ""
        found.faults.append(f"a power of {power_kw:g} kW is beyond a charger of {rated.most_kw:g} kW{hint}")
        power_kw = None
    return Reading(
        power_kw=power_kw,
        energy_import_kwh=_energy_kwh(found, ENERGY),
        energy_export_kwh=_energy_kwh(found, EXPORTED),
        soc_frac=_soc(found),
        phases=_phases(found),
        faults=tuple(found.faults),
    )


def _take(sample: Mapping[str, Any], rated: Rated, found: _Found) -> None:
    """Raises ValueError, TypeError."""
    measurand = str(sample.get("measurand") or ENERGY)
    default = _KIND.get(measurand)
    if default is None or sample.get("format") == "SignedData" or sample.get("location") in _ELSEWHERE:
        return
    said, multiplier = _unit(sample, default)
    forced = {"W": rated.power_unit, "Wh": rated.energy_unit}.get(default)
    if forced is not None:
        said, multiplier = forced, 0
    if said not in _FACTORS or said.removeprefix("k").lower() != default.lower():
        raise ValueError(f"{measurand} in {said!r}: {default} was expected")
    raw = sample.get("value")
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise TypeError(f"{measurand}: {raw!r} is no number")
    try:
        value = float(raw) * _FACTORS[said] * 10.0**multiplier
    except (ValueError, OverflowError):
        raise ValueError(f"{measurand}: {str(raw)[:40]!r} is no number") from None
    if not math.isfinite(value) or abs(value) > 1e12:
        raise ValueError(f"{measurand}: {str(raw)[:40]!r} is no number of a charger")
    phase = sample.get("phase")
    found.values.setdefault(measurand, {})[None if phase is None else str(phase).removesuffix("-N")] = value


def _unit(sample: Mapping[str, Any], default: str) -> tuple[str, int]:
    """Unit and power of ten: 1.6 has ``unit``, 2 has ``unit_of_measure``."""
    measure = sample.get("unit_of_measure")
    if isinstance(measure, Mapping):
        multiplier = measure.get("multiplier", 0)
        if isinstance(multiplier, bool) or not isinstance(multiplier, int) or abs(multiplier) > 12:
            raise ValueError(f"a multiplier of {multiplier!r}")
        return str(measure.get("unit") or default), multiplier
    return str(sample.get("unit") or default), 0


def _power_kw(found: _Found, rated: Rated) -> float | None:
    into, out = found.total(POWER), found.total(POWER_OUT)
    if into is not None or out is not None:
        return ((into or 0.0) - (out or 0.0)) / 1000
    currents = found.values.get(CURRENT)
    if not currents:
        return None
    volts = {phase: value for phase, value in found.values.get(VOLTAGE, {}).items() if value > 0}

    def volt(phase: str | None) -> float:
        return volts.get(phase, volts.get(None, rated.voltage_v))

    phases = {phase: ampere for phase, ampere in currents.items() if phase in ("L1", "L2", "L3")}
    if phases:
        return sum(ampere * volt(phase) for phase, ampere in phases.items()) / 1000
    if None in currents:
        return currents[None] * volt(None) * rated.phases / 1000
    return None


def _phases(found: _Found) -> Literal[1, 3] | None:
    """One if a single phase has all but a tenth of the current, or of the power where no currents are said."""
    for measurand, least in ((CURRENT, LEAST_A), (POWER, LEAST_W)):
        by_phase = [value for phase, value in found.values.get(measurand, {}).items() if phase in ("L1", "L2", "L3")]
        if len(by_phase) == 3 and max(by_phase) >= least:
            return 1 if sorted(by_phase)[1] < 0.1 * max(by_phase) else 3
    return None


def _energy_kwh(found: _Found, measurand: str) -> float | None:
    watt_hours = found.total(measurand)
    if watt_hours is None:
        return None
    if watt_hours < 0:
        found.faults.append(f"{measurand}: a register of {watt_hours:g} Wh")
        return None
    return watt_hours / 1000


def _soc(found: _Found) -> float | None:
    frac = found.total(SOC)
    if frac is None:
        return None
    if not 0 <= frac <= 1:
        found.faults.append(f"SoC: {100 * frac:g} % is none")
        return None
    return frac


def sampled_values(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Those of a meter value, as far as they are there."""
    found = payload.get("sampled_value")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
