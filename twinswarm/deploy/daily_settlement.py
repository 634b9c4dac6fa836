"""Settles every local day once it is over, by ``twinswarm savings`` in a process of its own, and writes it to InfluxDB.

What is over is told by the history. A run in wall time, live or simulated, has a day behind it when it was recorded
`MARGIN` beyond the day's end: by then late messages are in, or when a later one of its site began. A run in lock-step
when it has ended. If it never does, it was cut off when a later one began and its row has stood still for `QUIET_S`:
of runs side by side each is later than another one. What was written is looked up in InfluxDB, so that a day that
passed while nobody was here is settled, and none twice unless there is more of it by now.

The follower itself stays small: optimiser and network solver live in the process of a day's settlement, and end
with it.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from broker.heartbeat import Heartbeat
from schemas.errors import InputError, TwinswarmError
from schemas.messages import TimeMode
from services.history.reader import History, RunInfo
from services.influx.day_results import written_days
from services.influx.downsample import downsample
from services.influx.reader import InfluxAddress
from services.influx.server import InfluxAwayError, InfluxError, InfluxSlowError
from twinswarm.deploy.process import WRONG_INPUT
from twinswarm.simulation.days import LocalDay, local_days
from twinswarm.simulation.histories import is_influx, open_history
from twinswarm.simulation.variants import Reference

LOG = logging.getLogger(__name__)

MARGIN = timedelta(minutes=5)
"""Session time. What is later than this is no longer in its day's result."""
QUIET_S = 900.0
"""Patience with a lock-step run that has not ended, in the machine's time. A cycle takes seconds."""
_MORE = timedelta(seconds=1)
"""Least part of a day that counts as not settled; less is rounding."""
LOOK_S = 15.0
"""Between looks at the history while all is settled."""
_FIRST_S, _LONGEST_S = 1.0, 60.0
"""Back-off while InfluxDB or the history is away, doubled every time."""
_FAILED_LONGEST_S = 600.0
"""Back-off while days cannot be settled."""
_CHILD_S = 0.2


_Key = tuple[str, datetime]
"""Key of a day: its run and local midnight."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A day that is over and not settled."""

    history: str
    run: str
    day: LocalDay
    simulated: bool


class Follower:
    """``histories``: addresses; of several each run is in one. ``results``: where days are written, by the name of the
    live site's bucket. ``stop`` ends `serve`, and a settlement under way.
    """

    def __init__(
        self,
        histories: Sequence[str],
        results: InfluxAddress,
        reference: Reference,
        stop: threading.Event,
        heartbeat: Heartbeat,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._histories = histories
        self._results = results
        self._reference = reference
        self._stop = stop
        self._heartbeat = heartbeat
        self._now = now
        self._settled: dict[_Key, timedelta] | None = None
        self._given_up: dict[_Key, timedelta] = {}
        self._rows: dict[str, tuple[RunInfo, float]] = {}
        self._zones: dict[str, ZoneInfo] = {}
        self._unreadable: set[str] = set()
        self._complaint = ""
        self._attempts = 0
        self._failures = 0

    def serve(self) -> None:
        """Until it is stopped."""
        while not self._heartbeat.wait(self._stop, self._turn()):
            pass

    def _turn(self) -> float:
        """Settles what is due; returns how long to wait [s]."""
        try:
            failed = []
            for one in list(self._due()):
                if self._stop.is_set():
                    break
                if not self._settle(one):
                    failed.append(one)
        except TwinswarmError as error:
            self._attempts += 1
            if str(error) != self._complaint:
                LOG.warning("waiting, nothing is settled meanwhile: %s", error)
            self._complaint = str(error)
            return _backing_off(self._attempts, _LONGEST_S)
        if self._complaint:
            LOG.info("history and InfluxDB are there")
        self._complaint, self._attempts = "", 0
        self._failures = self._failures + 1 if failed else 0
        return _backing_off(self._failures, _FAILED_LONGEST_S) if failed else LOOK_S

    def _due(self) -> Iterator[_Due]:
        if self._settled is None:
            with closing(self._results.server()) as server:
                written = written_days(server, self._results.bucket, self._reference)
            self._settled = {key: timedelta(hours=hours) for key, hours in written.items()}
        for address in self._histories:
            self._heartbeat.beat()
            with closing(open_history(address)) as history:
                runs = [info for info in history.runs() if info.label == "main"]
                for place, info in enumerate(runs):
                    if info.run in self._unreadable or not self._knows_zone(history, info):
                        continue
                    quiet = self._is_quiet(info)
                    over = info.complete or (quiet and any(_follows(later, info) for later in runs[place + 1 :]))
                    for day in local_days(info, self._zones[info.run]):
                        key = (info.run, day.start)
                        known = self._settled.get(key, self._given_up.get(key))
                        more = known is None or day.recorded >= known + _MORE
                        if more and (over or _is_behind(info, day)):
                            yield _Due(address, info.run, day, history.simulated(info.run))

    def _knows_zone(self, history: History, info: RunInfo) -> bool:
        """False: the run's description cannot be read, which is said once and does not stop the other runs."""
        if info.run not in self._zones:
            try:
                self._zones[info.run] = history.site(info.run).zone
            except InputError as error:
                self._unreadable.add(info.run)
                LOG.warning("run %s is left out until I am started again: %s", info.run, error)
                return False
        return True

    def _is_quiet(self, info: RunInfo) -> bool:
        """Whether the run looks as if it was cut off. In wall time it is, when another session begins."""
        if info.mode is TimeMode.WALL or info.complete:
            return True
        before = self._rows.get(info.run)
        if before is None or before[0] != info:
            self._rows[info.run] = before = (info, self._now())
        return self._now() - before[1] >= QUIET_S

    def _settle(self, due: _Due) -> bool:
        """Whether the day need not be tried again. Raises InfluxAwayError."""
        assert self._settled is not None
        if is_influx(due.history):
            self._make_quarters(due.day, simulated=due.simulated)
        code = self._run_savings(due)
        if code is None:
            return True  # stopped amid it
        key = (due.run, due.day.start)
        if code == 0:
            self._settled[key] = due.day.recorded
            LOG.info("settled %s of run %s", due.day.date, due.run)
        elif code == WRONG_INPUT:
            self._given_up[key] = due.day.recorded
            LOG.error("%s of run %s cannot be settled and is left out until I am started again", due.day.date, due.run)
        else:
            LOG.error("%s of run %s was not settled (exit code %d); it is tried again", due.day.date, due.run, code)
        return code in (0, WRONG_INPUT)

    def _make_quarters(self, day: LocalDay, *, simulated: bool) -> None:
        """Of a simulated day no task of the server does it; of a live one it does, but for the last hour alone: what
        came after an outage is in none of its quarters."""
        try:
            with closing(self._results.server()) as server:
                downsample(server, self._results.bucket, day.start, day.end, simulated=simulated)
        except InfluxSlowError as error:  # the day would never be settled if it were waited for
            LOG.warning("no quarter-hours of %s were made: %s", day.date, error)
        except InfluxAwayError:
            raise
        except InfluxError as error:
            LOG.warning("no quarter-hours of %s were made: %s", day.date, error)

    def _run_savings(self, due: _Due) -> int | None:
        """Its exit code; None: it was stopped. What it complains of goes to standard error, which is ours."""
        day = str(due.day.date)
        command = [sys.executable, "-P", "-m", "twinswarm.cli", "savings", "--history", due.history, "--run", due.run]
        command += ["--from", day, "--to", day, "--reference", self._reference, "--write", *self._results.options()]
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as child:
            while child.poll() is None:
                if self._heartbeat.wait(self._stop, _CHILD_S):
                    child.terminate()
                    return None
        return child.returncode


def _follows(later: RunInfo, info: RunInfo) -> bool:
    """Whether it tells that the earlier run is over: a site has one session at a time."""
    return (later.site, later.mode) == (info.site, info.mode)


def _is_behind(info: RunInfo, day: LocalDay) -> bool:
    return info.mode is TimeMode.WALL and info.up_to is not None and info.up_to >= day.end + MARGIN


def _backing_off(attempts: int, longest_s: float) -> float:
    return float(min(_FIRST_S * 2.0 ** min(attempts - 1, 20), longest_s))
