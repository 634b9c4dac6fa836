"""A life of a participant: under which boot it speaks, in which run, and how far each topic's numbers have come.

This is the one place where a participant's messages are numbered, in every run loop.
"""

from dataclasses import dataclass, field
from datetime import datetime

from schemas.messages import BootId, RunId, Stamp
from schemas.participant import Json, Outgoing
from schemas.wire import encode


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

    def encode(self, outgoing: Outgoing, ts: datetime) -> bytes:
        """The next message of its topic, at run time ``ts`` if it names no other."""
        return encode(self.stamp(str(outgoing.topic), outgoing.ts or ts), outgoing.body)

    def encode_unnumbered(self, outgoing: Outgoing, ts: datetime) -> bytes:
        """A last will, or what is said outside every run: number 0, outside all counts of gaps."""
        return encode(Stamp(ts=ts, run=self.run, boot=self.boot, seq=0), outgoing.body)

    def snapshot(self) -> Json:
        return {"boot": self.boot, "run": self.run, "seqs": dict(self.seqs)}

    @classmethod
    def restored(cls, value: Json) -> "Life":
        return cls(value["boot"], value["run"], dict(value["seqs"]))
