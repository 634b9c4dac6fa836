"""A site's recorded days under the EMS of this program: whether an upgrade changes what it decides, and for the better.

Two questions, each by itself. Open-loop: every recorded decision is taken again from what was known to it
(`twinswarm.simulation.decisions`); an unchanged EMS differs in nothing. Closed-loop: each day is lived again in memory
from the state that was measured at its midnight, once under the recorded set-points (or the other version's EMS) and
once under this EMS (`twinswarm.simulation.lived_again`), and both are settled alike.
"""

import dataclasses
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from schemas.errors import Code, InputError, TwinswarmError
from schemas.messages import ChargerTelemetry, Metric, PlanStatus, Setpoint, TimeMode
from schemas.participant import Received, software
from schemas.site import MonthPeak, Site
from schemas.topics import Channel, Kind
from services.analysis.comparison import Settled, compare
from services.analysis.outcome import outcome_of
from services.analysis.outside_limits import outside_limits
from services.analysis.stored import departure_shortfall_kwh
from services.ems.decision_record import digest_of
from services.history.reader import SAME_KW, History, RunInfo
from twinswarm.simulation.days import LocalDay
from twinswarm.simulation.decisions import (
    EMS,
    ENDED_BY_TIME,
    Decisions,
    Moment,
    Outcome,
    Unrepeatable,
    decide,
    differences,
    is_by_algorithm,
)
from twinswarm.simulation.lived_again import Lived, live_with_ems, live_with_set_points, recorded_plant
from twinswarm.simulation.upgrade_result import FORM, RECORDED, Again, DayCheck, Side, Taken, UpgradeCheck

NOT_MADE = (PlanStatus.PREVIOUS, PlanStatus.SAFE_RULE)
_HOUR = timedelta(hours=1)
_FLOOR_FRAC = 1e-3
"""An SOC that is below its least value by no more is at it."""
_OF_PLANS = ("plans", "not_made", "plan_s_mean", "plan_s_max")
"""Fields of a side that its plans say, not its set-points."""
_SIDE, _TAKEN = TypeAdapter(Side), TypeAdapter(tuple[Taken, ...])
_BY_ALGORITHM = "an algorithm of somebody's own decided"


@dataclass(frozen=True)
class OtherVersion:
    """The result of another program's check of the same days, by its JSON."""

    software: str
    sides: Mapping[str, Side]
    """By local day, how it went under its EMS."""
    taken: Mapping[str, Taken]
    """By time."""

    @classmethod
    def read(cls, file: Path, run: str, days: Sequence[LocalDay]) -> "OtherVersion":
        """Raises InputError for what is no such file, or one of another run or of other days."""
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            form, of_run, name = found["form"], found["run"], str(found["software"])
            if form == FORM:
                sides = {str(day["date"]): _SIDE.validate_python(day["now"]) for day in found["days"]}
                taken = {each.at: each for each in _TAKEN.validate_python(found["decisions"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"is no JSON that `upgrade-check --json` wrote: {type(error).__name__}"
            raise InputError.one("--baseline", what, str(file), code=Code.FORMAT) from None
        if form != FORM:
            raise InputError.one("--baseline", f"is of another form; {FORM} is read", form, code=Code.FOREIGN)
        if of_run != run:
            raise InputError.one("--baseline", f"is of another run than {run}", of_run, code=Code.CONFLICT)
        if missing := [str(day.date) for day in days if str(day.date) not in sides]:
            raise InputError.one("--baseline", f"has not the days {', '.join(missing)}", str(file), code=Code.CONFLICT)
        return cls(name, sides, taken)


def check_upgrade(
    history: History,
    info: RunInfo,
    days: Sequence[LocalDay],
    *,
    ems_site: Site | None = None,
    other: OtherVersion | None = None,
    on_day: Callable[[LocalDay], None] | None = None,
) -> UpgradeCheck:
    """The history is only read. ``ems_site``: of whose options and connection this EMS is; None: the recorded ones.

    Raises InputError when the run has no plan of an EMS.
    """
    found, taken, failed = list[DayCheck](), list[Taken](), dict[date, str]()
    whole = Decisions(history, info.run) if info.mode is TimeMode.LOCKSTEP else None
    for day in days:
        try:
            checked, again = _check_day(history, info, day, whole, ems_site, other)
        except TwinswarmError as error:
            failed[day.date] = str(error)
        else:
            found.append(checked)
            taken += again
        if on_day is not None:
            on_day(day)
    before = RECORDED if other is None else other.software
    return UpgradeCheck(info.site, info.run, software(), before, tuple(found), tuple(taken), failed)


def _check_day(
    history: History,
    info: RunInfo,
    day: LocalDay,
    whole: Decisions | None,
    ems_site: Site | None,
    other: OtherVersion | None,
) -> tuple[DayCheck, list[Taken]]:
    with (
        closing(history.within(day.start, day.end)) as window,
        closing(history.within(day.start, day.end - datetime.resolution)) as commands,
    ):
        decisions = whole or Decisions(commands, info.run)
        plans = [plan for plan in decisions.plans if day.start <= plan.stamp.ts < day.end]
        open_loop = _OpenLoop(decisions, ems_site, other)
        again = open_loop.take(plans)
        plant = recorded_plant(window, info.run, open_loop.peak)
        limits = [m for m in plant.said if m.topic.channel is Channel.LIMIT]
        measured = _side(window, info.run, plant.site, limits, commands, _solve_s(commands, info.run))
        now = live_with_ems(plant, ems_site)
        if other is None:
            recorded = _lived_side(live_with_set_points(plant, commands, info.run), plant.site, limits)
            about_plans = {name: getattr(measured, name) for name in _OF_PLANS}
            before = dataclasses.replace(recorded, **about_plans)
        else:
            before = other.sides[str(day.date)]
        checked = DayCheck(
            date=day.date,
            hours=(plant.course.t_end - plant.course.t0) / _HOUR,
            again=again,
            measured=measured,
            before=before,
            now=_lived_side(now, plant.site, limits),
        )
        return checked, open_loop.taken


class _OpenLoop:
    """Decisions taken again, one after the other."""

    def __init__(self, decisions: Decisions, ems_site: Site | None, other: OtherVersion | None) -> None:
        self._decisions = decisions
        self._other = other
        site = decisions.site
        self._site_sha256 = digest_of(site)
        if ems_site is not None:
            ems = ems_site.ems.model_copy(update={"mode": site.ems.mode})
            site = site.model_copy(update={"ems": ems, "connection": ems_site.connection})
        self._ems = decisions.ems(site)
        self.taken: list[Taken] = []
        self.peak: MonthPeak | None = None
        """Of the month, as the EMS knew it at the first decision."""

    def take(self, plans: Sequence[Received]) -> Again:
        reasons: Counter[str] = Counter()
        other_site = 0
        compared: list[tuple[bool, list[float | None], bool]] = []
        seconds: list[float] = []
        for found in self._moments(plans):
            why = self._why_not(found)
            if why is not None:
                reasons[why] += 1
                continue
            assert isinstance(found, Moment)
            try:
                if not seconds:
                    decide(self._ems, found)  # libraries are loaded and the model is built: no part of a plan's time
                began = time.perf_counter()
                outcome = decide(self._ems, found)
            except InputError as error:
                reasons[error.faults[0].what] += 1
                continue
            seconds.append(time.perf_counter() - began)
            other_site += found.site_sha256 not in (None, self._site_sha256)
            self._note(found, outcome)
            result = self._compared(found, outcome)
            if isinstance(result, str):
                reasons[result] += 1
            else:
                compared.append(result)
        moved = [kw for _, each, _ in compared for kw in each]
        known = [kw for kw in moved if kw is not None]
        return Again(
            decisions=len(plans),
            taken=len(compared),
            reasons=dict(reasons),
            other_site=other_site,
            different=sum(differs for differs, _, _ in compared),
            setpoints=len(moved),
            setpoints_different=sum(kw is None or kw > SAME_KW for kw in moved),
            largest_kw=max(known, default=0.0),
            sum_kw=sum(known),
            not_made=sum(not_made for _, _, not_made in compared),
            plan_s_mean=sum(seconds) / len(seconds) if seconds else None,
            plan_s_max=max(seconds, default=None),
        )

    def _moments(self, plans: Sequence[Received]) -> Iterator[Moment | Unrepeatable]:
        """What is missing in lock-step ends them all: the rest cannot be taken again for the same reason."""
        left = list(plans)
        try:
            for found in self._decisions.moments(plans) if plans else ():
                left.pop(0)
                yield found
        except InputError as error:
            for plan in left:
                yield Unrepeatable(plan, error)

    @staticmethod
    def _why_not(found: Moment | Unrepeatable) -> str | None:
        if isinstance(found, Unrepeatable):
            return found.error.faults[0].what.partition(" (topic")[0]
        if is_by_algorithm(found.recorded):
            return _BY_ALGORITHM
        return None

    def _note(self, moment: Moment, outcome: Outcome) -> None:
        setpoints = {device: _kw(body) for device, body in outcome.setpoints.items()}
        self.taken.append(Taken(moment.turn.t.isoformat(), str(outcome.plan.status), setpoints))
        if len(self.taken) == 1:
            known = self._ems.snapshot()["peak"]
            if known["month"] and known["peak_kw"] > 0:
                self.peak = MonthPeak(month=known["month"], import_kw=known["peak_kw"])

    def _compared(self, moment: Moment, outcome: Outcome) -> tuple[bool, list[float | None], bool] | str:
        """Whether anything differs, by how much each set-point [kW; None: one of the two is not there], and whether a
        plan is no longer made; or why it cannot be compared."""
        made = {device: _kw(body) for device, body in outcome.setpoints.items()}
        if self._other is None:
            found = differences(moment, outcome)
            if found and moment.ended_by_time:
                return ENDED_BY_TIME
            then = {d: _kw(received.body) for d, received in moment.setpoints.items()}
            status, differs = str(moment.recorded.status), bool(found)
        else:
            taken = self._other.taken.get(moment.turn.t.isoformat())
            if taken is None:
                return f"{self._other.software} did not take it again"
            then, status = dict(taken.setpoints), taken.status
            differs = made != then or status != str(outcome.plan.status)
        devices = sorted(made.keys() | then.keys())
        moved = [abs(made[d] - then[d]) if d in made and d in then else None for d in devices]
        not_made = outcome.plan.status in NOT_MADE and status not in NOT_MADE
        return differs, moved, not_made


def _kw(body: object) -> float:
    assert isinstance(body, Setpoint)
    value = body.limit_kw if body.power_kw is None else body.power_kw
    assert value is not None
    return value


def _solve_s(history: History, run: str) -> list[float]:
    """What each recorded decision took to solve [s]; published in wall time only."""
    metrics = (m.body for m in history.messages(run, Channel.METRIC, Kind.EMS, EMS))
    return [body.values["solve_s"] for body in metrics if isinstance(body, Metric) and "solve_s" in body.values]


def _lived_side(lived: Lived, site: Site, limits: Sequence[Received]) -> Side:
    return _side(lived.history, lived.run, site, limits, lived.history, lived.plan_s)


def _side(
    history: History,
    run: str,
    site: Site,
    limits: Iterable[Received],
    commands: History,
    plan_s: Sequence[float],
) -> Side:
    """``commands``: where the set-points and plans of the time are."""
    compared = compare(history, run)
    outcome, settled = outcome_of(compared, site), compared.run
    groups = {group.name: group.devices for group in site.ems.cable_limits if group.name is not None}
    outside = outside_limits(limits, settled.quarters, groups)
    counts = commands.counts(run)
    statuses = [plan.status for received, plan in commands.plans(run) if received.topic.device == EMS]
    price = settled.settlement.mean_purchase_price_eur_per_kwh
    return Side(
        cost_eur=outcome.cost_eur,
        demand_charge_eur=outcome.demand_charge_eur,
        wear_eur=outcome.all_wear_eur,
        stored_kwh=settled.stored.total_kwh,
        stored_eur=settled.stored.total_kwh * (price or 0.0),
        import_peak_kw=outcome.import_peak_kw,
        unsettled_steps=outcome.unsettled_steps,
        above_connection_periods=settled.above_kw(site.connection.import_limit_kw, site.connection.export_limit_kw),
        outside_limit_periods=sum(each.exceeded_quarters for each in outside),
        outside_limit_kwh=sum(each.exceeded_kwh for each in outside),
        below_floor_periods=_below_floor(settled),
        missed_kwh=departure_shortfall_kwh(settled.tracks, settled.times[0]),
        setpoints=counts.setpoints_sent,
        changes=counts.setpoints_changed,
        reversals=counts.setpoints_reversed,
        moved_kw=counts.setpoints_moved_kw,
        plans=len(statuses),
        not_made=sum(status in NOT_MADE for status in statuses),
        plan_s_mean=sum(plan_s) / len(plan_s) if plan_s else None,
        plan_s_max=max(plan_s, default=None),
    )


def _below_floor(settled: Settled) -> int:
    """Settlement periods of all stores that begin with an SOC below the least."""
    count = 0
    for quarter, device in itertools.product(settled.quarters, settled.tracks):
        soc, track = quarter.soc_frac.get(device), settled.tracks[device]
        if soc is None:
            continue
        body = track.at(quarter.time, quarter.length)
        plugged = body.plugged if isinstance(body, ChargerTelemetry) else None
        floor = getattr(plugged or track.nameplate, "soc_min_frac", None)
        count += floor is not None and soc < floor - _FLOOR_FRAC
    return count
