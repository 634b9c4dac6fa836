"""What a member has sent in the cycle that runs: kept to the byte, so that a repetition is the same message."""

from dataclasses import dataclass, field
from datetime import datetime

from schemas.messages import Announcement, Stamp
from schemas.participant import Json, Outgoing
from schemas.wire import encode


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as it goes out."""

    topic: str
    seq: int
    payload: bytes
    retain: bool


@dataclass
class Outbox:
    """Numbers and encodes messages of one life, per topic from 1 on, and keeps those of this cycle."""

    run: str | None
    boot: str
    cycle: list[Sent] = field(default_factory=list)
    _seqs: dict[str, int] = field(default_factory=dict)

    def add(self, outgoing: Outgoing, ts: datetime) -> Sent:
        topic = str(outgoing.topic)
        seq = self._seqs.get(topic, 0) + 1
        self._seqs[topic] = seq
        stamp = Stamp(ts=ts, run=self.run, boot=self.boot, seq=seq)
        sent = Sent(topic, seq, encode(stamp, outgoing.body), outgoing.topic.retained)
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
            "run": self.run,
            "boot": self.boot,
            "cycle": [[sent.topic, sent.seq, sent.payload.decode(), sent.retain] for sent in self.cycle],
            "seqs": self._seqs,
        }

    @classmethod
    def restored(cls, state: Json) -> "Outbox":
        cycle = [Sent(topic, seq, payload.encode(), retain) for topic, seq, payload, retain in state["cycle"]]
        return cls(state["run"], state["boot"], cycle, dict(state["seqs"]))
