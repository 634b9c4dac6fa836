"""How a device is commanded by its models: a limit of an inverter, the power of a storage, and the reversion timer.

Each control says both ways what its points mean, so the driver writes what the server understands. ``revert_s`` is
the device's own time-out: what was commanded ends then, unless it is commanded again; 0 is none.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.topics import Kind
from services.sunspec.block import Block
from services.sunspec.measurements import CHARGE_RATED, RATED, value_at
from services.sunspec.numbers import SunspecError

Blocks = Mapping[int, Block]


@dataclass(frozen=True, slots=True)
class Asked:
    """A power or a limit [kW, sign of the contract] that stands in a device's registers; None: it is not commanded."""

    value_kw: float | None
    revert_s: float = 0.0


class Control(ABC):
    """Points of one model. ``enable`` is the one that puts the others in force."""

    model: int
    enable: str
    timer: str
    remaining: str | None = None
    """The point that counts the timer down."""
    zero: tuple[str, ...] = ()
    """Points that change what the others mean; they are kept at 0."""

    @property
    @abstractmethod
    def values(self) -> tuple[str, ...]:
        """The points of the power; each must be implemented, and so must ``enable``."""

    @property
    def points(self) -> tuple[str, ...]:
        """All that a master may write."""
        return (*self.zero, *self.values, self.timer, self.enable)

    def offered(self, blocks: Blocks) -> bool:
        """Whether the device has the model and has implemented what is needed of it."""
        return self.model in blocks and all(blocks[self.model].raw(name) is not None for name in self.needed)

    @property
    def needed(self) -> tuple[str, ...]:
        return (*self.values, self.enable)

    def reverts(self, blocks: Blocks) -> bool:
        """Whether the device has the timer."""
        return blocks[self.model].raw(self.timer) is not None

    @abstractmethod
    def written(self, value_kw: float, blocks: Blocks, revert_s: float) -> dict[str, float]:
        """The points for a power [kW], in their units. Raises SunspecError."""

    @abstractmethod
    def asked(self, blocks: Blocks) -> Asked:
        """What the registers ask for. Raises SunspecError."""

    def _value(self, blocks: Blocks, name: str) -> float:
        value = blocks[self.model].value(name)
        if value is None:
            raise SunspecError(f"model {self.model}: {name} is not implemented")
        return value

    def _revert_s(self, blocks: Blocks) -> float:
        return blocks[self.model].value(self.timer) or 0.0


def _rated_kw(blocks: Blocks) -> float:
    rated_kw = value_at(RATED, blocks)
    if not rated_kw:
        raise SunspecError("the device does not say its power (120 WRtg, 121 WMax, 702 WMax): a percentage has no base")
    return rated_kw


class Limit(Control):
    """The most that an inverter may put out, in percent of its power: WMaxLimPct of the models 123 and 704."""

    value = "WMaxLimPct"

    def __init__(
        self, model: int, enable: str, timer: str, remaining: str | None = None, zero: tuple[str, ...] = ()
    ) -> None:
        self.model, self.enable, self.timer, self.remaining, self.zero = model, enable, timer, remaining, zero

    @property
    def values(self) -> tuple[str, ...]:
        return (self.value,)

    def written(self, value_kw: float, blocks: Blocks, revert_s: float) -> dict[str, float]:
        part = max(0.0, value_kw) / _rated_kw(blocks)
        zero = dict.fromkeys(self.zero, 0.0)
        if part >= 1.0:
            return {**zero, self.value: 100.0, self.timer: 0.0, self.enable: 0.0}
        return {**zero, self.value: 100.0 * part, self.timer: revert_s, self.enable: 1.0}

    def asked(self, blocks: Blocks) -> Asked:
        if self._value(blocks, self.enable) != 1:
            return Asked(None)
        percent = self._value(blocks, self.value)
        if not 0 <= percent <= 100:
            raise SunspecError(f"model {self.model}: {self.value} is {percent:g}, and 0 to 100 are allowed")
        return Asked(percent / 100.0 * _rated_kw(blocks), self._revert_s(blocks))


class StorageRates(Control):
    """A window of power, in percent of WChaMax: InWRte at most is charged, OutWRte at most discharged (model 124).

    A negative rate of one direction is the least of the other. So equal rates of opposite signs are a power. A storage
    that has no plans of its own rests where the window lets it.
    """

    model, enable, timer = 124, "StorCtl_Mod", "InOutWRte_RvrtTms"
    values = ("OutWRte", "InWRte")
    charge_bit, discharge_bit = 1, 2

    def written(self, value_kw: float, blocks: Blocks, revert_s: float) -> dict[str, float]:
        percent = 100.0 * value_kw / self._rated_kw(blocks)
        if abs(percent) > 100.0:
            percent = 100.0 if percent > 0 else -100.0
        both = self.charge_bit + self.discharge_bit
        return {"OutWRte": -percent, "InWRte": percent, self.timer: revert_s, self.enable: both}

    def asked(self, blocks: Blocks) -> Asked:
        mode = int(self._value(blocks, self.enable))
        rated_kw = self._rated_kw(blocks)
        if not mode:
            return Asked(None)
        rates = {}
        for name, bit in (("InWRte", self.charge_bit), ("OutWRte", self.discharge_bit)):
            percent = self._value(blocks, name) if mode & bit else 100.0
            if not -100 <= percent <= 100:
                raise SunspecError(f"model 124: {name} is {percent:g}, and -100 to 100 are allowed")
            rates[name] = percent / 100.0 * rated_kw
        most_kw, least_kw = rates["InWRte"], -rates["OutWRte"]
        # Rates that exclude each other stand there between two requests that change them one by one.
        value_kw = 0.0 if least_kw > most_kw else min(max(0.0, least_kw), most_kw)
        return Asked(value_kw, self._revert_s(blocks))

    def _rated_kw(self, blocks: Blocks) -> float:
        rated_kw = value_at(CHARGE_RATED, blocks)
        if not rated_kw:
            raise SunspecError("the device does not say its WChaMax: a rate has no base")
        return rated_kw


class ActivePower(Control):
    """The active power of a DER, positive when it goes out: in W, or of a master that likes, in percent (model 704)."""

    model, enable, timer, remaining = 704, "WSetEna", "WSetRvrtTms", "WSetRvrtRem"
    values = ("WSetMod", "WSet")
    zero = ("WSetEnaRvrt",)
    watts = 1.0

    @property
    def points(self) -> tuple[str, ...]:
        return (*super().points, "WSetPct")

    def written(self, value_kw: float, blocks: Blocks, revert_s: float) -> dict[str, float]:
        return {
            "WSetEnaRvrt": 0.0,
            "WSetMod": self.watts,
            "WSet": -1000.0 * value_kw,
            self.timer: revert_s,
            self.enable: 1.0,
        }

    def asked(self, blocks: Blocks) -> Asked:
        if self._value(blocks, self.enable) != 1:
            return Asked(None)
        if self._value(blocks, "WSetMod") == self.watts:
            return Asked(-self._value(blocks, "WSet") / 1000.0, self._revert_s(blocks))
        return Asked(-self._value(blocks, "WSetPct") / 100.0 * _rated_kw(blocks), self._revert_s(blocks))


CONTROLS: Mapping[Kind, tuple[Control, ...]] = {
    Kind.PV: (
        Limit(704, "WMaxLimPctEna", "WMaxLimPctRvrtTms", "WMaxLimPctRvrtRem", zero=("WMaxLimPctEnaRvrt",)),
        Limit(123, "WMaxLim_Ena", "WMaxLimPct_RvrtTms"),
    ),
    Kind.BESS: (ActivePower(), StorageRates()),
    Kind.METER: (),
}
"""By the kind of device; the first that a device offers counts."""


def control_of(kind: Kind, blocks: Blocks) -> Control | None:
    return next((control for control in CONTROLS[kind] if control.offered(blocks)), None)
