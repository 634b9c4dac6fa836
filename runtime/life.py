"""A life of a participant: under which boot it speaks, in which run, and how far each topic's numbers have come.

This is the one place where a participant's messages are numbered, in every run loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from schemas.messages import BootId, RunId, Stamp
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
class Life:
    """Stamps messages, per topic from 1 on. ``boot`` survives a restart from the checkpoint; a new run begins a new
    life.
    """

    boot: BootId
    run: RunId | None = None
    """None until a run is known."""
    seqs: dict[str, int] = field(default_factory=dict)

    def stamp(self, topic: str, ts: datetime) -> Stamp:
        """The stamp of the next message of this topic."""
        seq = self.seqs[topic] = self.seqs.get(topic, 0) + 1
        return Stamp(ts=ts, run=self.run, boot=self.boot, seq=seq)

    def use(self, seqs: Mapping[str, int]) -> None:
        """Takes numbers as used, up to these."""
        self.seqs |= {topic: max(seq, self.seqs.get(topic, 0)) for topic, seq in seqs.items()}

    def encode(self, outgoing: Outgoing, ts: datetime) -> bytes:
        """The next message of its topic, at run time ``ts`` if it names no other."""
        return self.sent(outgoing, ts).payload

    def sent(self, outgoing: Outgoing, ts: datetime) -> Sent:
        """As `encode`, with all that its sender needs."""
        topic = str(outgoing.topic)
        stamp = self.stamp(topic, outgoing.ts or ts)
        return Sent(topic, stamp.seq, encode(stamp, outgoing.body), outgoing.topic.retained)

    def encode_unnumbered(self, outgoing: Outgoing, ts: datetime) -> bytes:
        """A last will, or what is said outside every run: number 0, outside all counts of gaps."""
        return encode(Stamp(ts=ts, run=self.run, boot=self.boot, seq=0), outgoing.body)

    def snapshot(self) -> Json:
        return {"boot": self.boot, "run": self.run, "seqs": dict(self.seqs)}

    @classmethod
    def restored(cls, value: Json) -> "Life":
        return cls(value["boot"], value["run"], dict(value["seqs"]))
