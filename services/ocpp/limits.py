"""A power as the limit of a charging profile, and back: shared by the central system and the charge point twin."""

import math

from services.ocpp.readings import Rated


def to_limit(power_kw: float, unit: str, rated: Rated, phases: int | None = None) -> float:
    """In W, or in A of each of ``phases`` (None: all); rounded toward zero, so never above what was asked."""
    if unit == "W":
        return float(math.trunc(round(power_kw * 1000, 3)))
    ampere = power_kw * 1000 / (rated.voltage_v * (phases or rated.phases))
    return math.trunc(round(ampere * 10, 6)) / 10


def to_kw(limit: float, unit: str, phases: int, voltage_v: float) -> float:
    return limit / 1000 if unit == "W" else limit * voltage_v * phases / 1000


def agree(asked_kw: float, found_kw: float) -> bool:
    """Whether two powers are the same but for the rounding to 0.1 A on three phases."""
    return abs(asked_kw - found_kw) <= max(0.1, 0.02 * abs(asked_kw))


def in_unit(power_kw: float, unit: str, rated: Rated, phases: int | None = None) -> float:
    """A power in the unit that a schedule is asked in, to 0.1 W or A of each phase."""
    value = power_kw * 1000 if unit == "W" else power_kw * 1000 / (rated.voltage_v * (phases or rated.phases))
    return round(value, 1)
