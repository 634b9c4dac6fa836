"""The building meter's twin: a load that follows its profile. The blueprint for the next kind of device."""

from datetime import datetime

from schemas.errors import Code, InputError
from schemas.messages import MeterTelemetry, Setpoint
from schemas.participant import Json
from schemas.site import Meter as MeterSpec
from schemas.site import Site
from schemas.topics import Kind
from twin_devices.base import Reading, Twin
from twin_devices.physics.load import reactive_kvar
from twin_devices.scenario import LyingMeter
from twin_devices.setpoints import Clipped


class Meter(Twin):
    """A load (or a part of it, behind a submeter): a value of the profile holds until the profile's next change."""

    kind = Kind.METER

    def __init__(self, site: Site, device: str, spec: MeterSpec) -> None:
        """Raises InputError for a meter without a profile: it is a real one and has no twin."""
        super().__init__(site, device, spec)
        if spec.profile is None:
            raise InputError.one(
                f"devices.{device}.profile",
                "a meter without a profile has no twin: it is a real one",
                code=Code.MISSING,
            )
        self._meter = spec
        self._zone = site.zone
        self._profile = site.profiles[spec.profile]
        self._published = LyingMeter(self._script)

    def _power_kw(self, at: datetime, *, away: bool) -> float:
        return 0.0 if away else self._profile.at(at, self._zone)

    def _next_change(self, after: datetime) -> datetime:
        return self._profile.next_change(after, self._zone)

    def _clip(self, setpoint: Setpoint) -> Clipped:
        return Clipped(None, "a meter takes no set-point")

    def _telemetry(self, at: datetime, reading: Reading) -> MeterTelemetry:
        factor = self._meter.power_factor
        telemetry = MeterTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
            reactive_kvar=None if factor == 1 else reactive_kvar(reading.power_kw, factor),
        )
        return self._published.publishes(telemetry, at)

    def _own_state(self) -> Json:
        return self._published.snapshot()

    def _restore_own(self, state: Json) -> None:
        self._published.restore(state)
