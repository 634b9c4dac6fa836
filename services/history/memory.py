"""A run that is kept in memory: the messages of a day that nobody records, read as any other history."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas.messages import TimeMode
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel, Kind
from services.history.reader import NEIGHBOUR, STANDING, DeadLetter, History, RunInfo, Tally, Window

_NOT_KEPT = (Channel.TICK, Channel.DONE, Channel.RECEIPT)
"""What the recorder does not keep either."""


class MemoryHistory(History):
    """One run and its messages, all of them announced: there are no strays and no dead letters."""

    def __init__(self, info: RunInfo, site: Site, messages: Iterable[Received], window: Window | None = None) -> None:
        self.path = "memory"
        self.window = window
        self._info = info
        self._site = site
        self._messages = sorted((m for m in messages if m.topic.channel not in _NOT_KEPT), key=_order)

    def close(self) -> None:
        """There is nothing to close."""

    def within(self, start: datetime, end: datetime) -> "MemoryHistory":
        return MemoryHistory(self._info, self._site, self._messages, Window(start, end))

    def runs(self) -> list[RunInfo]:
        return [self._info]

    def site(self, run: str) -> Site:
        self.info(run)
        return self._site

    def messages(
        self, run: str, channel: Channel | None = None, kind: Kind | None = None, device: str | None = None
    ) -> Iterator[Received]:
        self.info(run)
        for received in self._messages:
            topic = received.topic
            if (
                channel in (None, topic.channel)
                and kind in (None, topic.kind)
                and device in (None, topic.device)
                and self._is_within(received, alone=channel is Channel.TELEMETRY)
            ):
                yield received

    def earlier_births(self, info: RunInfo) -> list[Received]:
        del info
        return []

    def newest_telemetry(self, info: RunInfo) -> datetime | None:
        return max((received.stamp.ts for received in self.messages(info.run, Channel.TELEMETRY)), default=None)

    def dead_letters(self, run: str) -> list[DeadLetter]:
        self.info(run)
        return []

    def tally(self, info: RunInfo) -> Tally:
        numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
        recorded = 0
        for received in self.messages(info.run):
            recorded += 1
            if received.stamp.seq > 0:
                numbers[str(received.topic), received.stamp.boot].add(received.stamp.seq)
        missing = sum(max(seqs) - min(seqs) + 1 - len(seqs) for seqs in numbers.values())
        return Tally(recorded, missing, dead_letters=0, stray=0)

    def _is_within(self, received: Received, *, alone: bool) -> bool:
        """``alone``: telemetry is asked for by itself, and then that next to the window's bounds is there, too."""
        if self.window is None or received.topic.channel in STANDING:
            return True
        beyond = NEIGHBOUR if alone else NEIGHBOUR * 0
        return self.window.start - beyond <= received.stamp.ts <= self.window.end + beyond


def lockstep_info(run: str, site: Site, t0: datetime, t_end: datetime, step_s: int, started: datetime) -> RunInfo:
    """What is known of a lock-step run that was carried from ``t0`` to its end."""
    return RunInfo(
        run=run,
        site=site.site,
        label="main",
        mode=TimeMode.LOCKSTEP,
        step_s=step_s,
        t0=t0,
        t_end=t_end,
        cycle=int((t_end - t0).total_seconds()) // step_s + 1,
        up_to=t_end,
        started=started,
        ended=started,
    )


def _order(received: Received) -> tuple[datetime, str, str, int]:
    stamp = received.stamp
    return stamp.ts, str(received.topic), stamp.boot, stamp.seq
