"""The registers of the PCC meter."""

from schemas.participant import Json


class Registers:
    """Energies [kWh] that only grow, as those of a meter do.

    Energy that turns out to be too much in one direction is a *carried correction*: what flows in that direction next
    makes up for it before the register moves on. What nothing makes up for until the end is paid by the register of the
    other direction (`pay`): then the two together are right, though each has too much.
    """

    def __init__(self) -> None:
        self.import_kwh = 0.0
        self.export_kwh = 0.0
        self.losses_kwh = 0.0
        self.estimated_losses_kwh = 0.0
        self.unsolved_s = 0.0
        self._carried_import_kwh = 0.0
        self._carried_export_kwh = 0.0

    @property
    def corrected(self) -> tuple[float, float]:
        """Import and export [kWh], the carried corrections taken off."""
        return self.import_kwh - self._carried_import_kwh, self.export_kwh - self._carried_export_kwh

    def integrate(self, energy_kwh: float) -> None:
        """Adds the energy [kWh] of one interval in which the power has one sign, positive on import."""
        imported, exported = max(energy_kwh, 0.0), max(-energy_kwh, 0.0)
        made_up_import, made_up_export = (
            min(imported, self._carried_import_kwh),
            min(exported, self._carried_export_kwh),
        )
        self._carried_import_kwh -= made_up_import
        self._carried_export_kwh -= made_up_export
        self.import_kwh += imported - made_up_import
        self.export_kwh += exported - made_up_export

    def correct(self, energy_kwh: float, since: tuple[float, float]) -> None:
        """Net energy [kWh] of devices that is not in the registers yet; ``since``: `corrected` when that began.

        It lessens what was metered in the other direction meanwhile, and only what is left of it counts in its own:
        a PV inverter without telemetry makes less import, and no export.
        """
        imported, exported = self.corrected
        if energy_kwh > 0:
            less = min(energy_kwh, max(exported - since[1], 0.0))
            self._carried_export_kwh += less
            self.integrate(energy_kwh - less)
        elif energy_kwh < 0:
            less = min(-energy_kwh, max(imported - since[0], 0.0))
            self._carried_import_kwh += less
            self.integrate(energy_kwh + less)

    @property
    def carried(self) -> tuple[float, float]:
        """Carried corrections of import and export [kWh]."""
        return self._carried_import_kwh, self._carried_export_kwh

    @property
    def paid(self) -> tuple[float, float]:
        """Import and export [kWh] as they would be after `pay`."""
        return self.import_kwh + self._carried_export_kwh, self.export_kwh + self._carried_import_kwh

    def pay(self) -> None:
        """Pays the carried corrections."""
        self.import_kwh, self.export_kwh = self.paid
        self._carried_import_kwh = self._carried_export_kwh = 0.0

    def add_losses(self, energy_kwh: float) -> None:
        self.losses_kwh = max(0.0, self.losses_kwh + energy_kwh)

    def add_estimated_losses(self, energy_kwh: float, lasted_s: float) -> None:
        """Losses of a time in which the network had no solution."""
        self.add_losses(energy_kwh)
        self.estimated_losses_kwh += energy_kwh
        self.unsolved_s += lasted_s

    def snapshot(self) -> Json:
        return {
            "import_kwh": self.import_kwh,
            "export_kwh": self.export_kwh,
            "losses_kwh": self.losses_kwh,
            "estimated_losses_kwh": self.estimated_losses_kwh,
            "unsolved_s": self.unsolved_s,
            "carried_import_kwh": self._carried_import_kwh,
            "carried_export_kwh": self._carried_export_kwh,
        }

    def restore(self, state: Json) -> None:
        self.import_kwh, self.export_kwh = state["import_kwh"], state["export_kwh"]
        self.losses_kwh = state["losses_kwh"]
        self.estimated_losses_kwh, self.unsolved_s = state["estimated_losses_kwh"], state["unsolved_s"]
        self._carried_import_kwh, self._carried_export_kwh = state["carried_import_kwh"], state["carried_export_kwh"]


class LateTelemetry:
    """Energy by telemetry that came after the PCC had been metered without it, until the registers have it."""

    def __init__(self, energy_kwh: float = 0.0, since: tuple[float, float] | None = None) -> None:
        self._energy_kwh = energy_kwh
        self._since = since

    def add(self, energy_kwh: float, since: tuple[float, float]) -> None:
        """``since``: the corrected registers when the metering went on. The sum counts from the earliest of these."""
        if energy_kwh:
            self._energy_kwh += energy_kwh
            earlier = since if self._since is None else self._since
            self._since = (min(since[0], earlier[0]), min(since[1], earlier[1]))

    @property
    def waits(self) -> bool:
        """Whether there is any."""
        return self._since is not None

    def correct(self, registers: Registers) -> float:
        """Corrects the registers by the sum and returns it [kWh]."""
        energy_kwh, since = self._energy_kwh, self._since
        self._energy_kwh, self._since = 0.0, None
        if since is not None:
            registers.correct(energy_kwh, since)
        return energy_kwh

    def snapshot(self) -> Json:
        return [self._energy_kwh, None if self._since is None else list(self._since)]

    @classmethod
    def restored(cls, state: Json) -> "LateTelemetry":
        energy_kwh, since = state
        return cls(energy_kwh, None if since is None else (since[0], since[1]))
