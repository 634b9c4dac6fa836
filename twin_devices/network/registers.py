"""The registers of the PCC meter."""

from schemas.participant import Json


class Registers:
    """Energies [kWh] that only grow, as those of a meter do.

    Energy that turns out to be too much in one direction is *owed*: what flows in that direction next pays it off
    before the register moves on.
    """

    def __init__(self) -> None:
        self.import_kwh = 0.0
        self.export_kwh = 0.0
        self.losses_kwh = 0.0
        self._owed_import_kwh = 0.0
        self._owed_export_kwh = 0.0

    @property
    def booked(self) -> tuple[float, float]:
        """Import and export, without what is owed."""
        return self.import_kwh - self._owed_import_kwh, self.export_kwh - self._owed_export_kwh

    def book(self, energy_kwh: float) -> None:
        """Energy of one interval in which the power has one sign, positive on import."""
        drawn, given = max(energy_kwh, 0.0), max(-energy_kwh, 0.0)
        paid_import, paid_export = min(drawn, self._owed_import_kwh), min(given, self._owed_export_kwh)
        self._owed_import_kwh -= paid_import
        self._owed_export_kwh -= paid_export
        self.import_kwh += drawn - paid_import
        self.export_kwh += given - paid_export

    def correct(self, energy_kwh: float, since: tuple[float, float]) -> None:
        """Net energy of devices that was not in what has been booked; ``since``: `booked` when that began.

        It lessens what was booked in the other direction meanwhile, and only what is left of it is booked in its own:
        a PV inverter that was not heard makes less import, and no export.
        """
        imported, exported = self.booked
        if energy_kwh > 0:
            less = min(energy_kwh, max(exported - since[1], 0.0))
            self._owed_export_kwh += less
            self.book(energy_kwh - less)
        elif energy_kwh < 0:
            less = min(-energy_kwh, max(imported - since[0], 0.0))
            self._owed_import_kwh += less
            self.book(energy_kwh + less)

    def lose(self, energy_kwh: float) -> None:
        self.losses_kwh = max(0.0, self.losses_kwh + energy_kwh)

    def snapshot(self) -> Json:
        return {
            "import_kwh": self.import_kwh,
            "export_kwh": self.export_kwh,
            "losses_kwh": self.losses_kwh,
            "owed_import_kwh": self._owed_import_kwh,
            "owed_export_kwh": self._owed_export_kwh,
        }

    def restore(self, state: Json) -> None:
        self.import_kwh, self.export_kwh = state["import_kwh"], state["export_kwh"]
        self.losses_kwh = state["losses_kwh"]
        self._owed_import_kwh, self._owed_export_kwh = state["owed_import_kwh"], state["owed_export_kwh"]


class Late:
    """Energy of devices that was told after the settlement had gone on without them, until it is booked."""

    def __init__(self, energy_kwh: float = 0.0, since: tuple[float, float] | None = None) -> None:
        self._energy_kwh = energy_kwh
        self._since = since

    def add(self, energy_kwh: float, since: tuple[float, float]) -> None:
        """``since``: what was booked when the settlement went on. The sum counts from the earliest of these."""
        if energy_kwh:
            self._energy_kwh += energy_kwh
            earlier = since if self._since is None else self._since
            self._since = (min(since[0], earlier[0]), min(since[1], earlier[1]))

    def book(self, registers: Registers) -> float:
        """Books the sum and returns it [kWh]."""
        energy_kwh, since = self._energy_kwh, self._since
        self._energy_kwh, self._since = 0.0, None
        if since is not None:
            registers.correct(energy_kwh, since)
        return energy_kwh

    def snapshot(self) -> Json:
        return [self._energy_kwh, None if self._since is None else list(self._since)]

    @classmethod
    def restored(cls, state: Json) -> "Late":
        energy_kwh, since = state
        return cls(energy_kwh, None if since is None else (since[0], since[1]))
