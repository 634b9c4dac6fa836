"""The inbox of a lock-step member: what arrived, until the clock says that it was announced."""

from collections.abc import Sequence

from schemas.participant import Json, Received, Turn, Wanted

_STRAYS = 2_000
"""So many messages of senders outside the roster are kept, in case they join; the oldest go first."""


class MemoryInbox:
    """Keeps messages in memory. What a crash loses comes again: silence makes everybody repeat the cycle.

    Remembers per (topic, boot) up to which seq it has handed over, so that a message that is announced again, as a
    retained one is in every cycle, is handed over once.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str, int], Received] = {}
        self._handed: dict[tuple[str, str], int] = {}
        self.rejected = 0

    def add(self, received: Received, payload: bytes) -> None:
        key = (str(received.topic), received.stamp.boot, received.stamp.seq)
        if received.stamp.seq > self._handed.get(key[:2], 0):
            self._waiting.setdefault(key, received)

    def reject(self, topic: str, payload: bytes, reason: str) -> None:
        self.rejected += 1

    def flush(self) -> None:
        """Nothing to do: what is lost here is repeated."""

    def missing(self, wanted: Sequence[Wanted]) -> bool:
        return any((item.topic, item.boot, seq) not in self._waiting for item in wanted for seq in self._new(item))

    def take(self, run: str, turn: Turn, wanted: Sequence[Wanted]) -> list[Received]:
        taken = []
        for item in sorted(wanted, key=lambda item: (item.topic, item.boot, item.first)):
            taken += [self._waiting.pop((item.topic, item.boot, seq)) for seq in self._new(item)]
            handed = self._handed.get((item.topic, item.boot), 0)
            self._handed[item.topic, item.boot] = max(handed, item.last)
        return taken

    def forget_strays(self, boots: Sequence[str]) -> None:
        """Bounds what is kept of senders that are in nobody's roster."""
        strays = [key for key in self._waiting if key[1] not in boots]
        for key in strays[: max(0, len(strays) - _STRAYS)]:
            del self._waiting[key]

    def snapshot(self) -> Json:
        return [[topic, boot, seq] for (topic, boot), seq in self._handed.items()]

    def restore(self, state: Json) -> None:
        self._handed = {(topic, boot): seq for topic, boot, seq in state}

    def _new(self, item: Wanted) -> range:
        return range(max(item.first, self._handed.get((item.topic, item.boot), 0) + 1), item.last + 1)
