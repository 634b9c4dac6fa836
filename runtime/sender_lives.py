"""Whether a number under an identity was used before, in wall time: a repetition, or another life under the same name.

(topic, boot, seq) names one message and its bytes. A sender that begins to count anew without a new `boot`, as a device
that restarts with a fixed one does, uses its numbers twice. To drop these as repetitions would make it mute for as long
as it had lived before. They are told apart by their bytes, as far as they are remembered, and by time: a repetition
carries its old ``ts``, so a lower number with a newer ``ts`` is another message.

Such a sender gets a new life here, under a boot with a suffix, with all of its topics.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from hashlib import blake2b

from schemas.messages import Birth, BootId
from schemas.participant import Json, Received
from schemas.roles import writer_of
from schemas.topics import Topic

REMEMBERED = 64
"""Messages of a topic whose bytes are remembered: more than a broker has in flight to one client."""
_BOOT_MOST = 32

Sender = tuple[str, str]
"""Who writes (kind and device, by the topic's rights), and under which boot."""


class Seen(Enum):
    NEW = auto()
    REPEATED = auto()
    """It was there already, or is older than one that was."""
    NEW_LIFE = auto()
    """Its number was used before, with other bytes: its sender has begun to count anew."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A message, under the boot that counts for its life, and what it is."""

    seen: Seen
    received: Received
    birth: Received | None = None
    """With a new life that begins without one: its sender's last birth, under the same boot."""


@dataclass(slots=True)
class _Newest:
    """The newest message of one (topic, boot)."""

    seq: int
    ts: datetime
    recent: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def judge(self, seq: int, ts: datetime, digest: bytes) -> Seen:
        if seq > self.seq:
            return Seen.NEW  # none that is remembered has a higher number
        known = next((each for number, each in self.recent if number == seq), None)
        if known is not None:
            return Seen.REPEATED if known == digest else Seen.NEW_LIFE
        return Seen.NEW_LIFE if ts > self.ts else Seen.REPEATED


class SenderLives:
    """Of all senders, since this participant's process began; ``snapshot`` keeps who has begun anew."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, BootId], _Newest] = {}
        self._lives: dict[Sender, int] = {}
        """How often a sender began anew under this boot."""
        self._births: dict[Sender, Received] = {}

    def judge(self, received: Received, payload: bytes, *, late: bool = False) -> Judged:
        """Takes a message in. ``late``: it was lost and is sent again by who counts on (`runtime.kept`)."""
        stamp, sender = received.stamp, _sender(received)
        if stamp.seq == 0 or late:  # a last will, or outside of every count; or its number is lower, whatever its time
            return Judged(Seen.NEW, self._renamed(received, sender))
        key, digest = (str(received.topic), stamp.boot), blake2b(payload, digest_size=8).digest()
        newest = self._newest.get(key)
        seen = Seen.NEW if newest is None else newest.judge(stamp.seq, stamp.ts, digest)
        birth = None
        if seen is Seen.NEW_LIFE:
            self._begin(sender)
            if not isinstance(received.body, Birth) and sender in self._births:
                birth = self._renamed(self._births[sender], sender)
            newest = None
        if isinstance(received.body, Birth):
            self._births[sender] = received
        if seen is not Seen.REPEATED:
            if newest is None:
                newest = self._newest[key] = _Newest(stamp.seq, stamp.ts)
            newest.seq, newest.ts = stamp.seq, stamp.ts
            newest.recent.append((stamp.seq, digest))
        return Judged(seen, self._renamed(received, sender), birth)

    def _begin(self, sender: Sender) -> None:
        self._lives[sender] = self._lives.get(sender, 0) + 1
        who, boot = sender
        for topic, known in [*self._newest]:
            if known == boot and writer_of(Topic.parse(topic)) == who:
                del self._newest[topic, known]

    def _renamed(self, received: Received, sender: Sender) -> Received:
        lives = self._lives.get(sender, 0)
        if not lives:
            return received
        suffix = f"-again{lives}"
        boot = received.stamp.boot[: _BOOT_MOST - len(suffix)] + suffix
        return replace(received, stamp=received.stamp.model_copy(update={"boot": boot}))

    def snapshot(self) -> Json:
        return [[who, boot, lives] for (who, boot), lives in sorted(self._lives.items())]

    def restore(self, state: Json) -> None:
        self._lives = {(who, boot): lives for who, boot, lives in state}


def _sender(received: Received) -> Sender:
    return writer_of(received.topic), received.stamp.boot
