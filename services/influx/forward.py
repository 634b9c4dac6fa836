"""The forwarder: drains the history file, the spool, into InfluxDB, in order, whatever the server answers.

A process of its own beside the recorder, which knows nothing of it: InfluxDB away, slow or full never delays an
acknowledgement to the broker. What was sent is noted in the spool only after the server had stored it; killed in
between, the forwarder sends it again, as the same points.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.errors import InputError, TwinswarmError
from services.history.store import HistoryBusyError
from services.influx.points import spool_point
from services.influx.server import (
    InfluxAwayError,
    InfluxBusyError,
    InfluxDeniedError,
    InfluxError,
    InfluxRefusedError,
    InfluxRequestError,
    InfluxServer,
    InfluxSlowError,
    InfluxTooLargeError,
)
from services.influx.spool import Item, Refusal, Spool

LOG = logging.getLogger(__name__)

BATCH_LINES = 5000
"""Lines of one request; the number that the server's makers recommend."""
_MESSAGES = 500
"""Read from the spool at a time."""
LOOK_S = 1.0
"""How often an empty spool is looked at."""
SLOW_S = 60.0
"""Between attempts while the token or the bucket is wrong: only somebody can change that."""
_FIRST_S, _LONGEST_S = 1.0, 60.0
"""First wait of the back-off, doubled every time."""
_GROW_AFTER = 10
"""Batches in time, before larger ones are tried again."""
_PRUNE_EVERY = timedelta(hours=1)
_REST_S = 0.05
"""Between slices of what is deleted: time for the recorder, who waits meanwhile."""
_SLICES = 100
"""At most at a time."""
_DEPTH_EVERY = timedelta(minutes=1)

SIMULATED = "-simulated"


def bucket_of(bucket: str, *, simulated: bool) -> str:
    """Simulated runs have a bucket of their own, without retention: their days lie anywhere in time."""
    return f"{bucket}{SIMULATED}" if simulated else bucket


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing is forwarded, and when that is tried again [s]."""

    error: InfluxError | HistoryBusyError
    again_s: float


class Forwarder:
    """``wait`` waits so many seconds and tells whether to stop; ``now`` is the machine's clock.

    ``beat`` is called before every request: a long backlog is not silence. ``pause`` waits so many seconds, or none,
    amid the work, and tells whether to leave the rest of it. ``token`` reads the server's token anew.
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
        pause: Callable[[float], bool] = lambda _: False,
        token: Callable[[], str] | None = None,
        keep: timedelta | None = None,
        batch_lines: int = BATCH_LINES,
    ) -> None:
        self._spool = spool
        self._server = server
        self._bucket = bucket
        self._now = now
        self._wait = wait
        self._beat = beat
        self._pause = pause
        self._token = token
        self._keep = keep
        self._most = self._limit = batch_lines
        self._in_time = 0
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
        """Sends what there is now, and not what comes meanwhile: that might never end. Returns the number of points.

        Raises InfluxError when the server does not take part.
        """
        self._spool.changed()
        runs = self._spool.runs()
        newest, letter = self._spool.newest(), 0
        points = 0
        while self._spool.waits(newest):
            points += self._send(self._spool.messages(_MESSAGES, self._now(), newest))
            if self._is_to_stop():
                return points
        while letters := self._spool.letters(_MESSAGES, letter):
            points += self._send(letters)
            letter = letters[-1].letter or letter
            if self._is_to_stop():
                return points
        # Only now is true what the rows of the runs say.
        return points + self._send(runs)

    def _is_to_stop(self) -> bool:
        self._housekeeping()
        return self._pause(0.0)

    def _tried(self) -> Trouble | None:
        before = None if self.trouble is None else self.trouble.error
        if isinstance(before, InfluxDeniedError):
            self._take_new_token()
        try:
            self.drain()
        except InfluxAwayError as error:
            again_s = self._backing_off()
            if isinstance(error, InfluxBusyError) and error.after_s is not None:
                again_s = max(error.after_s, _FIRST_S)
            if not isinstance(before, InfluxAwayError):
                LOG.warning("InfluxDB is away; the history is kept meanwhile: %s", error)
            return Trouble(error, again_s)
        except HistoryBusyError as error:
            LOG.warning("nothing is forwarded meanwhile: %s", error)
            return Trouble(error, self._backing_off())
        except InfluxError as error:
            # What a proxy answers may be over soon; a token or a bucket waits for somebody.
            passing = isinstance(error, InfluxRequestError)
            if str(before) != str(error) and not (passing and isinstance(before, InfluxRequestError)):
                LOG.critical("nothing is forwarded until this is mended, tried every %g s: %s", SLOW_S, error)
            return Trouble(error, self._backing_off() if passing else SLOW_S)
        if self.trouble is not None:
            LOG.info("InfluxDB takes points again")
        self._attempts = 0
        return None

    def _backing_off(self) -> float:
        self._attempts += 1
        return float(min(_FIRST_S * 2.0 ** min(self._attempts - 1, 20), _LONGEST_S))

    def _take_new_token(self) -> None:
        """Whoever mended the token wrote it to its file."""
        if self._token is None:
            return
        try:
            self._server.use(self._token())
        except InputError as error:
            LOG.warning("the token that was denied is tried again: %s", error)

    def _send(self, items: Sequence[Item]) -> int:
        """The points of the items, about a batch of them at a time, then the note of these in the spool.

        So that of a server that is hardly able to take anything no batch has to be asked for twice.
        """
        by_bucket: dict[str, list[Item]] = {}
        for item in items:
            bucket = bucket_of(self._bucket, simulated=self._spool.simulated(item.run))
            by_bucket.setdefault(bucket, []).append(item)
        return sum(self._send_to(bucket, those) for bucket, those in by_bucket.items())

    def _send_to(self, bucket: str, items: Sequence[Item]) -> int:
        points = place = 0
        while place < len(items):
            lines = list(items[place].lines)
            end = place + 1
            while end < len(items) and len(lines) + len(items[end].lines) <= self._most:
                lines += items[end].lines
                end += 1
            refused: list[Refusal] = []
            sent = 0
            while sent < len(lines):  # an item may be more than a batch
                batch = lines[sent : sent + self._most]
                refused += self._write(bucket, batch)
                sent += len(batch)
            for refusal in refused[:1]:
                LOG.error("%d points go to quarantine, the first one: %s", len(refused), refusal.reason)
            self._spool.note(items[place:end], refused, self._now())
            points += len(lines) - len(refused)
            place = end
        return points

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
            self._limit = self._most = min(self._most, max(1, len(lines) // 2))
            LOG.info("batches of %d lines from now on: %s", self._most, error)
        except InfluxSlowError as error:
            self._in_time = 0
            self._most = min(self._most, max(1, len(lines) // 2))
            LOG.info("batches of %d lines until it is quicker: %s", self._most, error)
            raise
        except InfluxRefusedError as error:
            if len(lines) == 1 or error.dropped == len(lines):
                return [Refusal(line, bucket, str(error)) for line in lines]
        else:
            self._attempts = 0
            self._grow(len(lines))
            return []
        half = len(lines) // 2
        return self._write(bucket, lines[:half]) + self._write(bucket, lines[half:])

    def _grow(self, stored: int) -> None:
        """After some batches in time that were not much smaller than they may be."""
        if self._most < self._limit and 2 * stored > self._most:
            self._in_time += 1
            if self._in_time >= _GROW_AFTER:
                self._in_time = 0
                self._most = min(self._limit, 2 * self._most)

    def _housekeeping(self) -> None:
        now = self._now()
        if self._keep is not None and (self._pruned is None or now - self._pruned >= _PRUNE_EVERY):
            self._prune(self._keep, now)
        if self.trouble is None and (self._told is None or now - self._told >= _DEPTH_EVERY):
            self._told = now
            self._tell_depth(now)

    def _prune(self, keep: timedelta, now: datetime) -> None:
        self._pruned = now
        pruned = 0
        try:
            for slices, deleted in enumerate(self._spool.prune(keep, now), 1):
                pruned += deleted
                self._beat()
                if self._pause(_REST_S):
                    break
                if slices == _SLICES:
                    self._pruned = None  # the rest after what waits has been sent
                    break
        except HistoryBusyError as error:
            LOG.warning("nothing more is deleted for now: %s", error)
        if pruned:
            LOG.info("%d rows older than %s were deleted from the history file", pruned, keep)

    def _tell_depth(self, now: datetime) -> None:
        """Counts of what waits and what was refused, as a point of its own, for whoever watches the operation."""
        depth, site = self._spool.depth(), self._spool.site()
        if site is None:
            return
        try:
            self._server.write(self._bucket, [spool_point(site, depth.waiting, depth.quarantined, now)])
        except TwinswarmError as error:
            LOG.warning("the depth of the spool was not told: %s", error)
