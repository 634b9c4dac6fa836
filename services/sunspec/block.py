"""A model of a device with its registers: points are read from them and written into them, with their scale factors."""

from collections.abc import Iterable, Sequence

from services.sunspec.definitions import Definition, Point
from services.sunspec.numbers import Number, SunspecError, Value, decode, encode

SCALES = range(-10, 11)
"""Powers of ten that SunSpec allows."""
_NONE = 0xFFFF
"""In the registers of groups whose points are not described here."""


class Block:
    """``registers`` begin with the model's identifier at ``address``; a device may have fewer than are published."""

    def __init__(self, definition: Definition, address: int, registers: Sequence[int]) -> None:
        self.definition, self.address = definition, address
        self.registers = list(registers)

    @classmethod
    def empty(cls, definition: Definition, address: int) -> "Block":
        """A model in which no point is implemented yet."""
        block = cls(definition, address, [_NONE] * definition.size)
        for point in definition.points.values():
            block._put(point, encode(point.type, point.size, None))
        block._put(definition.points["ID"], [definition.id])
        block._put(definition.points["L"], [definition.size - 2])
        return block

    @property
    def id(self) -> int:
        return self.definition.id

    def raw(self, name: str) -> Value | None:
        """The point's number without its scale factor, or its text; None: not implemented."""
        point = self.definition.points[name]
        registers = self.registers[point.offset : point.offset + point.size]
        return decode(point.type, registers) if len(registers) == point.size else None

    def value(self, name: str) -> float | None:
        """The number in its unit; None: not implemented. Raises SunspecError for a scale factor that is none."""
        raw = self.raw(name)
        if raw is None or isinstance(raw, str):
            return None
        exponent = self._exponent(name)
        # One rounding only: 123 with -2 is 1.23, and 123 * 0.01 is not.
        return raw * 10.0**exponent if exponent >= 0 else raw / 10.0**-exponent

    def text(self, name: str) -> str | None:
        raw = self.raw(name)
        return None if raw is None else str(raw)

    def set(self, name: str, value: Value | None) -> None:
        """Puts a number in its unit, or a text. Raises SunspecError for one that does not fit."""
        point = self.definition.points[name]
        self._put(point, self.encoded(name, value))

    def encoded(self, name: str, value: Value | None, *, cut: bool = False) -> list[int]:
        """The registers of a number in its unit, rounded to its scale factor. ``cut``: towards zero, so that what is
        commanded is never more than was meant."""
        point = self.definition.points[name]
        if isinstance(value, str) or value is None or point.scale is None or point.type.startswith("float"):
            return self._encoded(point, value)
        exponent = self._exponent(name)
        scaled = value / 10.0**exponent if exponent >= 0 else value * 10.0**-exponent
        return self._encoded(point, int(round(scaled, 6)) if cut else round(scaled))

    def _encoded(self, point: Point, value: Value | None) -> list[int]:
        try:
            return encode(point.type, point.size, value)
        except SunspecError as error:
            raise SunspecError(f"model {self.id}, {point.name}: {error}") from None

    def decoded(self, name: str, registers: Sequence[int]) -> Number | None:
        """The number without its scale factor in registers that are not the block's."""
        raw = decode(self.definition.points[name].type, registers)
        return None if isinstance(raw, str) else raw

    def _exponent(self, name: str) -> int:
        scale = self.definition.points[name].scale
        if scale is None:
            return 0
        exponent = scale if isinstance(scale, int) else self.raw(scale)
        if not isinstance(exponent, int) or exponent not in SCALES:
            says = "is not implemented" if exponent is None else f"is {exponent}"
            raise SunspecError(f"model {self.id}: {name} cannot be scaled, for {scale} {says}")
        return exponent

    def _put(self, point: Point, registers: Sequence[int]) -> None:
        self.registers[point.offset : point.offset + point.size] = registers


def by_model(blocks: Iterable[Block]) -> dict[int, Block]:
    """The first block of each model."""
    found: dict[int, Block] = {}
    for block in blocks:
        found.setdefault(block.id, block)
    return found
