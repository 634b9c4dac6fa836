"""A recorded time lived through again in memory, closed-loop: the same plant, under set-points of one's choice.

Load, available PV, heat, charging sessions, forecasts, prices and limits are those of the record; batteries and
vehicles begin as they were measured; a battery or charger that nobody heard is away then. What the plant does with
set-points is the twins': of two runs that differ in their set-points alone the error of this model is the same, and
cancels.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from runtime.in_memory import run_direct
from schemas.cycle import Course
from schemas.messages import Birth, EmsMode, Phase, TimeMode
from schemas.participant import Outgoing, Participant, Received, Turn
from schemas.presence import STALE_PERIODS
from schemas.site import REPORTED_LIMITS, Bess, Charger, ChargingSession, MonthPeak, Offline, Site, VehicleReport
from schemas.topics import Channel, Kind, Topic
from schemas.wrapped import Wrapped
from services.clock.lockstep import lockstep_run
from services.history.memory import MemoryHistory, lockstep_info
from services.history.reader import History
from services.history.sessions import RecordedChargingSession
from services.history.tracks import Track, soc_of
from twinswarm.simulation.baseline import replay_of
from twinswarm.simulation.compose import maker, members
from twinswarm.simulation.recorded_senders import RecordedEms, services_of
from twinswarm.simulation.runs import new_run_id

EMS = "ems"
_REPORTED: Mapping[VehicleReport, tuple[str, ...]] = {
    "vehicle": ("vehicle",),
    "soc": ("arrival_soc_frac", "final_soc_frac"),
    "capacity": ("capacity_kwh",),
    "departure": ("announced_departure",),
    "target": ("target_soc_frac", "priority"),
    "energy": ("energy_wanted_kwh", "priority"),
    "limits": REPORTED_LIMITS,
}
"""By what a vehicle reports the fields of a recorded session that are known then."""


@dataclass(frozen=True)
class RecordedPlant:
    """What was recorded of a time, to be lived through: the plant, and what the services said."""

    site: Site
    course: Course
    said: Sequence[Received]
    """Series and limits."""
    planned_at: frozenset[datetime]
    """Beginnings of the steps in which the recorded EMS planned."""


@dataclass(frozen=True)
class Lived:
    """A run in memory. ``plan_s``: what each decision took [s]."""

    history: History
    run: str
    plan_s: tuple[float, ...]


def recorded_plant(history: History, run: str, peak: MonthPeak | None = None) -> RecordedPlant:
    """``history`` may be a window. ``peak``: the month's peak from before it, which is paid.

    Raises RunFailedError when not one step was recorded.
    """
    replay = replay_of(history, run)
    course, site = replay.course, replay.site
    tracks, stays = history.tracks(run), history.sessions(run)
    devices = dict(site.devices)
    for name, device in devices.items():
        if isinstance(device, Charger):
            own = [stay for stay in stays if stay.charger == name]
            devices[name] = _with_vehicles_as_found(device, own, tracks[name], course)
    away = [
        event
        for name, device in devices.items()
        if isinstance(device, Bess | Charger)
        for event in _silences(name, tracks[name], history, run)
    ]
    tariff = site.tariff if peak is None else site.tariff.model_copy(update={"month_peak": peak})
    return RecordedPlant(
        site.model_copy(update={"devices": devices, "scenario": tuple(away), "tariff": tariff}),
        course,
        [m for channel in (Channel.SERIES, Channel.LIMIT) for m in history.messages(run, channel)],
        frozenset(
            course.t0 + (received.stamp.ts - course.t0) // course.step * course.step
            for received, _ in history.plans(run)
            if received.topic.device == EMS
        ),
    )


def live_with_ems(plant: RecordedPlant, ems_site: Site | None = None) -> Lived:
    """With the EMS of this program, which decides in the steps in which the recorded one did.

    ``ems_site``: of whose options and connection the EMS is; None: of the recorded ones.
    """
    site = plant.site
    if ems_site is not None:
        ems = ems_site.ems.model_copy(update={"mode": EmsMode.CONTROL})
        site = site.model_copy(update={"ems": ems, "connection": ems_site.connection})
    planner = _TimedEms(maker(site, EMS)(), plant.planned_at)
    return _live(plant, planner, planner.plan_s)


def live_with_set_points(plant: RecordedPlant, history: History, run: str) -> Lived:
    """With the set-points that were recorded."""
    grace_s = plant.site.ems.grace_s if history.info(run).mode is TimeMode.WALL else 0.0
    return _live(plant, RecordedEms(plant.site.site, EMS, history.setpoints(run), grace_s), [])


def _live(plant: RecordedPlant, ems: Participant, plan_s: list[float]) -> Lived:
    site, course = plant.site, plant.course
    left_out = {EMS, "forecast", "tariff", "recorder"}
    participants: list[Participant] = [maker(site, device)() for device in members(site) if device not in left_out]
    participants += [ems, *services_of(site.site, plant.said)]
    now = datetime.now(UTC)
    run, messages = new_run_id(now), list[Received]()
    announcement = Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), lockstep_run(course, now)
    run_direct(participants, course, run, announcement, on_message=messages.append)
    info = lockstep_info(run, site, course.t0, course.t_end, course.step_s, now)
    return Lived(MemoryHistory(info, site, messages), run, tuple(plan_s))


class _TimedEms(Wrapped[Participant]):
    """An EMS that decides at given times, and how long each decision took."""

    def __init__(self, ems: Participant, planned_at: frozenset[datetime]) -> None:
        super().__init__(ems)
        self._planned_at = planned_at
        self.plan_s: list[float] = []

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if turn.phase is not Phase.DECIDE:
            return self.inner.act(turn, inbox)
        if turn.t not in self._planned_at:
            self.inner.act(replace(turn, phase=Phase.MEASURE), inbox)
            return []
        began = time.perf_counter()
        sent = self.inner.act(turn, inbox)
        self.plan_s.append(time.perf_counter() - began)
        return sent


def _with_vehicles_as_found(
    charger: Charger, stays: Sequence[RecordedChargingSession], track: Track, course: Course
) -> Charger:
    """The vehicles say as much of themselves as they did; one that was plugged before is as it was found."""
    reports = tuple(
        report
        for report, names in _REPORTED.items()
        if any(getattr(stay, name) is not None for stay in stays for name in names)
    )
    sessions = charger.sessions
    begun = [stay for stay in stays if stay.arrival < course.t0]
    if sessions and begun and sessions[0].arrival == begun[0].arrival:
        sessions = (_as_found(sessions[0], begun[0], track), *sessions[1:])
    return charger.model_copy(update={"sessions": sessions, "reports": reports})


def _as_found(session: ChargingSession, stay: RecordedChargingSession, track: Track) -> ChargingSession:
    """A session that began before what was recorded, with the SOC that its vehicle had then."""
    soc = soc_of(track.samples[0].body)
    if soc is None:
        soc = session.arrival_soc_frac + (stay.counted_before_kwh or 0.0) / session.capacity_kwh
    soc = min(max(soc, 0.0), 1.0)
    return session.model_copy(update={"arrival_soc_frac": soc, "soc_max_frac": max(session.soc_max_frac, soc)})


def _silences(device: str, track: Track, history: History, run: str) -> Iterator[Offline]:
    """When the EMS in wall time counted the device as not there, for nothing came of it."""
    if history.info(run).mode is not TimeMode.WALL:
        return
    birth = history.births(run).get(device)
    body = None if birth is None else birth.body
    period_s = body.telemetry_period_s if isinstance(body, Birth) else None
    if period_s is None:
        return
    start, end = history.span(run)
    patience = STALE_PERIODS * timedelta(seconds=period_s)
    heard = [start, *(sample.ts for sample in track.samples if start <= sample.ts <= end), end]
    for before, after in itertools.pairwise(heard):
        if after - before > patience:
            yield Offline(device=device, start=before + patience, end=after)
