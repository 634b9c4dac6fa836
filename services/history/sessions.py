"""Charging sessions at chargers, as the chargers published them. What a vehicle did not say stays unknown."""

from dataclasses import dataclass, fields
from datetime import datetime

from schemas.capabilities import Capability
from schemas.messages import ChargerNameplate, DepartedVehicle, Phases, PluggedVehicle
from schemas.site import ChargingSession
from services.history.tracks import Sample, Track


@dataclass(frozen=True, slots=True)
class RecordedChargingSession:
    """One charging session. None elsewhere than in ``departure``: not known.

    ``arrival`` is that of the first telemetry with the vehicle, where none was given. ``departure`` is the instant of
    which the charger says that the vehicle was unplugged. Without that it is the announced one if the vehicle was gone
    by the first telemetry after it and there until the last before it; else the end of its last power, where the
    charger published the pieces; else the first telemetry without the vehicle. None while it is plugged at the end of
    what was recorded.
    """

    charger: str
    vehicle: str | None
    arrival: datetime
    departure: datetime | None
    announced_departure: datetime | None
    capacity_kwh: float | None
    arrival_soc_frac: float | None
    target_soc_frac: float | None
    soc_min_frac: float | None
    soc_max_frac: float | None
    max_charge_kw: float | None
    max_discharge_kw: float | None
    final_soc_frac: float | None
    """When it left. A charger that does not publish it: the registers say what the vehicle got after its last
    telemetry, with the nameplate's efficiencies."""
    last_seen: datetime
    energy_wanted_kwh: float | None = None
    counted_kwh: float | None = None
    """What its battery got since it arrived by what the charger counted, with the nameplate's efficiencies."""
    counted_before_kwh: float | None = None
    """Of that, what it had got by the first telemetry with it."""
    wanted_kwh: float | None = None
    """What its battery was to get, by the energy wanted."""
    max_discharge_session_kwh: float | None = None
    max_discharge_day_kwh: float | None = None
    priority: bool | None = None
    phases: Phases | None = None

    @property
    def stored_kwh(self) -> float | None:
        """What its battery holds more than on arrival: by its SOC, else as counted."""
        if self.final_soc_frac is None or self.arrival_soc_frac is None or self.capacity_kwh is None:
            return self.counted_kwh
        return (self.final_soc_frac - self.arrival_soc_frac) * self.capacity_kwh

    @property
    def shortfall_kwh(self) -> float | None:
        """What its battery lacked of its target in the end: by its SOC, else of the energy wanted."""
        if self.final_soc_frac is not None and self.target_soc_frac is not None and self.capacity_kwh is not None:
            return max(0.0, self.target_soc_frac - self.final_soc_frac) * self.capacity_kwh
        if self.wanted_kwh is None or self.counted_kwh is None:
            return None
        return max(0.0, self.wanted_kwh - self.counted_kwh)

    def stored_since_kwh(self, soc_frac: float | None) -> float | None:
        """What its battery holds more than at the first telemetry with it, when its SOC was ``soc_frac``."""
        if soc_frac is not None and self.final_soc_frac is not None and self.capacity_kwh is not None:
            return (self.final_soc_frac - soc_frac) * self.capacity_kwh
        if self.counted_kwh is None:
            return None
        return self.counted_kwh - (self.counted_before_kwh or 0.0)

    def session(self) -> ChargingSession | None:
        """As a site describes it, to live through it again; None if it lasted no time.

        Of a vehicle whose capacity, SOC or target is not known, what it really got is what it wants: so both days
        charge the same energy.
        """
        announced = self.announced_departure
        departure = self.departure or max(announced or self.last_seen, self.last_seen)
        if departure <= self.arrival:
            return None
        capacity, arrival_soc, target_soc = self.capacity_kwh, self.arrival_soc_frac, self.target_soc_frac
        if capacity is None or arrival_soc is None or target_soc is None:
            got_kwh = max(self.counted_kwh or 0.0, 0.0)
            if capacity is None or arrival_soc is None or arrival_soc * capacity + got_kwh > capacity:
                capacity, arrival_soc = max(got_kwh, 1.0), 0.0
            target_soc = min(arrival_soc + got_kwh / capacity, 1.0)
        highest = max(1.0 if self.soc_max_frac is None else self.soc_max_frac, arrival_soc, target_soc)
        return ChargingSession(
            vehicle=self.vehicle or "unknown",
            arrival=self.arrival,
            departure=departure,
            announced_departure=announced if announced is not None and announced > self.arrival else None,
            capacity_kwh=capacity,
            arrival_soc_frac=arrival_soc,
            target_soc_frac=target_soc,
            soc_min_frac=min(self.soc_min_frac or 0.0, highest),
            soc_max_frac=highest,
            max_charge_kw=self.max_charge_kw,
            max_discharge_kw=self.max_discharge_kw,
            max_discharge_session_kwh=self.max_discharge_session_kwh,
            max_discharge_day_kwh=self.max_discharge_day_kwh,
            priority=bool(self.priority),
            phases=self.phases,
        )


_SAID = {field.name for field in fields(RecordedChargingSession)} & (
    PluggedVehicle.model_fields.keys() - {"arrival", "departure"}
)


@dataclass(slots=True)
class _Visit:
    """The first and the last telemetry that show a vehicle, and the first after these."""

    vehicle: PluggedVehicle
    first: Sample
    last: Sample
    after: Sample | None = None

    def goes_on(self, vehicle: PluggedVehicle, sample: Sample) -> bool:
        """Whether a later telemetry shows it still. Once it was gone, only its arrival can say so."""
        before = self.vehicle
        gone = isinstance(before, DepartedVehicle) or self.after not in (None, sample)
        return vehicle.continues(before) and (not gone or None not in (vehicle.arrival, before.arrival))


def sessions_of(track: Track) -> list[RecordedChargingSession]:
    """The charging sessions at one charger, by arrival; none at another device."""
    if Capability.VEHICLES not in track.capabilities:
        return []
    visits: list[_Visit] = []
    for sample in track.samples:
        if visits and visits[-1].after is None and visits[-1].last is not sample:
            visits[-1].after = sample
        plugged = sample.body.plugged
        for vehicle in (*sample.body.unplugged, *(() if plugged is None else (plugged,))):
            if visits and visits[-1].goes_on(vehicle, sample):
                known = visits[-1]
                # What was said of the departure is not replaced by a vehicle that is shown for longer.
                if not isinstance(known.vehicle, DepartedVehicle):
                    known.vehicle, known.last, known.after = vehicle, sample, None
            else:
                visits.append(_Visit(vehicle, sample, sample))
    return [_session(track, visit) for visit in visits]


def _session(track: Track, visit: _Visit) -> RecordedChargingSession:
    vehicle, first, last, after = visit.vehicle, visit.first, visit.last, visit.after
    departure, soc, last_seen = None, vehicle.soc_frac, last.ts
    counted = _counted_kwh(track, vehicle, first, last)
    if isinstance(vehicle, DepartedVehicle):
        departure = last_seen = vehicle.left
    elif after is not None:
        announced = vehicle.departure
        on_time = announced is not None and last.ts < announced <= after.ts
        departure = announced if on_time else _end_of_power(after)
        since_kwh = _charged_after(track, last, after)
        if soc is not None and vehicle.capacity_kwh is not None:
            soc += since_kwh / vehicle.capacity_kwh
        counted = None if counted is None else counted + since_kwh
    plate, wanted, shown = track.nameplate, vehicle.energy_wanted_kwh, first.body.plugged
    efficiency = plate.charge_efficiency if isinstance(plate, ChargerNameplate) else None
    return RecordedChargingSession(
        **{name: getattr(vehicle, name) for name in _SAID},
        charger=track.device,
        arrival=vehicle.arrival or first.ts,
        departure=departure,
        announced_departure=vehicle.departure,
        final_soc_frac=soc,
        last_seen=last_seen,
        counted_kwh=counted,
        counted_before_kwh=None if shown is None else _counted_kwh(track, shown, first, first),
        wanted_kwh=None if wanted is None or efficiency is None else wanted * efficiency,
    )


def _end_of_power(after: Sample) -> datetime:
    """When the power of a vehicle ended that is gone at ``after``: had it stayed on, nothing says that it would have
    been charged further. The telemetry's own instant where no pieces were published, or nothing flowed."""
    segments = after.body.segments or ()
    if after.body.plugged is not None or len(segments) < 2 or segments[-1].power_kw != 0:
        return after.ts
    return segments[-1].start


def _counted_kwh(track: Track, vehicle: PluggedVehicle, first: Sample, last: Sample) -> float | None:
    """What the vehicle's battery got until ``last``: by the session's counters, else by registers since ``first``."""
    plate = track.nameplate
    if not isinstance(plate, ChargerNameplate):
        return None
    if vehicle.charged_kwh is not None:
        return _in_cells(plate, vehicle.charged_kwh, vehicle.discharged_kwh or 0.0)
    if last is first:
        return 0.0
    flow = track.within(first.ts, last.ts).flows((first.ts, last.ts))[0]
    if flow.import_kwh is None or flow.export_kwh is None:
        return None
    return _in_cells(plate, flow.import_kwh, flow.export_kwh)


def _in_cells(plate: ChargerNameplate, drawn_kwh: float, given_kwh: float) -> float:
    return drawn_kwh * plate.charge_efficiency - given_kwh / plate.discharge_efficiency


def _charged_after(track: Track, last: Sample, after: Sample) -> float:
    """Energy into the vehicle's battery between its last telemetry and the first without it [kWh].

    If another came in the same interval, what that one got (its own counters tell) is not this one's.
    """
    if last.boot != after.boot or not isinstance(track.nameplate, ChargerNameplate):
        return 0.0
    flow = Track(track.device, track.kind, track.nameplate, (last, after), track.lockstep).flows((last.ts, after.ts))[0]
    if flow.import_kwh is None or flow.export_kwh is None:
        return 0.0
    successor = after.body.plugged
    drawn = flow.import_kwh - ((successor.charged_kwh or 0.0) if successor else 0.0)
    given = flow.export_kwh - ((successor.discharged_kwh or 0.0) if successor else 0.0)
    return _in_cells(track.nameplate, drawn, given)
