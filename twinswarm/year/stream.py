"""A variant's days one after another, each settled when it is over: nothing is kept of it but its result.

Participants, network, EMS and settlement are those of ``twinswarm run``, and the run is one: SOC, vehicles at the plugs
and the month's peak go on over midnight. After some days its state is handed back as text, with which this or another
process goes on to the last bit.
"""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from schemas.cycle import Course
from schemas.messages import Series
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel, Topic
from schemas.wire import decode, encode
from services.history.memory import MemoryHistory, lockstep_info
from twinswarm.simulation.in_memory import composed
from twinswarm.study.day import Day, day_of, kept
from twinswarm.year.order import source_digest


@dataclass(frozen=True, slots=True)
class Piece:
    """Some days of a variant's run. ``seam``: its state at the first of ``midnights``; None: it begins there."""

    site: Site
    course: Course
    run: str
    began: datetime
    """When the run began, by the clock of the machine that began it."""
    midnights: tuple[datetime, ...]
    seam: str | None


@dataclass(frozen=True, slots=True)
class Lived:
    """The piece's days, and the state at its end."""

    days: tuple[Day, ...]
    seam: str
    source: str
    """Which program lived it: `source_digest`."""


def live(piece: Piece) -> Lived:
    """Raises TwinswarmError."""
    with _collecting_at_the_end():
        stream = _DayStream(piece.site, piece.course, piece.run)
        run = composed(piece.site, piece.course, piece.run, piece.began, on_message=stream.receive, brief=True)
        if piece.seam is not None:
            state = json.loads(piece.seam)
            run.restore(state["run"])
            stream.restore(state["messages"])
        days = []
        for start, end in zip(piece.midnights, piece.midnights[1:], strict=False):
            run.advance((end - piece.course.t0) // piece.course.step + 1)  # the cycle of that midnight: it is measured
            days.append(stream.close(start, end))
        seam = json.dumps({"run": run.snapshot(), "messages": stream.snapshot()})
    return Lived(tuple(days), seam, source_digest())


class _DayStream:
    """The messages of the day that runs."""

    def __init__(self, site: Site, course: Course, run: str) -> None:
        self._site, self._course, self._run = site, course, run
        self._messages: list[Received] = []

    def receive(self, received: Received) -> None:
        if kept(received):
            self._messages.append(received)

    def close(self, start: datetime, end: datetime) -> Day:
        """Settles the day, and keeps what the next one needs: births, prices that still hold, the telemetry of its
        midnight, and what was decided then."""
        course = self._course
        info = lockstep_info(self._run, self._site, course.t0, course.t_end, course.step_s, course.t0)
        of_day = [m for m in self._messages if m.topic.channel is not Channel.PLAN or m.stamp.ts < end]
        history = MemoryHistory(info, self._site, of_day).within(start, end)
        day = day_of(history, self._run, Course(start, end, course.step_s))
        self._messages = [message for message in self._messages if _goes_on(message, end)]
        return day

    def snapshot(self) -> list[tuple[str, str]]:
        return [(str(m.topic), encode(m.stamp, m.body).decode()) for m in self._messages]

    def restore(self, state: list[tuple[str, str]]) -> None:
        self._messages = []
        for text, payload in state:
            topic = Topic.parse(text)
            self._messages.append(Received(topic, *decode(topic, payload.encode())))


def _goes_on(received: Received, end: datetime) -> bool:
    body = received.body
    if isinstance(body, Series):
        return any(series.end > end for series in body.series)
    return received.topic.channel is Channel.BIRTH or received.stamp.ts >= end


@contextmanager
def _collecting_at_the_end() -> Iterator[None]:
    """Messages and plans hold no cycles that would have to be looked for again and again meanwhile, nor does what was
    there before."""
    was_on = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
            gc.collect()
        gc.unfreeze()
