"""The day that savings are measured against: what was recorded, lived through again without BESS and V2G.

The recorded load, the available PV, the heat that was wanted, the outdoor temperature and the plug-in sessions (arrival
SOC, capacity, target) are put in the place of the site's profiles, so that a reference exists for a real site, too,
where that day never happened. Heat pumps follow their thermostats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.messages import (
    BessNameplate,
    Birth,
    ChargerNameplate,
    EmsMode,
    HeatPumpNameplate,
    HeatPumpTelemetry,
    MeterNameplate,
    MeterRole,
    Plan,
    PvNameplate,
    PvTelemetry,
    Telemetry,
)
from schemas.site import (
    AnyDevice,
    Bess,
    Charger,
    HeatPump,
    Meter,
    PhaseSwitching,
    PowerProfile,
    Pv,
    Site,
    Taper,
    TimeProfile,
    VehicleReport,
)
from schemas.topics import Channel
from schemas.units import MOST_KW
from services.history.reader import History
from services.history.sessions import RecordedChargingSession
from services.history.tracks import Sample, Track, mean_kw, soc_of
from twinswarm.simulation.variants import Reference, as_reference

_HOUR = timedelta(hours=1)
_SAME = 1e-6
"""Relative difference below which an inverter delivers all that it could."""

_KNOWN: tuple[VehicleReport, ...] = Charger.model_fields["reports"].default
"""A vehicle that is replayed says all of itself: it wants what it really wanted, or got where that was not known."""


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
    profiles: Mapping[str, TimeProfile] = field(default_factory=dict)
    """What the device refers to, by name."""
    held: int = 0


def is_its_own_reference(history: History, run: str, reference: Reference) -> bool:
    """Whether the run itself followed the reference policy, so that no other day has to be lived through.

    It had neither BESS nor V2G, and its cars were treated as the policy says. What delays and faults did to it, they
    did to its reference, too: savings are exactly 0 and the peak-shaving factor exactly 1.
    """
    site = history.site(run)
    if as_reference(site, reference) != site or site.ems.mode is not EmsMode.CONTROL:
        return False
    nameplates = [birth.body.nameplate for birth in history.births(run).values() if isinstance(birth.body, Birth)]
    if any(isinstance(nameplate, BessNameplate) for nameplate in nameplates):
        return False
    if any(isinstance(nameplate, HeatPumpNameplate) and nameplate.controllable for nameplate in nameplates):
        return False
    chargers = [nameplate for nameplate in nameplates if isinstance(nameplate, ChargerNameplate)]
    if reference is Reference.NO_CARS:
        return not chargers
    if reference is Reference.UNCONTROLLED:
        return not any(charger.bidirectional or charger.controllable for charger in chargers)
    plans = (received.body for received in history.messages(run, Channel.PLAN))
    controlled = all(isinstance(plan, Plan) and plan.mode is EmsMode.CONTROL for plan in plans)
    return controlled and not any(charger.bidirectional for charger in chargers)


def reference_of(history: History, run: str, reference: Reference) -> Replay:
    """Of a run as far as it was recorded, whole steps only; ``history`` may be a window.

    Raises RunFailedError when that is not one step.
    """
    replay = replay_of(history, run)
    return replace(replay, site=as_reference(replay.site, reference))


def replay_of(history: History, run: str) -> Replay:
    """The same with everything that the site has, batteries included: to be lived through under any policy."""
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
        devices[name] = recorded.device.model_copy(update={"shadow": False})  # nobody is to be watched there
        profiles |= recorded.profiles
        if recorded.held:
            held[name] = recorded.held
    replayed = site.model_copy(
        update={
            "devices": devices,
            "profiles": profiles,
            "ems": site.ems.model_copy(update={"mode": EmsMode.CONTROL}),
            "ghosts": {},
            "scenario": (),  # what happened is in what was recorded
        }
    )
    return Replay(replayed, course, held)


def _recorded(
    site: Site, track: Track, course: Course, profile: str, stays: Sequence[RecordedChargingSession]
) -> _Recorded | None:
    """The device as it was recorded; None for what is measured anew."""
    described = site.devices.get(track.device)
    nameplate = track.nameplate
    if isinstance(nameplate, ChargerNameplate):
        charger = described if isinstance(described, Charger) else _charger(nameplate)
        sessions = tuple(session for stay in stays if (session := stay.session()) is not None)
        return _Recorded(charger.model_copy(update={"sessions": sessions, "daily": (), "reports": _KNOWN}))
    if isinstance(nameplate, PvNameplate):
        source = PowerProfile(profile=profile)
        pv = described if isinstance(described, Pv) else _pv(nameplate, source)
        values, held = _filled(_available_kw(track, course))
        return _Recorded(pv.model_copy(update={"source": source}), {profile: _profile(course, values)}, held)
    if isinstance(nameplate, MeterNameplate) and nameplate.role is MeterRole.LOAD:
        meter = described if isinstance(described, Meter) else Meter(role=MeterRole.LOAD)
        values, held = _filled(_load_kw(track, course))
        expected = meter.forecast_profile or meter.profile or profile
        update = {"profile": profile, "forecast_profile": expected}
        return _Recorded(meter.model_copy(update=update), {profile: _profile(course, values)}, held)
    if isinstance(nameplate, HeatPumpNameplate):
        return _heatpump(nameplate, described, track, course, profile)
    if isinstance(nameplate, BessNameplate):
        return _Recorded(_bess(nameplate, described, track))
    return None


def _heatpump(
    nameplate: HeatPumpNameplate, described: AnyDevice | None, track: Track, course: Course, profile: str
) -> _Recorded:
    """The heat that the building wanted and the outdoor temperature, from the heat that was in the buffer.

    What a heat pump does not measure is 0, as in the EMS.
    """
    samples = [track.at(time, within=course.step) for time in _instants(course)]
    told = [sample if isinstance(sample, HeatPumpTelemetry) else None for sample in samples]
    temps, held = _filled([None if one is None else one.temp_outdoor_c for one in told])
    demands, _ = _filled(_heat_demand_kw(told, course))
    names = {"temp_outdoor_profile": f"{profile}_temp", "heat_demand_profile": f"{profile}_heat"}
    profiles = {name: _profile(course, values) for name, values in zip(names.values(), (temps, demands), strict=True)}
    shared = HeatPump.model_fields.keys() & HeatPumpNameplate.model_fields.keys()
    device = described if isinstance(described, HeatPump) else None
    if device is None:
        # Not validated: a description is stricter than a nameplate, as of chargers below.
        device = HeatPump.model_construct(**{**nameplate.model_dump(include=set(shared)), **names})
    begins = next((one.soc_frac for one in told if one is not None), device.initial_soc_frac)
    expected = {
        "temp_outdoor_forecast_profile": device.temp_outdoor_forecast_profile or device.temp_outdoor_profile,
        "heat_demand_forecast_profile": device.heat_demand_forecast_profile or device.heat_demand_profile,
    }
    return _Recorded(device.model_copy(update={**names, **expected, "initial_soc_frac": begins}), profiles, held)


def _bess(nameplate: BessNameplate, described: AnyDevice | None, track: Track) -> Bess:
    """It begins with the SOC that it told first, within its bounds."""
    bess = described if isinstance(described, Bess) else None
    if bess is None:
        # Not validated: a description is stricter than a nameplate, as of chargers below.
        shared = Bess.model_fields.keys() & BessNameplate.model_fields.keys()
        bess = Bess.model_construct(**nameplate.model_dump(include=set(shared)))
    socs = (soc for sample in track.samples if (soc := soc_of(sample.body)) is not None)
    begins = next(socs, bess.initial_soc_frac)
    return bess.model_copy(update={"initial_soc_frac": min(max(begins, bess.soc_min_frac), bess.soc_max_frac)})


def _heat_demand_kw(told: Sequence[HeatPumpTelemetry | None], course: Course) -> list[float | None]:
    """Per step the mean heat that was wanted, by the registers; exactly what was told where that is the mean."""
    found: list[float | None] = []
    for now, after in zip(told, [*told[1:], None], strict=True):
        mean = None if now is None else now.heat_demand_kw
        wanted = [_wanted_kwh(one) for one in (now, after)]
        if wanted[0] is not None and wanted[1] is not None and wanted[1] >= wanted[0]:
            by_registers = (wanted[1] - wanted[0]) / (course.step / _HOUR)
            if mean is None or abs(by_registers - mean) > _SAME * max(by_registers, 1.0):
                mean = by_registers
        found.append(mean)
    return found


def _wanted_kwh(told: HeatPumpTelemetry | None) -> float | None:
    if told is None or told.heat_served_kwh is None or told.heat_unserved_kwh is None:
        return None
    return told.heat_served_kwh + told.heat_unserved_kwh


def _charger(nameplate: ChargerNameplate) -> Charger:
    """A charger that the site description does not know, by what it said of itself."""
    shared = Charger.model_fields.keys() & ChargerNameplate.model_fields.keys()
    fields = nameplate.model_dump(include=set(shared))
    # A description is stricter than a nameplate, which may contradict itself and was admitted nevertheless.
    fields["min_power_kw"] = min(nameplate.min_power_kw, nameplate.max_charge_kw)
    if nameplate.phase_switch is not None:
        fields["phase_switch"] = PhaseSwitching(**nameplate.phase_switch.model_dump())
    if nameplate.taper_start_soc_frac is not None and nameplate.taper_start_soc_frac < 1:
        start, end = nameplate.taper_start_soc_frac, nameplate.taper_end_power_frac
        fields["taper"] = Taper(start_soc_frac=start, end_power_frac=end)
    return Charger.model_construct(**fields)


def _pv(nameplate: PvNameplate, source: PowerProfile) -> Pv:
    """An inverter that the site description does not know; its rating may be 0."""
    return Pv.model_construct(rated_kw=nameplate.rated_kw, source=source, forecast=source)


def _profile(course: Course, values: Sequence[float]) -> TimeProfile:
    """Powers that registers make greater than any power may be are cut at that."""
    powers = tuple(min(max(value, -MOST_KW), MOST_KW) for value in values)
    return TimeProfile(start=course.t0, step_s=course.step_s, values=powers)


def _load_kw(track: Track, course: Course) -> list[float | None]:
    """Per step the load's mean power, by its registers."""
    return _means(track, course, lambda body: body.power_kw)


def _available_kw(track: Track, course: Course) -> list[float | None]:
    """Per step the mean power that the inverter could have delivered.

    That is what it delivered, by its registers. Where a limit held it back, it is what it said that it could have
    delivered, and at least what it delivered.
    """
    return _means(_uncurtailed(track), course, lambda body: body.available_kw if isinstance(body, PvTelemetry) else 0.0)


def _means(track: Track, course: Course, power_kw: Callable[[Telemetry], float]) -> list[float | None]:
    """Per step the mean power [kW] by register differences, and after the last step the power then.

    Where the power was constant it is exactly that of the telemetry at the step's start: a difference of registers
    would give it but for the last bits, and the same day would not be the same day.
    """
    times = _instants(course)
    samples = [track.at(time, within=course.step) for time in times]
    found: list[float | None] = []
    for sample, after, flow in zip(samples, samples[1:], track.flows(times), strict=False):
        constant = after is not None and after.segments is not None and len(after.segments) <= 1
        found.append(power_kw(sample) if sample is not None and constant else mean_kw(flow, course.step))
    last = samples[-1]
    return [*found, None if last is None else power_kw(last)]


def _uncurtailed(track: Track) -> Track:
    """The inverter's telemetry with a register of what it would have delivered without a limit, as a magnitude."""
    samples: list[Sample] = []
    energy_kwh = 0.0
    for place, sample in enumerate(track.samples):
        if place:
            energy_kwh += _offered_kwh(track, track.samples[place - 1], sample)
        body = sample.body.model_copy(update={"energy_import_kwh": energy_kwh, "energy_export_kwh": 0.0})
        samples.append(replace(sample, boot="", body=body))
    # Without the nameplate: as an import the magnitude is beyond its bounds. What was read has been checked above.
    return replace(track, nameplate=None, samples=tuple(samples))


def _offered_kwh(track: Track, before: Sample, after: Sample) -> float:
    """Energy that the inverter delivered between two telemetries, or could have delivered [kWh, a magnitude]."""
    (flow,) = replace(track, samples=(before, after)).flows((before.ts, after.ts)) or (None,)
    delivered_kwh = 0.0 if flow is None or flow.net_kwh is None else max(-flow.net_kwh, 0.0)
    a, b = before.body, after.body
    if not isinstance(a, PvTelemetry) or not isinstance(b, PvTelemetry):
        return delivered_kwh
    if not (_is_held_back(a) or _is_held_back(b)) and not (flow is not None and flow.estimated):
        return delivered_kwh
    return max(delivered_kwh, a.available_kw * ((after.ts - before.ts) / _HOUR))


def _is_held_back(body: PvTelemetry) -> bool:
    return -body.power_kw < body.available_kw * (1 - _SAME)


def _instants(course: Course) -> list[datetime]:
    return [course.t0 + index * course.step for index in range(course.steps + 1)]


def _filled(values: Sequence[float | None]) -> tuple[list[float], int]:
    """Where nothing was told the value before holds (at the beginning 0 kW); and how often that was."""
    filled: list[float] = []
    for value in values:
        filled.append(value if value is not None else filled[-1] if filled else 0.0)
    return filled, sum(value is None for value in values)
