"""The stationary battery's twin."""

from datetime import datetime

from schemas.messages import BessTelemetry
from schemas.site import Bess as BessSpec
from schemas.site import Site
from schemas.topics import Kind
from twin_devices.base import Reading
from twin_devices.physics.storage import Store
from twin_devices.storage import Limits, StorageTwin


class Bess(StorageTwin):
    """A battery with its inverter. Without an EMS (fallback ``uncontrolled``) it rests, as with ``idle``."""

    kind = Kind.BESS

    def __init__(self, site: Site, device: str, spec: BessSpec) -> None:
        super().__init__(site, device, spec)
        self._bess = spec
        self._what_it_can = Limits(
            store=Store(
                spec.capacity_kwh,
                spec.charge_efficiency,
                spec.discharge_efficiency,
                spec.soc_min_frac,
                spec.soc_max_frac,
            ),
            max_charge_kw=spec.max_charge_kw,
            max_discharge_kw=spec.max_discharge_kw,
        )

    def _connect_or_disconnect(self, at: datetime) -> None:
        if self._piece is None:
            self._connect(at, self._bess.initial_soc_frac)

    def _limits(self, *, uncontrolled: bool) -> Limits:
        return self._what_it_can

    def _uncontrolled_kw(self) -> float:
        return 0.0

    def _telemetry(self, at: datetime, reading: Reading) -> BessTelemetry:
        assert self._piece is not None
        return BessTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
            soc_frac=self._piece.soc_at(at),
        )
