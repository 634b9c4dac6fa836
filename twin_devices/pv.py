"""The PV inverter's twin: what the sky offers, what the inverter can, what the EMS allows."""

from datetime import datetime, timedelta

from schemas.messages import Ack, PvTelemetry, Setpoint
from schemas.site import Pv as PvSpec
from schemas.site import Site
from schemas.topics import Kind
from twin_devices.base import Reading, Twin, Wish
from twin_devices.physics.inverter import pv_output_kw
from twin_devices.pv_source import pv_power, quarter_start


class Pv(Twin):
    """Available power is constant within a step of the site (a quarter-hour); it is negative on the bus.

    Fallbacks: ``uncontrolled`` is not curtailed, ``idle`` produces nothing, ``hold`` keeps the last limit (none before
    the first set-point).
    """

    kind = Kind.PV

    def __init__(self, site: Site, device: str, spec: PvSpec) -> None:
        super().__init__(site, device, spec)
        self._pv = spec
        self._step_s = site.time.step_s
        self._available_kw = pv_power(site, spec.source, spec.rated_kw)

    def _power_kw(self, at: datetime, *, away: bool) -> float:
        if away:
            return 0.0
        rated_kw = self._pv.rated_kw
        limit_kw = self._orders.target.value_or(idle_kw=0.0, uncontrolled_kw=rated_kw, unknown_kw=rated_kw)
        return 0.0 - pv_output_kw(self._available_kw(at), rated_kw, limit_kw)

    def _next_change(self, after: datetime) -> datetime:
        return quarter_start(after, self._step_s) + timedelta(seconds=self._step_s)

    def _judge(self, setpoint: Setpoint) -> Wish:
        if setpoint.limit_kw is None:
            return Wish(None, "a PV inverter takes limit_kw, not power_kw")
        if not self._pv.curtailable:
            return Wish(None, "this inverter cannot be curtailed")
        if setpoint.limit_kw > self._pv.rated_kw:
            return Wish(self._pv.rated_kw, f"limit_kw {setpoint.limit_kw} is above the rating {self._pv.rated_kw} kW")
        return Wish(setpoint.limit_kw)

    def _ack(self, setpoint: Setpoint, wish: Wish, at: datetime) -> Ack:
        return Ack(id=setpoint.id, accepted=True, applied_limit_kw=wish.value_kw, reason=wish.reason)

    def _telemetry(self, at: datetime, reading: Reading) -> PvTelemetry:
        return PvTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
            available_kw=self._available_kw(at),
        )
