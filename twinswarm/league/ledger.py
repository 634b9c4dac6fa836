"""A league's score, step by step while the days pass: an agent is rewarded by it.

A step costs the energy through the registers of the PCC meter at its prices, and the energy that the vehicles which
left in it lack at the price of a shortfall. What only the end knows is in the last step: the demand charge, the value
of what is left in store, and vehicles that nobody saw leave. The steps add up to the score, see `score`.
"""

import math
from datetime import datetime

from schemas.cycle import Course
from schemas.messages import ChargerTelemetry, NetworkTelemetry
from schemas.participant import Received
from schemas.site import Site
from twinswarm.league.plant import Visit, visits
from twinswarm.league.score import SHORTFALL_EUR_PER_KWH, Score, energy_kwh


class Ledger:
    """Takes every message of a run; `close` ends a step."""

    def __init__(self, site: Site, course: Course) -> None:
        self._there: dict[tuple[str, datetime | None], Visit] = {
            (visit.charger, visit.session.arrival): visit for visit in visits(site, course)
        }
        """Vehicles that have not left yet, by charger and arrival."""
        self._registers = self._closed = (0.0, 0.0)
        """Import and export at the PCC [kWh]: now, and when the last step ended."""
        self._short_kwh = 0.0
        """Of the step that passes."""
        self._paid_short_kwh = 0.0

    def receive(self, received: Received) -> None:
        """A message of the run."""
        body = received.body
        if isinstance(body, NetworkTelemetry):
            self._registers = (body.energy_import_kwh or 0.0, body.energy_export_kwh or 0.0)
        elif isinstance(body, ChargerTelemetry):
            for vehicle in body.departed or ():
                visit = self._there.pop((received.topic.device, vehicle.arrival), None)
                if visit is not None:
                    self._short_kwh += max(0.0, visit.target_kwh - energy_kwh(visit, vehicle))

    def close(self, purchase_eur_per_kwh: float, sale_eur_per_kwh: float) -> tuple[float, float]:
        """Cost of energy and of shortfalls [€] since the step before, at this step's prices."""
        bought, sold = (now - before for now, before in zip(self._registers, self._closed, strict=True))
        energy_eur = bought * purchase_eur_per_kwh - sold * sale_eur_per_kwh
        short_kwh, self._short_kwh, self._closed = self._short_kwh, 0.0, self._registers
        self._paid_short_kwh += short_kwh
        return energy_eur, short_kwh * SHORTFALL_EUR_PER_KWH

    def rest_eur(self, score: Score) -> float:
        """Cost [€] of what only the end knows. Negative: it is worth something."""
        unseen_kwh = score.short_kwh - self._paid_short_kwh
        return math.fsum((score.demand_eur or 0.0, unseen_kwh * SHORTFALL_EUR_PER_KWH, -score.left_eur))
