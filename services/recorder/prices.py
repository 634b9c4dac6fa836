"""The prices that held, from the tariff's series as they were announced."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Quantity, ValueSeries


@dataclass(frozen=True, slots=True)
class Prices:
    """Series in the order in which they were announced; of two that cover an instant the later one holds."""

    series: tuple[ValueSeries, ...]

    def at(self, quantity: Quantity, time: datetime) -> float | None:
        """[€/kWh]; None where nothing was announced."""
        for series in reversed(self.series):
            if series.quantity is quantity and (value := series.at(time)) is not None:
                return value
        return None

    def mean(self, quantity: Quantity, start: datetime, end: datetime) -> float | None:
        """Mean over [start, end) weighted by time; None unless all of it is covered."""
        pieces: list[tuple[float, timedelta]] = []
        at = start
        while at < end:
            covering = next((s for s in reversed(self.series) if s.quantity is quantity and s.at(at) is not None), None)
            if covering is None:
                return None
            step = timedelta(seconds=covering.step_s)
            until = min(end, covering.start + ((at - covering.start) // step + 1) * step)
            pieces.append((covering.values[(at - covering.start) // step], until - at))
            at = until
        if len({value for value, _ in pieces}) == 1:
            return pieces[0][0]
        return sum(value * (length / (end - start)) for value, length in pieces)


def prices_of(series: Sequence[ValueSeries]) -> Prices:
    return Prices(tuple(s for s in series if s.quantity in (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE)))
