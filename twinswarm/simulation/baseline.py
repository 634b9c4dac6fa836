"""The day that savings are measured against: what was recorded, lived through again without BESS and V2G.

The recorded load, the available PV and the plug-in sessions (arrival SOC, capacity, target) are put in the place of the
site's profiles, so that a reference exists for a real site, too, where that day never happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.messages import (
    ChargerNameplate,
    EmsMode,
    MeterNameplate,
    MeterRole,
    PvNameplate,
    PvTelemetry,
)
from schemas.site import AnyDevice, Charger, Meter, PowerProfile, Pv, Site, TimeProfile
from services.history.sessions import RecordedChargingSession
from services.history.sqlite import History
from services.history.tracks import Track, mean_kw
from twinswarm.simulation.variants import Reference, as_reference


@dataclass(frozen=True)
class Replay:
    """A site and a course to be run in memory. ``held`` counts, by device, steps without telemetry: the last value."""

    site: Site
    course: Course
    held: dict[str, int]


@dataclass(frozen=True)
class _Recorded:
    """A device's replacement in the replayed site."""

    device: AnyDevice
    profile: TimeProfile | None = None
    held: int = 0


def reference_of(history: History, run: str, reference: Reference) -> Replay:
    """Of a run as far as it was recorded, whole steps only; ``history`` may be a window.

    Raises RunFailedError when that is not one step.
    """
    info = history.info(run)
    site = history.site(run)
    start, end = history.span(run)
    steps = (end - start) // info.step
    if steps < 1:
        raise RunFailedError(f"run {run}: not one step was recorded, so there is nothing to compare")
    course = Course(start, start + steps * info.step, info.step_s)
    stays = history.sessions(run)
    devices: dict[str, AnyDevice] = {}
    profiles = dict(site.profiles)
    held: dict[str, int] = {}
    for place, (name, track) in enumerate(history.tracks(run).items()):
        profile_name = f"recorded_{place}"
        recorded = _recorded(site, track, course, profile_name, [stay for stay in stays if stay.charger == name])
        if recorded is None:
            continue
        devices[name] = recorded.device
        if recorded.profile is not None:
            profiles[profile_name] = recorded.profile
        if recorded.held:
            held[name] = recorded.held
    replayed = site.model_copy(
        update={
            "devices": devices,
            "profiles": profiles,
            "ems": site.ems.model_copy(update={"mode": EmsMode.CONTROL}),
        }
    )
    return Replay(as_reference(replayed, reference), course, held)


def _recorded(
    site: Site, track: Track, course: Course, profile: str, stays: Sequence[RecordedChargingSession]
) -> _Recorded | None:
    """The device as it was recorded; None for what the reference leaves out or measures anew."""
    described = site.devices.get(track.device)
    nameplate = track.nameplate
    if isinstance(nameplate, ChargerNameplate):
        charger = described if isinstance(described, Charger) else _charger(nameplate)
        sessions = tuple(stay.session() for stay in stays)
        return _Recorded(charger.model_copy(update={"sessions": sessions, "daily": ()}))
    if isinstance(nameplate, PvNameplate):
        source = PowerProfile(profile=profile)
        pv = described if isinstance(described, Pv) else Pv(rated_kw=nameplate.rated_kw, source=source, forecast=source)
        values, held = _filled(_available_kw(track, course))
        return _Recorded(pv.model_copy(update={"source": source}), _profile(course, values), held)
    if isinstance(nameplate, MeterNameplate) and nameplate.role is MeterRole.LOAD:
        meter = described if isinstance(described, Meter) else Meter(role=MeterRole.LOAD)
        values, held = _filled(_load_kw(track, course))
        expected = meter.forecast_profile or meter.profile or profile
        update = {"profile": profile, "forecast_profile": expected}
        return _Recorded(meter.model_copy(update=update), _profile(course, values), held)
    return None


def _charger(nameplate: ChargerNameplate) -> Charger:
    """A charger that the site description does not know, by what it said of itself."""
    shared = Charger.model_fields.keys() & ChargerNameplate.model_fields.keys()
    return Charger(**nameplate.model_dump(include=set(shared)))


def _profile(course: Course, values: Sequence[float]) -> TimeProfile:
    return TimeProfile(start=course.t0, step_s=course.step_s, values=tuple(values))


def _load_kw(track: Track, course: Course) -> list[float | None]:
    """Per step the load's mean power, by its registers; exactly the power it told of where that was constant."""
    times = _instants(course)
    samples = [track.at(time, within=course.step) for time in times]
    found: list[float | None] = []
    for sample, after, flow in zip(samples, samples[1:], track.flows(times), strict=False):
        constant = after is not None and after.segments is not None and len(after.segments) <= 1
        found.append(sample.power_kw if sample is not None and constant else mean_kw(flow, course.step))
    last = samples[-1]
    return [*found, None if last is None else last.power_kw]


def _available_kw(track: Track, course: Course) -> list[float | None]:
    """Per step what the inverter could have delivered at its start."""
    samples = [track.at(time, within=course.step) for time in _instants(course)]
    return [sample.available_kw if isinstance(sample, PvTelemetry) else None for sample in samples]


def _instants(course: Course) -> list[datetime]:
    return [course.t0 + index * course.step for index in range(course.steps + 1)]


def _filled(values: Sequence[float | None]) -> tuple[list[float], int]:
    """Where nothing was told the value before holds (at the beginning 0 kW); and how often that was."""
    filled: list[float] = []
    for value in values:
        filled.append(value if value is not None else filled[-1] if filled else 0.0)
    return filled, sum(value is None for value in values)
