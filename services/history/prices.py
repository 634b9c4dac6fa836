"""The prices that held, and the CO2 intensity of imports, from the tariff's series as they were announced."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from schemas.messages import Quantity, ValueSeries
from schemas.plausibility import co2_doubt, price_doubt
from schemas.sums import sum_in_order

_Covering = tuple[datetime, datetime, ValueSeries]


@dataclass(frozen=True, slots=True)
class Prices:
    """Series in the order in which they were announced; of two that cover an instant the later one holds.

    A price that no market has (`schemas.plausibility`) is not known: nothing is settled with it.
    """

    series: tuple[ValueSeries, ...]
    _newest_first: dict[Quantity, tuple[_Covering, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A year of daily announcements is looked through for every quarter of it: bounds are worked out once.
        covering: dict[Quantity, list[_Covering]] = {}
        for series in reversed(self.series):
            covering.setdefault(series.quantity, []).append((series.start, series.end, series))
        object.__setattr__(self, "_newest_first", {quantity: tuple(found) for quantity, found in covering.items()})

    def at(self, quantity: Quantity, time: datetime) -> float | None:
        """[€/kWh]; None where nothing was announced."""
        series = self._covering(quantity, time)
        value = None if series is None else series.at(time)
        return None if value is None or _doubtful(quantity, value) else value

    def mean(self, quantity: Quantity, start: datetime, end: datetime) -> float | None:
        """Mean over [start, end) weighted by time; None unless all of it is covered.

        An announcement that replaces the end of an earlier one begins at a step of it, as the tariff's do.
        """
        pieces: list[tuple[float, timedelta]] = []
        at = start
        for begin, until, value in self.steps(quantity, start, end):
            if _doubtful(quantity, value):
                return None
            pieces.append((value, until - begin))
            at = until
        if at < end:
            return None
        if len({value for value, _ in pieces}) == 1:
            return pieces[0][0]
        return sum_in_order(value * (length / (end - start)) for value, length in pieces)

    def steps(self, quantity: Quantity, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, float]]:
        """What was announced from ``start`` until the first gap before ``end``: steps with their price [€/kWh],
        doubtful ones too."""
        at = start
        while at < end:
            covering = self._covering(quantity, at)
            if covering is None:
                return
            step = timedelta(seconds=covering.step_s)
            index = (at - covering.start) // step
            until = min(end, covering.start + (index + 1) * step)
            yield at, until, covering.values[index]
            at = until

    def _covering(self, quantity: Quantity, time: datetime) -> ValueSeries | None:
        for start, end, series in self._newest_first.get(quantity, ()):
            if start <= time < end:
                return series
        return None


def _doubtful(quantity: Quantity, value: float) -> bool:
    judge = co2_doubt if quantity is Quantity.CO2_INTENSITY else price_doubt
    return judge((value,)) is not None


_OF_TARIFF = (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE, Quantity.CO2_INTENSITY)


def prices_of(series: Sequence[ValueSeries]) -> Prices:
    return Prices(tuple(s for s in series if s.quantity in _OF_TARIFF))
