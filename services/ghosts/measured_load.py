"""The real site as a load among its ghosts."""

from collections.abc import Sequence
from datetime import datetime

from schemas.messages import MeterRole, MeterTelemetry, Setpoint
from schemas.participant import Json
from schemas.site import REAL_SITE, Meter, Site
from schemas.topics import Kind
from services.ghosts.real_meter import Piece
from twin_devices.base import Reading, Twin
from twin_devices.setpoints import Clipped


class MeasuredLoad(Twin):
    """A meter whose power is what the real PCC meter measured: negative while the real site exports."""

    kind = Kind.METER

    def __init__(self, site: Site) -> None:
        super().__init__(site, REAL_SITE, Meter(role=MeterRole.LOAD))
        self._pieces: tuple[Piece, ...] = ()
        self._now_kw = 0.0

    def follow(self, pieces: Sequence[Piece], now_kw: float) -> None:
        """Measured powers until now, and what is expected from now on."""
        self._pieces, self._now_kw = tuple(pieces), now_kw

    def _power_kw(self, at: datetime, *, away: bool) -> float:
        del away
        return next((piece.power_kw for piece in self._pieces if piece.start <= at < piece.end), self._now_kw)

    def _next_change(self, after: datetime) -> datetime | None:
        return next((piece.end for piece in self._pieces if piece.end > after), None)

    def _clip(self, setpoint: Setpoint) -> Clipped:
        del setpoint
        return Clipped(None, "a meter takes no set-point")

    def _telemetry(self, at: datetime, reading: Reading) -> MeterTelemetry:
        del at
        return MeterTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
        )

    def _own_state(self) -> Json:
        return self._now_kw

    def _restore_own(self, state: Json) -> None:
        self._now_kw = state
