"""Receipts to participants that keep what they send until it is stored (`store_and_forward` of their births)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schemas.messages import BootId, Receipt
from schemas.roles import writer_of
from schemas.topics import Channel, Topic
from services.recorder.span import Span

RANGES_MOST = 100
"""Of a topic in one receipt. A sender that gave up every second message has many; the next receipt has the others."""
STREAMS_MOST = 500
"""Topics in one receipt."""


@dataclass
class _Draft:
    """A receipt in the making."""

    stored: int = 0
    missing: int = 0
    streams: int = 0
    ranges: dict[BootId, dict[str, tuple[tuple[int, int], ...]]] = field(default_factory=dict)


class Receipts:
    """What came of whom since its last receipt. The cost of a message is one entry in a dictionary."""

    def __init__(self) -> None:
        self._lowest: dict[tuple[str, BootId], int] = {}
        """By (topic, boot): the lowest number that came since the last receipt."""
        self._keepers: dict[BootId, dict[str, Topic]] = {}
        """By boot and writer: where those who keep what they send are given receipts."""

    def learn(self, births: Iterable[tuple[str, BootId]]) -> None:
        """Takes in who keeps what it sends: topics and boots of births that say so."""
        for topic, boot in births:
            birth = Topic.parse(topic)
            receipt = Topic(birth.site, birth.kind, birth.device, Channel.RECEIPT)
            # It writes its own topics, and as its kind commands those of others.
            self._keepers.setdefault(boot, {}).update({writer_of(birth): receipt, str(birth.kind): receipt})

    def note(self, topic: str, boot: BootId, seq: int) -> None:
        """Takes in that a message came, whether or not it was there already."""
        key = (topic, boot)
        if 0 < seq < self._lowest.get(key, seq + 1):
            self._lowest[key] = seq

    def take(self, spans: Mapping[tuple[str, BootId], Span]) -> dict[Topic, Receipt]:
        """By topic, the receipts of what came and is on disk. What does not fit is in the next one."""
        drafts: dict[Topic, _Draft] = {}
        for key, lowest in [*self._lowest.items()]:
            topic, boot = key
            if (to := self._keeper(topic, boot)) is None:
                continue  # its birth may still come
            draft = drafts.setdefault(to, _Draft())
            if draft.streams >= STREAMS_MOST:
                continue
            del self._lowest[key]
            if (span := spans.get(key)) is None:
                continue
            ranges = span.since(lowest)
            if len(ranges) > RANGES_MOST:
                self._lowest[key] = ranges[RANGES_MOST][0]
            draft.streams += 1
            draft.stored += span.count
            draft.missing += span.missing
            named = tuple((first, last) for first, last in ranges[:RANGES_MOST])
            draft.ranges.setdefault(boot, {})[topic] = named
        return {
            to: Receipt(stored=draft.stored, missing=draft.missing, ranges=draft.ranges)
            for to, draft in drafts.items()
            if draft.streams
        }

    def _keeper(self, topic: str, boot: BootId) -> Topic | None:
        writers = self._keepers.get(boot)
        return None if writers is None else writers.get(writer_of(Topic.parse(topic)))
