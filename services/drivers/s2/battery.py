"""What a resource manager has said of its battery: its operation modes, where it stands, and which powers it can do."""

import math
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2python.frbc import FRBCActuatorDescription, FRBCOperationMode, FRBCSystemDescription

ELECTRIC = frozenset(
    {
        "ELECTRIC.POWER.L1",
        "ELECTRIC.POWER.L2",
        "ELECTRIC.POWER.L3",
        "ELECTRIC.POWER.3_PHASE_SYMMETRIC",
    }
)
"""Quantities in W; of the last the value is that of all three phases together."""


OVERSHOOT = 0.02
"""By so much an SOC may be below 0 or above 1 and count as that; what is farther off is no SOC."""


class NotUsableError(Exception):
    """A description by which no battery can be commanded; the text says why."""


@dataclass(frozen=True, slots=True)
class Way:
    """An operation mode with its factor, and the power [kW] that it is."""

    mode: uuid.UUID
    factor: float
    power_kw: float


@dataclass
class Battery:
    """The state of one session. ``empty`` and ``full``: fill levels of SOC 0 and 1; None: those of the description."""

    empty: float | None = None
    full: float | None = None
    described: list["FRBCSystemDescription"] = field(default_factory=list)
    """In the order of their ``valid_from``."""
    fill_level: float | None = None
    active: tuple[uuid.UUID, float] | None = None
    """The operation mode, and its factor."""
    heading: uuid.UUID | None = None
    """The operation mode that was instructed, until the battery says in which it is."""
    timers: dict[uuid.UUID, datetime] = field(default_factory=dict)
    """Until when each runs."""
    targets: list[tuple[datetime, datetime, float, float]] = field(default_factory=list)
    """Begin, end, and the range in which the fill level has to be."""

    def describe(self, description: "FRBCSystemDescription") -> None:
        """Raises NotUsableError."""
        actuators = [
            each for each in description.actuators if "ELECTRICITY" in {one.value for one in each.supported_commodities}
        ]
        if len(actuators) != 1:
            raise NotUsableError(f"it describes {len(actuators)} electric actuators, and one can be commanded")
        levels = description.storage.fill_level_range
        if levels.end_of_range <= levels.start_of_range and (self.empty is None or self.full is None):
            raise NotUsableError(
                f"its fill levels go from {levels.start_of_range:g} to {levels.end_of_range:g}: what is full?"
            )
        ranges = [one for mode in actuators[0].operation_modes for each in mode.elements for one in each.power_ranges]
        if not all(math.isfinite(end) for each in ranges for end in (each.start_of_range, each.end_of_range)):
            raise NotUsableError("it describes a power that is no number")
        self.described = sorted([*self.described, description], key=lambda each: each.valid_from)[-10:]

    def description(self, now: datetime) -> "FRBCSystemDescription | None":
        """The one that is valid."""
        valid = [each for each in self.described if each.valid_from <= now]
        return valid[-1] if valid else None

    def actuator(self, now: datetime) -> "FRBCActuatorDescription | None":
        description = self.description(now)
        if description is None:
            return None
        return next(
            each for each in description.actuators if "ELECTRICITY" in {one.value for one in each.supported_commodities}
        )

    def soc_frac(self, now: datetime) -> float | None:
        description = self.description(now)
        if description is None or self.fill_level is None:
            return None
        levels = description.storage.fill_level_range
        empty = levels.start_of_range if self.empty is None else self.empty
        full = levels.end_of_range if self.full is None else self.full
        soc = (self.fill_level - empty) / (full - empty)
        return float(round(soc)) if abs(soc - 0.5) > 0.5 and abs(soc - 0.5) <= 0.5 + OVERSHOOT else soc

    def stated_kw(self, now: datetime) -> float | None:
        """The power of the operation mode that is active, as it is described."""
        actuator = self.actuator(now)
        if actuator is None or self.active is None:
            return None
        mode = next((each for each in actuator.operation_modes if each.id == self.active[0]), None)
        if mode is None:
            return None
        low_w, high_w = self._range_w(mode)
        return (low_w + self.active[1] * (high_w - low_w)) / 1000

    def way_to(self, power_kw: float, now: datetime) -> Way | None:
        """The way that is nearest to a power and does not go beyond it; None: nothing is described yet.

        Only modes to which there is a transition whose timers have run out, and which are not for abnormal conditions.
        """
        actuator = self.actuator(now)
        if actuator is None:
            return None
        ways = []
        for mode in actuator.operation_modes:
            if mode.abnormal_condition_only or not self._reachable(actuator, mode.id, now):
                continue
            first, last = (watts / 1000 for watts in self._range_w(mode))
            got_kw = min(max(power_kw, min(first, last)), max(first, last))
            factor = 0.0 if first == last else (got_kw - first) / (last - first)
            ways.append(Way(mode.id, min(1.0, max(0.0, factor)), got_kw))
        present = self._present

        def far(way: Way) -> tuple[bool, float, bool]:
            beyond = abs(way.power_kw) > abs(power_kw) + 1e-9 or way.power_kw * power_kw < 0
            return beyond, abs(way.power_kw - power_kw), way.mode != present

        return min(ways, key=far, default=None)

    def target_missed(self, now: datetime) -> str:
        """Which target of the fill level is missed now; empty: none."""
        if self.fill_level is None:
            return ""
        for begins, ends, low, high in self.targets:
            if begins <= now < ends and not low <= self.fill_level <= high:
                return f"the fill level is {self.fill_level:g}, and its resource manager wants {low:g} to {high:g}"
        return ""

    @property
    def _present(self) -> uuid.UUID | None:
        return self.heading or (None if self.active is None else self.active[0])

    def _reachable(self, actuator: "FRBCActuatorDescription", mode: uuid.UUID, now: datetime) -> bool:
        present = self._present
        if present is None or present == mode:
            return True
        ways = [each for each in actuator.transitions if each.from_ == present and each.to == mode]
        return any(all(self.timers.get(timer, now) <= now for timer in each.blocking_timers) for each in ways)

    def _range_w(self, mode: "FRBCOperationMode") -> tuple[float, float]:
        """The power at the factors 0 and 1, at the fill level of now."""
        elements = sorted(mode.elements, key=lambda each: each.fill_level_range.start_of_range)
        level = elements[0].fill_level_range.start_of_range if self.fill_level is None else self.fill_level
        element = next((each for each in elements if level <= each.fill_level_range.end_of_range), elements[-1])
        return electric_sum(element.power_ranges, "start_of_range"), electric_sum(element.power_ranges, "end_of_range")


def electric_sum(values: list[Any], name: str) -> float:
    return float(sum(getattr(each, name) for each in values if each.commodity_quantity.value in ELECTRIC))
