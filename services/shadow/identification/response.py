"""Dead time and ramp by the energy that is missing after a step of power.

Notes
-----
A device that is asked for p₁ instead of p₀ at t₁, begins τ later and moves by r kW/s, has drawn until it is there
(p₀ - p₁) (τ + |p₁ - p₀| / 2r) more than p₁ would. That energy is the difference of registers, so that telemetry far
coarser than τ is enough. A meter that is off by a constant part shifts it by that part of all that flowed: the part is
estimated, too.
"""

import bisect
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from schemas.messages import Ack, Setpoint
from schemas.participant import Received
from schemas.site import Bess, Charger
from services.history.tracks import Sample, Track
from services.shadow.identification.asked import Asked, asked
from services.shadow.identification.estimate import Fit, Identified, Vector, fitted

LEAST_STEPS = 10
LEAST_FRAC = 0.1
"""A step of less than this part of the rating says too little."""
SETTLED_FRAC = 0.02
"""Before the step and at its end the power is the one asked for, but for this part of the rating."""
RAMP_SEEN = 2.0
"""A ramp is taken as seen if its inverse is so many times its 95 % interval away from 0."""
OUTLIER = 6.0
"""A step that leaves so many times the median unexplained was no step of that device: it was interrupted."""
_MOST_S = 900.0
_MOST_GAIN = 0.05


def response(
    device: str,
    spec: Bess | Charger,
    track: Track,
    setpoints: Sequence[tuple[Received, Setpoint]],
    acks: Sequence[tuple[Received, Ack]],
) -> Iterator[Identified]:
    """The dead time, and the ramp where one is seen."""
    rating = max(spec.max_charge_kw, spec.max_discharge_kw)
    steps = np.array(list(_steps(track, asked(setpoints, acks), rating))).reshape(-1, 3)
    if len(steps) < LEAST_STEPS:
        return
    rough = _fit(steps, robust=True)
    far = np.abs(_left(steps, rough.values))
    steps = steps[far <= OUTLIER * max(float(np.median(far)), 1e-6)]
    ramped = _fit(steps, ramp=True)
    slope, half_slope = float(ramped.values[2]), ramped.half(2)
    is_ramp = half_slope is not None and slope > RAMP_SEEN * half_slope
    fit = ramped if is_ramp else _fit(steps)
    half = fit.half(1)
    if half is None:
        return
    delay = float(fit.values[1])
    yield Identified(
        device, "dead_time_s", "s", spec.dead_time_s, delay, max(0.0, delay - half), delay + half, len(steps)
    )
    if is_ramp and half_slope is not None:
        bounds = 1.0 / (slope + half_slope), 1.0 / (slope - half_slope)
        yield Identified(device, "ramp_kw_per_s", "kW/s", spec.ramp_kw_per_s, 1.0 / slope, *bounds, len(steps))


def _fit(steps: Vector, *, ramp: bool = False, robust: bool = False) -> Fit:
    """The meter's gain, the dead time [s] and with ``ramp`` or ``robust`` the ramp's inverse [s/kW], 0 without one."""
    unknown = 3 if ramp or robust else 2
    change, missing, _ = steps.T
    scale = 2.0 * max(float(np.median(np.abs(missing - change * np.median(missing / change)))), 1e-6)
    return fitted(
        lambda values: _left(steps, values),
        [0.0, 1.0, 0.01][:unknown],
        [-_MOST_GAIN, 0.0, 0.0][:unknown],
        [_MOST_GAIN, _MOST_S, _MOST_S][:unknown],
        loss="soft_l1" if robust else "linear",
        scale=scale,
    )


def _left(steps: Vector, values: Vector) -> Vector:
    """Energy [kW·s] that these values do not explain."""
    change, missing, expected = steps.T
    delay = values[1] + (np.abs(change) / 2.0 * values[2] if len(values) > 2 else 0.0)
    return np.asarray(missing - values[0] * expected - change * delay)


def _steps(track: Track, powers: Sequence[Asked], rating_kw: float) -> Iterator[tuple[float, float, float]]:
    """Of each step that was followed to its end: p₀ - p₁ [kW], the energy [kW·s] that flowed beyond that of a step
    without delay, and that energy itself."""
    near = SETTLED_FRAC * rating_kw
    for before, after in pairwise(powers):
        change = before.power_kw - after.power_kw
        if before.end != after.start or abs(change) < LEAST_FRAC * rating_kw:
            continue
        first, last = _newest(track, after, at_start=True), _newest(track, after, at_start=False)
        if first is None or last is None or last.ts <= after.start or first.boot != last.boot:
            continue
        settled = (
            abs(first.body.power_kw - before.power_kw) <= near and abs(last.body.power_kw - after.power_kw) <= near
        )
        energies = _grown_kwh(first, last)
        if not settled or energies is None:
            continue
        drawn_kws = energies * 3600.0
        expected = before.power_kw * (after.start - first.ts).total_seconds()
        expected += after.power_kw * (last.ts - after.start).total_seconds()
        yield change, drawn_kws - expected, expected


def _newest(track: Track, power: Asked, *, at_start: bool) -> Sample | None:
    """The last telemetry at or before an end of the time in which a power was asked for."""
    place = bisect.bisect_right(track.samples, power.start if at_start else power.end, key=lambda sample: sample.ts)
    return track.samples[place - 1] if place else None


def _grown_kwh(first: Sample, last: Sample) -> float | None:
    """Energy between two samples of a life by its registers, import minus export."""
    registers = (
        first.body.energy_import_kwh,
        first.body.energy_export_kwh,
        last.body.energy_import_kwh,
        last.body.energy_export_kwh,
    )
    if None in registers:
        return None
    import_before, export_before, import_after, export_after = (value or 0.0 for value in registers)
    if import_after < import_before or export_after < export_before:
        return None
    return (import_after - import_before) - (export_after - export_before)
