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
from zoneinfo import ZoneInfo

from schemas.errors import Code, InputError
from schemas.site import day_start, next_midnight
from services.analysis.comparison import compare
from services.analysis.day_result import DayResult, day_result
from services.history.reader import History, RunInfo, recorded_steps
from twinswarm.simulation.baseline import Replay, is_its_own_reference, reference_of
from twinswarm.simulation.baseline_run import baseline_run
from twinswarm.simulation.variants import Reference

_NAMED = 10
"""Most runs that an error names."""
LONGEST_LEAD = timedelta(days=3)
"""How much of a long stay before a day's midnight is lived through again."""


@dataclass(frozen=True, slots=True)
class LocalDay:
    """From local midnight to local midnight: 23, 24 or 25 hours."""

    date: date
    start: datetime
    end: datetime
    recorded: timedelta
    """How much of it is there."""


def local_days(info: RunInfo, zone: ZoneInfo, first: date = date.min, last: date = date.max) -> Iterator[LocalDay]:
    """The days of which the run recorded at least a whole step, from ``first`` to ``last``."""
    t0, up_to = recorded_steps(info, zone)
    start = day_start(t0, zone)
    while start < up_to:
        end = next_midnight(start, zone)
        day = LocalDay(start.astimezone(zone).date(), start, end, min(end, up_to) - max(start, t0))
        if day.recorded >= info.step and first <= day.date <= last:
            yield day
        start = end


def run_of(history: History, run: str | None, first: date = date.min, last: date = date.max) -> RunInfo:
    """The run whose days are asked for.

    Without its name: the live session; where there was none the only run of these days, or the newest if no days are
    told. Raises InputError naming the runs when several fit or none does.
    """
    if run is not None:
        return history.info(run)
    any_day = (first, last) == (date.min, date.max)
    runs = [
        info
        for info in history.runs()
        if info.label == "main" and any(True for _ in local_days(info, history.site(info.run).zone, first, last))
    ]
    live = [info for info in runs if not history.simulated(info.run)]
    if len(live) == 1 or (len(runs) == 1):
        return (live or runs)[0]
    if runs and any_day and not live:
        return runs[-1]
    if not runs:
        on = "" if any_day else " on these days"
        what = f"no run with a whole settlement period{on} was recorded"
        raise InputError.one(str(history.path), what, code=Code.UNKNOWN)
    named = ", ".join(info.run for info in (live or runs)[-_NAMED:])
    more = f" and {len(live or runs) - _NAMED} before" * (len(live or runs) > _NAMED)
    what = f"{'live sessions' if live else 'runs'} fit: choose with --run among {named}{more}"
    raise InputError.one(str(history.path), f"{len(live or runs)} {what}", code=Code.CONFLICT)


def settle_day(history: History, run: str, day: LocalDay, reference: Reference) -> DayResult:
    """Settles the day and replays its reference; the history is only read. Raises TwinswarmError."""
    with closing(history.within(day.start, day.end)) as told:
        own = is_its_own_reference(told, run, reference)
        replay = None if own else _replay_of(history, told, run, day, reference)
        with baseline_run(told, run, reference, replay) as baseline:
            compared = compare(told, run, baseline.history, baseline.run)
            return day_result(day.date, day.end - day.start, compared, told.site(run))


def _replay_of(history: History, told: History, run: str, day: LocalDay, reference: Reference) -> Replay:
    """``told`` is the day's window. Only where the replay begins before it more than the day is read."""
    begin = _reference_begins(told, run)
    if begin == told.span(run)[0]:
        return reference_of(told, run, reference)
    with closing(history.within(begin, day.end)) as before:
        return reference_of(before, run, reference)


def _reference_begins(told: History, run: str) -> datetime:
    """Beginning of the window's reference: see above."""
    info = told.info(run)
    start, _ = told.span(run)
    plugged = [stay.arrival for stay in told.sessions(run) if stay.departure is None or stay.departure > start]
    arrived = max(min([start, *plugged]), start - LONGEST_LEAD)
    return start + (arrived - start) // info.step * info.step
