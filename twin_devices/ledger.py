"""Registers and pieces of constant power of one device."""

from datetime import datetime, timedelta

from schemas.messages import Segment
from schemas.participant import Json

HOUR = timedelta(hours=1)


class Ledger:
    """Books a piecewise constant power.

    Registers are evaluated from the last change of power, never from the instants at which somebody asked: the same
    trajectory gives the same bits however often telemetry is wanted.
    """

    def __init__(self, start: datetime) -> None:
        self.power_kw = 0.0
        self._since = start
        self._import_kwh = 0.0
        self._export_kwh = 0.0
        self._pieces = [Segment(start, 0.0)]

    def change(self, at: datetime, power_kw: float) -> None:
        """From ``at`` on the power is another one; ``at`` is not before the last change."""
        if power_kw == self.power_kw:
            return
        self._import_kwh, self._export_kwh = self.registers(at)
        self._since = at
        self.power_kw = power_kw
        if self._pieces[-1].start == at:
            self._pieces.pop()
        if not self._pieces or self._pieces[-1].power_kw != power_kw:
            self._pieces.append(Segment(at, power_kw))

    def registers(self, at: datetime) -> tuple[float, float]:
        """Energy [kWh] drawn from the bus, and delivered to it, until ``at``."""
        energy_kwh = self.power_kw * ((at - self._since) / HOUR)
        return self._import_kwh + max(energy_kwh, 0.0), self._export_kwh + max(-energy_kwh, 0.0)

    def tell(self, at: datetime) -> tuple[Segment, ...]:
        """The pieces since it was last asked, until ``at``."""
        told = tuple(piece for piece in self._pieces if piece.start < at)
        self._pieces = [Segment(at, self.power_kw)]
        return told

    def snapshot(self) -> Json:
        return {
            "power_kw": self.power_kw,
            "since": self._since.isoformat(),
            "import_kwh": self._import_kwh,
            "export_kwh": self._export_kwh,
            "pieces": [[piece.start.isoformat(), piece.power_kw] for piece in self._pieces],
        }

    @classmethod
    def restored(cls, state: Json) -> "Ledger":
        ledger = cls(datetime.fromisoformat(state["since"]))
        ledger.power_kw = state["power_kw"]
        ledger._import_kwh = state["import_kwh"]
        ledger._export_kwh = state["export_kwh"]
        ledger._pieces = [Segment(datetime.fromisoformat(start), power) for start, power in state["pieces"]]
        return ledger
