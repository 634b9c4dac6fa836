"""The local days of a run, each settled for itself: of a session of months a day is read, and its reference replayed.

Where the reference of a day begins. It has neither BESS nor V2G, so that all it remembers over midnight are the
vehicles at the plugs. A vehicle that was plugged before midnight must not begin its day with the SOC that the run left
it: that would charge the reference for what the run did with the battery. The replay therefore begins before the day,
at the step in which the first of the vehicles arrived that are plugged at midnight, with the SOC of its arrival and the
target and departure that it told; the day is what follows midnight. The replay reaches back `LONGEST_LEAD` at most and
never beyond the run's beginning; a vehicle that came earlier begins there, with the SOC of its arrival. A day whose
midnight finds all plugs free begins at it, and so does a run of one day: its result is that of the whole run.

What else goes on over midnight begins anew with every replay: the month's peak of a demand charge. Costs, energies and
the run's stored energy of the days sum to those of the run; references of days are replays of their own, whose sum may
differ from the reference of the whole run by what an optimisation from another beginning decides otherwise.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from schemas.site import Site, day_start, next_midnight
from services.analysis.comparison import compare
from services.analysis.day_result import DayResult, day_result
from services.recorder.history import History, RunInfo
from services.recorder.store import HistoryStore
from services.swarm.compose import Recording
from services.swarm.counterfactual import reference_of
from services.swarm.in_memory import run_in_memory
from services.swarm.variants import Reference

LONGEST_LEAD = timedelta(days=3)
"""How much of a long stay before a day's midnight is lived through again."""


@dataclass(frozen=True, slots=True)
class LocalDay:
    """From local midnight to local midnight: 23, 24 or 25 hours."""

    date: date
    start: datetime
    end: datetime


def local_days(info: RunInfo, site: Site, first: date | None = None, last: date | None = None) -> Iterator[LocalDay]:
    """The days, in the site's time zone, of which the run recorded at least a step; from ``first`` to ``last``."""
    start = day_start(info.t0, site.zone)
    while info.up_to is not None and start < info.up_to:
        end = next_midnight(start, site.zone)
        day = LocalDay(start.astimezone(site.zone).date(), start, end)
        recorded = min(end, info.up_to) - max(start, info.t0)
        if recorded >= info.step and (first is None or first <= day.date) and (last is None or day.date <= last):
            yield day
        start = end


def settle_day(history: History, run: str, day: LocalDay, reference: Reference) -> DayResult:
    """Settles the day and replays its reference; the history is only read. Raises TwinswarmError."""
    with closing(history.within(day.start, day.end)) as told, TemporaryDirectory(prefix="twinswarm-") as folder:
        begin = _reference_begins(told, run)
        replayed = Path(folder) / "reference.sqlite"
        with closing(HistoryStore(replayed, durable=False)) as store, closing(history.within(begin, day.end)) as before:
            replay = reference_of(before, run, reference)
            reference_run = run_in_memory(replay.site, replay.course, Recording(store, f"reference:{run}"))
        with closing(History(replayed)) as references:
            return day_result(day.date, day.end - day.start, compare(told, run, references, reference_run))


def _reference_begins(told: History, run: str) -> datetime:
    """Of the window's reference: see above."""
    info = told.info(run)
    start, _ = told.span(run)
    plugged = [stay.arrival for stay in told.sessions(run) if stay.departure is None or stay.departure > start]
    arrived = max(min([start, *plugged]), start - LONGEST_LEAD)
    return start + (arrived - start) // info.step * info.step
