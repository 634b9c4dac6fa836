"""The forwarder: drains the history file, the spool, into InfluxDB, in order, whatever the server answers.

A process of its own beside the recorder, which knows nothing of it: InfluxDB away, slow or full never delays an
acknowledgement to the broker. What was sent is noted in the spool only after the server had stored it; killed in
between, the forwarder sends it again, as the same points.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.errors import TwinswarmError
from services.recorder.influx import (
    InfluxAwayError,
    InfluxBusyError,
    InfluxError,
    InfluxRefusedError,
    InfluxServer,
    InfluxTooLargeError,
)
from services.recorder.points import spool_point
from services.recorder.spool import Item, Refusal, Spool

LOG = logging.getLogger(__name__)

BATCH_LINES = 5000
"""Of one request; what the server's makers recommend."""
_MESSAGES = 500
"""Read from the spool at a time."""
LOOK_S = 1.0
"""How often an empty spool is looked at."""
SLOW_S = 60.0
"""Between attempts while the token or the bucket is wrong: only somebody can change that."""
_FIRST_S, _LONGEST_S = 1.0, 60.0
"""Of the back-off, doubled every time."""
_PRUNE_EVERY = timedelta(hours=1)
_DEPTH_EVERY = timedelta(minutes=1)

SIMULATED = "-simulated"


def bucket_of(bucket: str, *, simulated: bool) -> str:
    """Simulated runs have a bucket of their own, without retention: their days lie anywhere in time."""
    return f"{bucket}{SIMULATED}" if simulated else bucket


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing is forwarded, and when that is tried again [s]."""

    error: InfluxError
    again_s: float


class Forwarder:
    """``wait`` waits so many seconds and tells whether to stop; ``now`` is the machine's clock.

    ``beat`` is called before every request: a long backlog is not silence.
    ``keep``: forwarded messages older than this are deleted from the file; None: never.
    """

    def __init__(
        self,
        spool: Spool,
        server: InfluxServer,
        bucket: str,
        *,
        now: Callable[[], datetime],
        wait: Callable[[float], bool],
        beat: Callable[[], None] = lambda: None,
        keep: timedelta | None = None,
        batch_lines: int = BATCH_LINES,
    ) -> None:
        self._spool = spool
        self._server = server
        self._bucket = bucket
        self._now = now
        self._wait = wait
        self._beat = beat
        self._keep = keep
        self._most = batch_lines
        self._attempts = 0
        self._pruned: datetime | None = None
        self._told: datetime | None = None
        self.trouble: Trouble | None = None

    def serve(self, *, until_empty: bool = False) -> None:
        """Forwards until ``wait`` says to stop, or everything there is was sent. Raises LocalStateError (the file)."""
        idle = False
        while True:
            if not idle or self._spool.changed():
                self.trouble = self._tried()
                idle = self.trouble is None
            self._housekeeping()
            if idle and until_empty:
                return
            if self._wait(LOOK_S if self.trouble is None else self.trouble.again_s):
                return

    def drain(self) -> int:
        """Sends all there is; returns the number of points. Raises InfluxError when the server does not take part."""
        self._spool.changed()
        runs = self._spool.runs()
        points = 0
        while self._spool.waits():
            points += self._send(self._spool.messages(_MESSAGES, self._now()))
        while letters := self._spool.letters(_MESSAGES):
            points += self._send(letters)
        # Only now is true what the rows of the runs say.
        return points + self._send(runs)

    def _tried(self) -> Trouble | None:
        try:
            self.drain()
        except InfluxAwayError as error:
            self._attempts += 1
            again_s = min(_FIRST_S * 2.0 ** (self._attempts - 1), _LONGEST_S)
            if isinstance(error, InfluxBusyError) and error.after_s is not None:
                again_s = max(error.after_s, _FIRST_S)
            if self._attempts == 1:
                LOG.warning("InfluxDB is away; the history is kept meanwhile: %s", error)
            return Trouble(error, again_s)
        except InfluxError as error:
            if self.trouble is None or str(self.trouble.error) != str(error):
                LOG.critical("nothing is forwarded until this is mended, tried every %g s: %s", SLOW_S, error)
            return Trouble(error, SLOW_S)
        if self.trouble is not None:
            LOG.info("InfluxDB takes points again")
        self._attempts = 0
        return None

    def _send(self, items: Sequence[Item]) -> int:
        """All points of the items, then their note in the spool."""
        by_bucket: dict[str, list[str]] = {}
        for item in items:
            bucket = bucket_of(self._bucket, simulated=self._spool.simulated(item.run))
            by_bucket.setdefault(bucket, []).extend(item.lines)
        refused: list[Refusal] = []
        for bucket, lines in by_bucket.items():
            place = 0
            while place < len(lines):
                batch = lines[place : place + self._most]
                refused += self._write(bucket, batch)
                place += len(batch)
        for refusal in refused[:1]:
            LOG.error("%d points go to quarantine, the first one: %s", len(refused), refusal.reason)
        if items:
            self._spool.note(items, refused, self._now())
        return sum(len(item.lines) for item in items) - len(refused)

    def _write(self, bucket: str, lines: Sequence[str]) -> list[Refusal]:
        """Writes what the server takes; returns the rest.

        A refusal that does not name its points is answered by halves, which ends at the points themselves. Points
        that were stored already are the same points when they come again.
        """
        self._beat()
        try:
            self._server.write(bucket, lines)
        except InfluxTooLargeError as error:
            if len(lines) == 1:
                return [Refusal(lines[0], bucket, str(error))]
            self._most = min(self._most, max(1, len(lines) // 2))
            LOG.info("batches of %d lines from now on: %s", self._most, error)
        except InfluxRefusedError as error:
            if len(lines) == 1 or error.dropped == len(lines):
                return [Refusal(line, bucket, str(error)) for line in lines]
        else:
            return []
        half = len(lines) // 2
        return self._write(bucket, lines[:half]) + self._write(bucket, lines[half:])

    def _housekeeping(self) -> None:
        now = self._now()
        if self._keep is not None and (self._pruned is None or now - self._pruned >= _PRUNE_EVERY):
            self._pruned = now
            pruned = self._spool.prune(self._keep, now)
            if pruned:
                LOG.info("%d forwarded messages older than %s were deleted from the history file", pruned, self._keep)
        if self.trouble is None and (self._told is None or now - self._told >= _DEPTH_EVERY):
            self._told = now
            self._tell_depth(now)

    def _tell_depth(self, now: datetime) -> None:
        """What waits and what was refused, as a point of its own, for whoever watches the operation."""
        depth, site = self._spool.depth(), self._spool.site()
        if site is None:
            return
        try:
            self._server.write(self._bucket, [spool_point(site, depth.waiting, depth.quarantined, now)])
        except TwinswarmError as error:
            LOG.warning("the depth of the spool was not told: %s", error)
