"""The PV inverter's twin: what the sky offers, what the inverter can, what the EMS allows."""

from datetime import datetime, timedelta

from schemas.messages import PvTelemetry, Setpoint
from schemas.site import Pv as PvSpec
from schemas.site import Site, step_start
from schemas.topics import Kind
from twin_devices.base import Reading, Twin
from twin_devices.physics.inverter import pv_output_kw
from twin_devices.pv_source import pv_power
from twin_devices.setpoints import Clipped, clip_limit


class Pv(Twin):
    """Available power is constant within a step of the site (a quarter-hour); it is negative on the bus.

    Fallbacks: ``uncontrolled`` is not curtailed, ``idle`` produces nothing, ``hold`` keeps the last limit (none before
    the first set-point). While a limit from outside on export holds, none of them lets it produce.
    """

    kind = Kind.PV

    def __init__(self, site: Site, device: str, spec: PvSpec) -> None:
        super().__init__(site, device, spec)
        self._pv = spec
        self._step, self._zone = timedelta(seconds=site.time.step_s), site.zone
        self._clear_kw = pv_power(site, spec.source, spec.rated_kw)

    def _available_kw(self, at: datetime) -> float:
        frac = self._script.available_frac(at)
        return self._clear_kw(at) if frac == 1.0 else frac * self._clear_kw(at)

    def _power_kw(self, at: datetime, *, away: bool) -> float:
        if away:
            return 0.0
        rated_kw = self._pv.rated_kw
        limit_kw = self._setpoints.target.value_or(idle_kw=0.0, uncontrolled_kw=rated_kw, unknown_kw=rated_kw)
        if self._setpoints.target.fallback is not None and self._outside and self._pv.curtailable:
            limit_kw = limit_kw if self._may_flow(-limit_kw, at) else 0.0
        return 0.0 - pv_output_kw(self._available_kw(at), rated_kw, limit_kw)

    def _next_change(self, after: datetime) -> datetime:
        return step_start(after, self._step, self._zone) + self._step

    def _clip(self, setpoint: Setpoint) -> Clipped:
        if setpoint.limit_kw is not None and not self._pv.curtailable:
            return Clipped(None, "this inverter cannot be curtailed")
        return clip_limit(setpoint, self._pv.rated_kw)

    def _telemetry(self, at: datetime, reading: Reading) -> PvTelemetry:
        return PvTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
            available_kw=self._available_kw(at),
        )
