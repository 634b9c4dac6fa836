"""What is wanted of an examination: how much is tried, and how long is waited."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wishes:
    """``patience_s``: machine time for an answer; ``slack_s``: for a power to be there, and to end."""

    seed: int
    count: int = 8
    patience_s: float = 5.0
    slack_s: float = 1.0
    join_s: float = 60.0
    back_s: float = 30.0
    """Machine time that a device has to come back after its connection broke."""
    epoch: int | None = None
