"""What the ghosts did since the beginning, by their registers."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.messages import BessTelemetry, ChargerTelemetry, GhostDevice, Telemetry
from schemas.participant import Json
from schemas.site import Bess, Site


@dataclass
class _Ghost:
    import_kwh: float = 0.0
    export_kwh: float = 0.0
    soc_frac: float | None = None
    first_soc_frac: float | None = None
    power_kw: float = 0.0
    missing_kwh: float = 0.0


class GhostStates:
    """Fed with the telemetry of every step."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ghosts = {name: _Ghost() for name in site.ghosts}

    def add(self, devices: Mapping[str, Telemetry], hours: float) -> float | None:
        """A step of ``hours``. Returns the price of its wear [€]; None: wear has none."""
        options, worn, priced = self._site.ems, 0.0, False
        for name, body in devices.items():
            ghost = self._ghosts[name]
            drawn = (body.energy_import_kwh or 0.0) - ghost.import_kwh
            given = (body.energy_export_kwh or 0.0) - ghost.export_kwh
            ghost.import_kwh, ghost.export_kwh = ghost.import_kwh + drawn, ghost.export_kwh + given
            ghost.soc_frac = body.stored_frac
            ghost.power_kw = (drawn - given) / hours if hours else body.power_kw
            if isinstance(body, BessTelemetry):
                if ghost.first_soc_frac is None:
                    ghost.first_soc_frac = body.soc_frac
                worn += options.bess_wear_eur_per_kwh * (drawn + given)
                priced = priced or bool(options.bess_wear_eur_per_kwh)
            if isinstance(body, ChargerTelemetry):
                ghost.missing_kwh += _missing_kwh(body)
                worn += options.vehicle_wear_eur_per_kwh * given
                priced = priced or bool(options.vehicle_wear_eur_per_kwh)
        return worn if priced else None

    @property
    def stored_kwh(self) -> float:
        """What the BESSs hold more than in the beginning."""
        return sum(
            (ghost.soc_frac - ghost.first_soc_frac) * spec.capacity_kwh
            for name, ghost in self._ghosts.items()
            if isinstance(spec := self._site.ghosts[name], Bess)
            and ghost.soc_frac is not None
            and ghost.first_soc_frac is not None
        )

    def published(self) -> dict[str, GhostDevice]:
        """By name, for the message."""
        found = {}
        for name, ghost in self._ghosts.items():
            spec = self._site.ghosts[name]
            is_bess = isinstance(spec, Bess)
            cells_kwh = ghost.import_kwh * spec.charge_efficiency + ghost.export_kwh / spec.discharge_efficiency
            found[name] = GhostDevice(
                power_kw=ghost.power_kw,
                energy_import_kwh=ghost.import_kwh,
                energy_export_kwh=ghost.export_kwh,
                soc_frac=ghost.soc_frac,
                cycles=cells_kwh / 2 / spec.capacity_kwh if isinstance(spec, Bess) else None,
                missing_kwh=None if is_bess else ghost.missing_kwh,
            )
        return found

    def snapshot(self) -> Json:
        return {name: vars(ghost).copy() for name, ghost in self._ghosts.items()}

    def restore(self, state: Json) -> None:
        self._ghosts = {name: _Ghost(**values) for name, values in state.items()}


def _missing_kwh(body: ChargerTelemetry) -> float:
    """What the vehicles that left wanted and did not have [kWh], as far as they say."""
    return sum(
        max(left.target_soc_frac - left.soc_frac, 0.0) * left.capacity_kwh
        for left in body.unplugged
        if left.target_soc_frac is not None and left.soc_frac is not None and left.capacity_kwh is not None
    )
