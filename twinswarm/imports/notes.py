"""What an import recognised, assumed and repaired, for people and for the file beside the profile."""

from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_NAMED = 5
"""So many places of a repair are named; the rest is counted."""


@dataclass
class Notes:
    read: list[str] = field(default_factory=list)
    """Facts of the file."""
    assumed: list[str] = field(default_factory=list)
    """What the file does not say. Each names the option that says otherwise."""
    repaired: list[str] = field(default_factory=list)
    """What was changed or left out, with its rule and number."""

    def add(self, other: "Notes") -> None:
        self.read += other.read
        self.assumed += other.assumed
        self.repaired += other.repaired

    def to_json(self) -> dict[str, list[str]]:
        return {"read": self.read, "assumed": self.assumed, "repaired": self.repaired}


def some(names: Sequence[str]) -> str:
    """The first few, and how many there are beyond them."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
