"""The charging sessions at chargers, as the chargers published them."""

from dataclasses import dataclass
from datetime import datetime

from schemas.capabilities import Capability
from schemas.messages import ChargerNameplate, DepartedVehicle, PluggedVehicle
from schemas.site import ChargingSession
from services.history.tracks import Sample, Track


@dataclass(frozen=True, slots=True)
class RecordedChargingSession:
    """One charging session.

    ``departure`` is the instant of which the charger says that the vehicle was unplugged. Without that it is the
    announced one if the vehicle was gone by the first telemetry after it and there until the last before it; else the
    end of its last power, where the charger published the pieces; else the first telemetry without the vehicle. None
    while it is plugged at the end of what was recorded.
    """

    charger: str
    vehicle: str
    arrival: datetime
    departure: datetime | None
    announced_departure: datetime
    capacity_kwh: float
    arrival_soc_frac: float
    target_soc_frac: float
    soc_min_frac: float
    soc_max_frac: float
    max_charge_kw: float | None
    max_discharge_kw: float | None
    final_soc_frac: float
    """When it left. A charger that does not publish it: the registers say what the vehicle got after its last
    telemetry, with the nameplate's efficiencies."""
    last_seen: datetime

    @property
    def stored_kwh(self) -> float:
        """What its battery holds more than on arrival."""
        return (self.final_soc_frac - self.arrival_soc_frac) * self.capacity_kwh

    def session(self) -> ChargingSession | None:
        """As a site describes it, to live through it again; None for one that ended before it began.

        A vehicle may come with more than its upper bound, or want more, and a charger may say things that contradict
        one another: then the bounds are widened to what happened, and a departure before the arrival was not announced.
        """
        departure = self.departure or max(self.announced_departure, self.last_seen)
        if departure <= self.arrival:
            return None
        highest = max(self.soc_max_frac, self.arrival_soc_frac, self.target_soc_frac)
        names = "vehicle arrival capacity_kwh arrival_soc_frac target_soc_frac max_charge_kw max_discharge_kw"
        return ChargingSession(
            **{name: getattr(self, name) for name in names.split()},
            soc_min_frac=min(self.soc_min_frac, highest),
            soc_max_frac=highest,
            departure=departure,
            announced_departure=self.announced_departure if self.announced_departure > self.arrival else None,
        )


@dataclass(slots=True)
class _Visit:
    """The last telemetry that shows a vehicle, and the first after it."""

    vehicle: PluggedVehicle
    last: Sample
    after: Sample | None = None

    def shows(self, vehicle: PluggedVehicle) -> bool:
        return (self.vehicle.vehicle, self.vehicle.arrival) == (vehicle.vehicle, vehicle.arrival)


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
            if visits and visits[-1].shows(vehicle):
                known = visits[-1]
                # What was said of the departure is not replaced by a vehicle that is shown for longer.
                if not isinstance(known.vehicle, DepartedVehicle):
                    known.vehicle, known.last, known.after = vehicle, sample, None
            else:
                visits.append(_Visit(vehicle, sample))
    return [_session(track, visit) for visit in visits]


def _session(track: Track, visit: _Visit) -> RecordedChargingSession:
    vehicle, last, after = visit.vehicle, visit.last, visit.after
    departure, soc, last_seen = None, vehicle.soc_frac, last.ts
    if isinstance(vehicle, DepartedVehicle):
        departure = last_seen = vehicle.left
    elif after is not None:
        departure = vehicle.departure if last.ts < vehicle.departure <= after.ts else _end_of_power(after)
        soc += _charged_after(track, last, after) / vehicle.capacity_kwh
    return RecordedChargingSession(
        charger=track.device,
        vehicle=vehicle.vehicle,
        arrival=vehicle.arrival,
        departure=departure,
        announced_departure=vehicle.departure,
        capacity_kwh=vehicle.capacity_kwh,
        arrival_soc_frac=vehicle.arrival_soc_frac,
        target_soc_frac=vehicle.target_soc_frac,
        soc_min_frac=vehicle.soc_min_frac,
        soc_max_frac=vehicle.soc_max_frac,
        max_charge_kw=vehicle.max_charge_kw,
        max_discharge_kw=vehicle.max_discharge_kw,
        final_soc_frac=soc,
        last_seen=last_seen,
    )


def _end_of_power(after: Sample) -> datetime:
    """When the power of a vehicle ended that is gone at ``after``: had it stayed on, nothing says that it would have
    been charged further. The telemetry's own instant where no pieces were published, or nothing flowed."""
    segments = after.body.segments or ()
    if after.body.plugged is not None or len(segments) < 2 or segments[-1].power_kw != 0:
        return after.ts
    return segments[-1].start


def _charged_after(track: Track, last: Sample, after: Sample) -> float:
    """What the vehicle's battery got between its last telemetry and the first without it [kWh].

    If another came in the same interval, what that one got (its own counters tell) is not this one's.
    """
    if last.boot != after.boot or not isinstance(track.nameplate, ChargerNameplate):
        return 0.0
    flow = Track(track.device, track.kind, track.nameplate, (last, after), track.lockstep).flows((last.ts, after.ts))[0]
    if flow.import_kwh is None or flow.export_kwh is None:
        return 0.0
    successor = after.body.plugged
    drawn = flow.import_kwh - (successor.charged_kwh if successor else 0.0)
    given = flow.export_kwh - (successor.discharged_kwh if successor else 0.0)
    return drawn * track.nameplate.charge_efficiency - given / track.nameplate.discharge_efficiency
