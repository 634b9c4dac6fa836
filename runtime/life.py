"""A life of a participant in wall time: under which boot it speaks, and how far each topic's numbers have come."""

from dataclasses import dataclass, field
from datetime import datetime

from schemas.messages import BootId, RunId, Stamp
from schemas.participant import Json, Outgoing
from schemas.wire import encode


@dataclass
class Life:
    """Stamps messages. ``boot`` survives a restart from the checkpoint; a new run begins a new life."""

    boot: BootId
    run: RunId | None = None
    """None until a session is known."""
    seqs: dict[str, int] = field(default_factory=dict)

    def encode(self, outgoing: Outgoing, ts: datetime) -> bytes:
        """The next message of its topic, at session time ``ts`` if it names no other."""
        topic = str(outgoing.topic)
        seq = self.seqs[topic] = self.seqs.get(topic, 0) + 1
        return encode(Stamp(ts=outgoing.ts or ts, run=self.run, boot=self.boot, seq=seq), outgoing.body)

    def encode_will(self, outgoing: Outgoing, ts: datetime) -> bytes:
        """A last will: number 0, outside all counts of gaps."""
        return encode(Stamp(ts=ts, run=self.run, boot=self.boot, seq=0), outgoing.body)

    def snapshot(self) -> Json:
        return {"boot": self.boot, "run": self.run, "seqs": dict(self.seqs)}

    @classmethod
    def restored(cls, value: Json) -> "Life":
        return cls(value["boot"], value["run"], dict(value["seqs"]))
