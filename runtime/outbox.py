"""Messages that a member has sent in the cycle that runs: kept to the byte, for a repetition is the same message."""

from dataclasses import dataclass, field
from datetime import datetime

from runtime.life import Life, Sent
from schemas.messages import Announcement
from schemas.participant import Json, Outgoing


@dataclass
class Outbox:
    """Encodes the messages of one life, and keeps those of this cycle."""

    life: Life
    cycle: list[Sent] = field(default_factory=list)

    def add(self, outgoing: Outgoing, ts: datetime) -> Sent:
        sent = self.life.sent(outgoing, ts)
        self.cycle.append(sent)
        return sent

    def begin_cycle(self) -> None:
        """Keeps only what is retained: the newest message of each retained topic."""
        newest = {sent.topic: sent for sent in self.cycle if sent.retain}
        self.cycle = list(newest.values())

    @property
    def announced(self) -> tuple[Announcement, ...]:
        """(topic, first seq, last seq) of what is in this cycle, sorted by topic."""
        ranges: dict[str, tuple[int, int]] = {}
        for sent in self.cycle:
            first, _ = ranges.get(sent.topic, (sent.seq, 0))
            ranges[sent.topic] = (first, sent.seq)
        return tuple((topic, first, last) for topic, (first, last) in sorted(ranges.items()))

    def snapshot(self) -> Json:
        return {
            "life": self.life.snapshot(),
            "cycle": [[sent.topic, sent.seq, sent.payload.decode(), sent.retain] for sent in self.cycle],
        }

    @classmethod
    def restored(cls, state: Json) -> "Outbox":
        cycle = [Sent(topic, seq, payload.encode(), retain) for topic, seq, payload, retain in state["cycle"]]
        return cls(Life.restored(state["life"]), cycle)
