"""Which messages are kept until the recorder has them, and which are given up first; `runtime.kept` has the file."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Protocol

from runtime.life import Sent
from schemas.messages import Alarm, BootId, Receipt, RunId
from schemas.participant import Outgoing
from schemas.topics import FORWARDED, Channel


class Keep(IntEnum):
    """How a message fares when the bound is reached."""

    ALWAYS = 0
    THINNED = 1
    DROPPED = 2


_DROPPED = frozenset({Channel.METRIC, Channel.REJECT})


def keep_of(outgoing: Outgoing) -> Keep | None:
    """How a message is kept; None: not at all, for it is not recorded."""
    channel = outgoing.topic.channel
    if channel not in FORWARDED:
        return None
    if channel in _DROPPED:
        return Keep.DROPPED
    thinned = channel is Channel.TELEMETRY and not getattr(outgoing.body, "departed", None)
    return Keep.THINNED if thinned else Keep.ALWAYS


class Kept(Protocol):
    """The messages of one participant that no receipt has named yet. For one thread."""

    @property
    def keeps(self) -> bool:
        """False: this participant does without."""
        ...

    def begin(self, boot: BootId, run: RunId) -> None:
        """A life takes part in a run. What is kept of another run is forgotten: no recorder takes it any more."""
        ...

    def last_numbers(self, boot: BootId) -> Mapping[str, int]:
        """By topic, the newest number of this life that is kept: it counts as used, whatever the checkpoint says."""
        ...

    def add(self, boot: BootId, messages: Sequence[tuple[Sent, Keep]]) -> None:
        """Keeps what is about to be published. A disk that refuses stops nobody: it is an alarm (`news`)."""
        ...

    def on_receipt(self, receipt: Receipt) -> list[Sent]:
        """Forgets what is stored. Returns what was lost on the way, to be sent again."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the participant's metric."""
        ...

    def news(self) -> list[Alarm]:
        """Alarms that begin or end."""
        ...

    def close(self) -> None: ...


class NothingKept:
    """For a participant without a disk of its own."""

    keeps = False
    metrics: Mapping[str, float] = {}

    def begin(self, boot: BootId, run: RunId) -> None:
        pass

    def last_numbers(self, boot: BootId) -> Mapping[str, int]:
        return {}

    def add(self, boot: BootId, messages: Sequence[tuple[Sent, Keep]]) -> None:
        pass

    def on_receipt(self, receipt: Receipt) -> list[Sent]:
        return []

    def news(self) -> list[Alarm]:
        return []

    def close(self) -> None:
        pass
