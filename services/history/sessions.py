"""The stays of vehicles at chargers, as the chargers told of them."""

from dataclasses import dataclass
from datetime import datetime

from schemas.capabilities import Capability
from schemas.messages import ChargerNameplate, PluggedVehicle
from schemas.site import ChargingSession
from services.history.tracks import Sample, Track


@dataclass(frozen=True, slots=True)
class RecordedChargingSession:
    """One stay. A stay that begins and ends between two telemetries was not seen.

    ``departure`` is the announced one if the vehicle was gone by the first telemetry after it and there until the
    last before it; else the first telemetry without it; None while it is plugged at the end of what was recorded.
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
    """When it left. After its last telemetry the registers tell what it got, with the nameplate's efficiencies."""
    last_seen: datetime

    @property
    def stored_kwh(self) -> float:
        """What its battery holds more than on arrival."""
        return (self.final_soc_frac - self.arrival_soc_frac) * self.capacity_kwh

    def session(self) -> ChargingSession:
        """As a site describes it, to live through it again."""
        names = (
            "vehicle arrival capacity_kwh arrival_soc_frac target_soc_frac soc_min_frac soc_max_frac "
            "max_charge_kw max_discharge_kw announced_departure"
        )
        fields = {name: getattr(self, name) for name in names.split()}
        return ChargingSession(**fields, departure=self.departure or max(self.announced_departure, self.last_seen))


def sessions_of(track: Track) -> list[RecordedChargingSession]:
    """The stays at one charger, by arrival; none at another device."""
    if Capability.VEHICLES not in track.capabilities:
        return []
    stays: list[list[int]] = []
    for place, sample in enumerate(track.samples):
        vehicle = _vehicle(sample)
        if vehicle is None:
            continue
        before = _vehicle(track.samples[stays[-1][-1]]) if stays else None
        if before is not None and (before.vehicle, before.arrival) == (vehicle.vehicle, vehicle.arrival):
            stays[-1].append(place)
        else:
            stays.append([place])
    return [_session(track, stay) for stay in stays]


def _vehicle(sample: Sample) -> PluggedVehicle | None:
    return sample.body.plugged


def _session(track: Track, stay: list[int]) -> RecordedChargingSession:
    last = track.samples[stay[-1]]
    vehicle = _vehicle(last)
    assert vehicle is not None
    after = track.samples[stay[-1] + 1] if stay[-1] + 1 < len(track.samples) else None
    departure, soc = None, vehicle.soc_frac
    if after is not None:
        departure = vehicle.departure if last.ts < vehicle.departure <= after.ts else after.ts
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
        last_seen=last.ts,
    )


def _charged_after(track: Track, last: Sample, after: Sample) -> float:
    """What the vehicle's battery got between its last telemetry and the first without it [kWh].

    If another came in the same interval, what that one got (its own counters tell) is not this one's.
    """
    if last.boot != after.boot or not isinstance(track.nameplate, ChargerNameplate):
        return 0.0
    flow = Track(track.device, track.kind, track.nameplate, (last, after), track.lockstep).flows((last.ts, after.ts))[0]
    if flow.import_kwh is None or flow.export_kwh is None:
        return 0.0
    successor = _vehicle(after)
    drawn = flow.import_kwh - (successor.charged_kwh if successor else 0.0)
    given = flow.export_kwh - (successor.discharged_kwh if successor else 0.0)
    return drawn * track.nameplate.charge_efficiency - given / track.nameplate.discharge_efficiency
