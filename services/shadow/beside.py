"""The twins of a battery and of a charger beside the real device: the same physics, with what was measured."""

from datetime import datetime, timedelta

from schemas.messages import PluggedVehicle
from schemas.participant import Json
from schemas.site import Bess as BessSpec
from schemas.site import Charger as ChargerSpec
from schemas.site import ChargingSession, Site
from twin_devices.bess import Bess
from twin_devices.charger import Charger, SessionSchedule
from twin_devices.physics.storage import Store

_STAYS = timedelta(days=366)
"""A vehicle leaves when its charger says so."""


def twin_beside(site: Site, device: str) -> "BessBeside | ChargerBeside":
    """The twin of a device in which nothing happens by script."""
    spec, quiet = site.devices[device], site.model_copy(update={"scenario": ()})
    if isinstance(spec, BessSpec):
        return BessBeside(quiet, device, spec)
    assert isinstance(spec, ChargerSpec), "the site's own check allows no other"
    return ChargerBeside(quiet, device, spec)


class BessBeside(Bess):
    """A battery's twin."""

    def store_with(self, vehicle: PluggedVehicle | None) -> Store:
        """The described store."""
        del vehicle
        return self._what_it_can.store


class ChargerBeside(Charger):
    """A charger's twin at which the vehicles of the real one are plugged."""

    def __init__(self, site: Site, device: str, spec: ChargerSpec) -> None:
        super().__init__(site, device, spec)
        self._there: tuple[ChargingSession, ...] = ()
        self._schedule = SessionSchedule(lambda start, end: self._there)

    def store_with(self, vehicle: PluggedVehicle | None) -> Store | None:
        """The vehicle's store by what it says, or the site assumes; None: its capacity is not known."""
        spec = self._charger
        if vehicle is None:
            return None
        assumed_kwh = None if spec.assume is None else spec.assume.capacity_kwh
        capacity_kwh = vehicle.capacity_kwh or assumed_kwh
        if capacity_kwh is None:
            return None
        least, most = vehicle.soc_min_frac or 0.0, 1.0 if vehicle.soc_max_frac is None else vehicle.soc_max_frac
        return Store(capacity_kwh, spec.charge_efficiency, spec.discharge_efficiency, min(least, most), most)

    def plug(self, vehicle: PluggedVehicle, store: Store, soc_frac: float) -> None:
        """From the instant of the last turn on this vehicle is there."""
        at = self._now
        assert at is not None, "a telemetry is compared after the twin's turn"
        most = max(store.soc_max_frac, soc_frac)
        target = most if vehicle.target_soc_frac is None else vehicle.target_soc_frac
        session = ChargingSession(
            vehicle=vehicle.vehicle or "unknown",
            arrival=at,
            departure=at + _STAYS,
            capacity_kwh=store.capacity_kwh,
            arrival_soc_frac=soc_frac,
            target_soc_frac=min(target, most),
            soc_min_frac=store.soc_min_frac,
            soc_max_frac=most,
            max_charge_kw=vehicle.max_charge_kw,
            max_discharge_kw=vehicle.max_discharge_kw,
            max_discharge_session_kwh=vehicle.max_discharge_session_kwh,
            max_discharge_day_kwh=vehicle.max_discharge_day_kwh,
            phases=vehicle.phases,
        )
        self._leave(at)
        self._there = (session,)
        self._schedule.drop()
        self._settle(at, expire=False)

    def unplug(self) -> None:
        """From the instant of the last turn on no vehicle is there."""
        at = self._now
        assert at is not None, "a telemetry is compared after the twin's turn"
        self._leave(at)
        self._settle(at, expire=False)

    def _leave(self, at: datetime) -> None:
        if self._session is not None:
            self._plug(self._session.model_copy(update={"departure": at}))
        self._there = ()
        self._schedule.drop()

    def _restore_own(self, state: Json) -> None:
        super()._restore_own(state)
        self._there = () if self._session is None else (self._session,)
        self._schedule.drop()
