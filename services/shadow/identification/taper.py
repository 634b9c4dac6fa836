"""The taper near full by the powers that were less than asked for, and the power below it."""

import bisect
from collections.abc import Iterator, Sequence

import numpy as np

from schemas.messages import Ack, Setpoint
from schemas.participant import Received
from schemas.site import Charger
from services.history.tracks import Track
from services.shadow.identification.asked import asked
from services.shadow.identification.estimate import Identified, Vector, fitted

LEAST_POINTS = 8
LIMITED_FRAC = 0.02
"""A power that is less than asked by more than this part of the rating is limited."""
LEAST_SPREAD = 0.05
"""Of the SOC of limited powers."""
FULL_FRAC = 0.995
"""A vehicle is full from here on, and its power says nothing."""


def taper(
    device: str,
    spec: Charger,
    track: Track,
    setpoints: Sequence[tuple[Received, Setpoint]],
    acks: Sequence[tuple[Received, Ack]],
) -> Iterator[Identified]:
    """Where it begins, and the power that is left at a SOC of 1; nothing where no power was limited near full.

    Points at which the vehicle did all that was asked bound the limit from below.
    """
    points = np.array(list(_points(track, spec, setpoints, acks))).reshape(-1, 3)
    soc, power, short = points[:, 0], points[:, 1], points[:, 2] > 0
    if short.sum() < LEAST_POINTS or np.ptp(soc[short]) < LEAST_SPREAD:
        return

    def left(values: Vector) -> Vector:
        start, end = values
        # The power of a taper as `twin_devices.physics.converter.taper_limit_kw` has it, over all points.
        fallen = np.clip((soc - start) / (1.0 - start), 0.0, 1.0)
        missing = power - spec.max_charge_kw * (1.0 - (1.0 - end) * fallen)
        return np.asarray(np.where(short, missing, np.maximum(missing, 0.0)))

    fit = fitted(left, [0.8, 0.1], [0.2, 0.0], [0.99, 1.0], loss="soft_l1", scale=LIMITED_FRAC * spec.max_charge_kw)
    halves = fit.half(0), fit.half(1)
    described = (None, None) if spec.taper is None else (spec.taper.start_soc_frac, spec.taper.end_power_frac)
    for place, (parameter, known) in enumerate(
        zip(("taper.start_soc_frac", "taper.end_power_frac"), described, strict=True)
    ):
        half, value = halves[place], float(fit.values[place])
        if half is not None:
            yield Identified(
                device, parameter, "", known, value, max(0.0, value - half), min(1.0, value + half), int(short.sum())
            )


def _points(
    track: Track,
    spec: Charger,
    setpoints: Sequence[tuple[Received, Setpoint]],
    acks: Sequence[tuple[Received, Ack]],
) -> Iterator[tuple[float, float, float]]:
    """SOC, power [kW], and 1 where it is less than was asked for."""
    powers, rating = asked(setpoints, acks), spec.max_charge_kw
    starts = [each.start for each in powers]
    for sample in track.samples:
        vehicle, power = sample.body.plugged, sample.body.power_kw
        soc = None if vehicle is None else vehicle.soc_frac
        # Telemetry of the instant at which a set-point comes shows the one before.
        place = bisect.bisect_left(starts, sample.ts) - 1
        if vehicle is None or soc is None or soc > FULL_FRAC or place < 0 or sample.ts > powers[place].end:
            continue
        if (vehicle.soc_max_frac or 1.0) - soc < 1.0 - FULL_FRAC or (vehicle.max_charge_kw or rating) < rating:
            continue
        wanted = min(powers[place].power_kw, rating)
        if (sample.ts - powers[place].start).total_seconds() > spec.dead_time_s and wanted > LIMITED_FRAC * rating:
            yield soc, power, float(wanted - power > LIMITED_FRAC * rating and power > 0)
