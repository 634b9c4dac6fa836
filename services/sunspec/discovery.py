"""Which models a device offers, and where: SunSpec's chain of identifiers and lengths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.sunspec.numbers import SunspecError

BASES = (40_000, 50_000, 0)
"""Where the chain may begin; the other ways of counting, from 1, are those of manuals."""
MARK = (0x5375, 0x6E53)
"""``SunS``."""
END = 0xFFFF
MODELS_MOST = 200

Read = Callable[[int, int], Sequence[int] | None]
"""Registers from an address, so many; None: the device refuses. Raises if it does not answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model at an address: that of its identifier. ``length``: registers after identifier and length."""

    id: int
    address: int
    length: int


def discover(read: Read, base: int | None = None) -> list[Found]:
    """The models of a device, in their order. Raises SunspecError for a device without a chain, or with a broken one.

    A chain that the device ends by refusing the next register is taken as it is.
    """
    bases = BASES if base is None else (base,)
    begin = next((each for each in bases if tuple(read(each, 2) or ()) == MARK), None)
    if begin is None:
        tried = ", ".join(str(each) for each in bases)
        raise SunspecError(f"no SunSpec: 'SunS' stands at none of the registers {tried}")
    found: list[Found] = []
    address = begin + 2
    while len(found) < MODELS_MOST and address + 1 <= END:
        head = read(address, 2)
        if head is None or head[0] == END:
            return found
        model, length = head
        if model == 0 or address + 2 + length > END + 1:
            what = f"model {model} of {length} registers stands at {address}"
            raise SunspecError(f"the chain of models is broken: {what}")
        found.append(Found(model, address, length))
        address += 2 + length
    raise SunspecError(f"the chain of models has no end: {len(found)} models up to register {address}")
