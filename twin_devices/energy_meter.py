"""Energy registers and segments of constant power of one device."""

from datetime import datetime, timedelta

from schemas.messages import Segment
from schemas.participant import Json

HOUR = timedelta(hours=1)


class EnergyMeter:
    """Integrates a piecewise constant power.

    Registers are evaluated from the last change of power, never from the instants at which they are read: the same
    trajectory gives the same bits however often telemetry is sent.
    """

    def __init__(self, start: datetime) -> None:
        self.power_kw = 0.0
        self._since = start
        self._import_kwh = 0.0
        self._export_kwh = 0.0
        self._segments = [Segment(start, 0.0)]

    def change(self, at: datetime, power_kw: float) -> None:
        """From ``at`` on the power is another one; ``at`` is not before the last change."""
        if power_kw == self.power_kw:
            return
        self._import_kwh, self._export_kwh = self.registers(at)
        self._since = at
        self.power_kw = power_kw
        if self._segments[-1].start == at:
            self._segments.pop()
        if not self._segments or self._segments[-1].power_kw != power_kw:
            self._segments.append(Segment(at, power_kw))

    def registers(self, at: datetime) -> tuple[float, float]:
        """Energy [kWh] drawn from the bus, and delivered to it, until ``at``."""
        energy_kwh = self.power_kw * ((at - self._since) / HOUR)
        return self._import_kwh + max(energy_kwh, 0.0), self._export_kwh + max(-energy_kwh, 0.0)

    def take_segments(self, at: datetime) -> tuple[Segment, ...]:
        """The segments of constant power since they were last taken, until ``at``."""
        taken = tuple(segment for segment in self._segments if segment.start < at)
        self._segments = [Segment(at, self.power_kw)]
        return taken

    def snapshot(self) -> Json:
        return {
            "power_kw": self.power_kw,
            "since": self._since.isoformat(),
            "import_kwh": self._import_kwh,
            "export_kwh": self._export_kwh,
            "segments": [[segment.start.isoformat(), segment.power_kw] for segment in self._segments],
        }

    @classmethod
    def restored(cls, state: Json) -> "EnergyMeter":
        meter = cls(datetime.fromisoformat(state["since"]))
        meter.power_kw = state["power_kw"]
        meter._import_kwh = state["import_kwh"]
        meter._export_kwh = state["export_kwh"]
        meter._segments = [Segment(datetime.fromisoformat(start), power) for start, power in state["segments"]]
        return meter
