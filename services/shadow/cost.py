"""Cost of a store that is not as described, by the energies and prices that were measured."""

import math
from datetime import timedelta

from schemas.participant import Json
from services.shadow.soc_filter import CAPACITY, CHARGE

MONTH = timedelta(days=30)
LEAST = timedelta(days=1)
"""Less than this is no sample of a month."""


class Throughput:
    """Energies of a store valued at the purchase price, with weights that fall to 1/e in a month."""

    def __init__(self) -> None:
        self._span = timedelta()
        self._drawn_eur = self._given_eur = 0.0

    def add(self, length: timedelta, drawn_kwh: float, given_kwh: float, price_eur_per_kwh: float) -> None:
        """An interval in which a price was known."""
        keep = math.exp(-(length / MONTH))
        self._span = self._span * keep + length
        self._drawn_eur = self._drawn_eur * keep + drawn_kwh * price_eur_per_kwh
        self._given_eur = self._given_eur * keep + given_kwh * price_eur_per_kwh

    def cost_eur_per_month(self, parameter: str, ratio: float) -> float | None:
        """Cost in 30 days of a parameter that is ``ratio`` times the described one; None: too little was measured.

        Notes
        -----
        With a worse charge efficiency 1/ratio times the energy is drawn for the same charge; with a worse discharge
        efficiency ``ratio`` times the energy is given for the same. With less capacity the store moves that much less:
        what it earned in that time, given minus drawn, would have been 1/ratio times as much. A parameter that is
        better than described costs nothing.
        """
        if self._span < LEAST:
            return None
        months = self._span / MONTH
        if parameter == CHARGE:
            return max(0.0, self._drawn_eur * (1.0 - ratio)) / months
        earned = self._given_eur - self._drawn_eur if parameter == CAPACITY else self._given_eur
        return max(0.0, earned * (1.0 / ratio - 1.0)) / months

    def snapshot(self) -> Json:
        return [self._span.total_seconds(), self._drawn_eur, self._given_eur]

    def restore(self, state: Json) -> None:
        self._span = timedelta(seconds=state[0])
        self._drawn_eur, self._given_eur = state[1], state[2]
