"""Efficiencies and capacity of a store by its energies and its SOC, with the prediction errors of the shadow's filter.

Notes
-----
The parameters are those with which the whitened residuals of `services.shadow.soc_filter` are least (the prediction
error method: Ljung, System Identification, 2nd ed. 1999, ch. 7). From AC energies and SOC follow two numbers only,
η_charge / E and 1 / (η_discharge E). So the round-trip efficiency is measured, the capacity is if both efficiencies are
off alike, and each of the three parameters is if the other two are as described.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.site import Bess, Charger
from services.history.reader import RunInfo
from services.history.tracks import Sample, Track
from services.shadow.identification.estimate import CONFIDENT, Fit, Identified, Vector, fitted
from services.shadow.parting import ALIKE
from services.shadow.soc_filter import CAPACITY, CHARGE, DISCHARGE, PARAMETERS, SocFilter, value_at
from twin_devices.physics.storage import Store

LEAST_WINDOWS = 20
"""Windows in which something flowed, below which nothing is said."""
_MOST_EFFECT = 0.5


@dataclass(frozen=True, slots=True)
class Window:
    """What flowed between two measured SOC, about a settlement step apart. ``begins``: it is the first of a chain, and
    has a SOC alone."""

    begins: bool
    soc_frac: float
    capacity_kwh: float
    hours: float = 0.0
    drawn_kwh: float = 0.0
    given_kwh: float = 0.0


def store_parameters(device: str, spec: Bess | Charger, track: Track, info: RunInfo) -> Iterator[Identified]:
    """Round trip and capacity together, and each parameter as if the others were as described."""
    windows = list(windows_of(spec, track, info))
    moved = sum(not window.begins and window.drawn_kwh + window.given_kwh > 0 for window in windows)
    if moved < LEAST_WINDOWS:
        return
    alone = {name: _fit(spec, windows, (name,)) for name in PARAMETERS}
    known = {name: fit for name, fit in alone.items() if fit.covariance is not None}
    if not known:
        return
    best = min(known, key=lambda name: known[name].misfit)
    noise = known[best].misfit / max(known[best].observations - 1, 1)
    alike = [
        name for name, fit in known.items() if (fit.misfit - known[best].misfit) / 2.0 <= ALIKE * noise or name == best
    ]
    described = {CHARGE: spec.charge_efficiency, DISCHARGE: spec.discharge_efficiency, CAPACITY: _capacity(spec)}
    for name, fit in known.items():
        half, effect, value = fit.half(0), float(fit.values[0]), described[name]
        assert half is not None
        low, high = sorted(value_at(name, value, effect + each) for each in (-half, half))
        note = "if the others are as described" + ("; explains it best" if alike == [name] else "")
        parameter, unit = (name, "") if name != CAPACITY else _capacity_named(spec)
        yield Identified(device, parameter, unit, value, value_at(name, value, effect), low, high, moved, note)
    both = _fit(spec, windows, (CHARGE, DISCHARGE))
    if both.covariance is not None:
        yield from _together(device, spec, both, both.covariance, moved)


def _together(device: str, spec: Bess | Charger, both: Fit, covariance: Vector, moved: int) -> Iterator[Identified]:
    charge, discharge = (math.log1p(float(value)) for value in both.values)
    # Variances of the logarithms.
    spread = covariance / np.outer(1.0 + both.values, 1.0 + both.values)
    name, unit = _capacity_named(spec)
    rows = (
        ("round_trip_efficiency", "", spec.charge_efficiency * spec.discharge_efficiency, (1.0, -1.0), ""),
        (name, unit, _capacity(spec), (-0.5, -0.5), ", if both efficiencies are off alike"),
    )
    for parameter, unit_, value, weights, more in rows:
        middle = weights[0] * charge + weights[1] * discharge
        half = CONFIDENT * math.sqrt(max(float(np.array(weights) @ spread @ np.array(weights)), 0.0))
        low, high = (value * math.exp(middle + each) for each in (-half, half))
        note = f"both together{more}"
        yield Identified(device, parameter, unit_, value, value * math.exp(middle), low, high, moved, note)


def _capacity_named(spec: Bess | Charger) -> tuple[str, str]:
    """Name and unit; of a charger's vehicles as a part of what each states."""
    return (CAPACITY, "kWh") if isinstance(spec, Bess) else ("capacity", "of stated")


def _capacity(spec: Bess | Charger) -> float:
    """The described capacity; of a charger's vehicles 1, the capacity that each states."""
    return spec.capacity_kwh if isinstance(spec, Bess) else 1.0


def _fit(spec: Bess | Charger, windows: Sequence[Window], free: Sequence[str]) -> Fit:
    def residuals(effects: Vector) -> list[float]:
        return prediction_errors(spec, windows, dict(zip(free, map(float, effects), strict=True)))

    count = len(free)
    return fitted(residuals, [0.0] * count, [-_MOST_EFFECT] * count, [_MOST_EFFECT] * count)


def prediction_errors(spec: Bess | Charger, windows: Sequence[Window], effects: dict[str, float]) -> list[float]:
    """Whitened residuals of the filter with parameters that have these effects."""
    soc_filter, found = SocFilter(), []
    for window in windows:
        if window.begins:
            soc_filter.begin(window.soc_frac)
            continue
        store = Store(
            value_at(CAPACITY, window.capacity_kwh, effects.get(CAPACITY, 0.0)),
            value_at(CHARGE, spec.charge_efficiency, effects.get(CHARGE, 0.0)),
            value_at(DISCHARGE, spec.discharge_efficiency, effects.get(DISCHARGE, 0.0)),
            0.0,
            1.0,
        )
        residual = soc_filter.step(store, window.drawn_kwh, window.given_kwh, window.hours, window.soc_frac)
        found.append(0.0 if residual is None else residual.value / math.sqrt(residual.variance))
    return found


def windows_of(spec: Bess | Charger, track: Track, info: RunInfo) -> Iterator[Window]:
    """The track in windows of a settlement step. A doubtful register, another life or another vehicle begins anew."""
    begun: Sample | None = None
    drawn = given = 0.0
    for step in track.register_steps():
        grown = step.earlier.grown_until(step.later)
        doubtful = step.before.boot != step.after.boot or step.earlier.doubt_until(step.later, track.bounds) is not None
        capacity_kwh, soc = _store_in(spec, step.after), step.after.body.stored_frac
        if capacity_kwh is None or soc is None:
            begun = None
            continue
        if begun is None or grown is None or doubtful or not _same_vehicle(step.before, step.after):
            yield Window(True, soc, capacity_kwh)
            begun, drawn, given = step.after, 0.0, 0.0
            continue
        drawn, given = drawn + grown[0], given + grown[1]
        if (step.after.ts - info.t0) // info.step == (begun.ts - info.t0) // info.step:
            continue
        hours = (step.after.ts - begun.ts).total_seconds() / 3600.0
        yield Window(False, soc, capacity_kwh, hours, drawn, given)
        begun, drawn, given = step.after, 0.0, 0.0


def _store_in(spec: Bess | Charger, sample: Sample) -> float | None:
    """Its capacity [kWh]; None: there is none, or it is not known."""
    if isinstance(spec, Bess):
        return spec.capacity_kwh
    vehicle = sample.body.plugged
    if vehicle is None:
        return None
    return vehicle.capacity_kwh or (None if spec.assume is None else spec.assume.capacity_kwh)


def _same_vehicle(before: Sample, after: Sample) -> bool:
    vehicle, earlier = after.body.plugged, before.body.plugged
    if vehicle is None:
        return True
    return earlier is not None and not after.body.unplugged and vehicle.continues(earlier)
