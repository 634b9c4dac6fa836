"""The tariff: purchase and sale price at the PCC."""

from schemas.messages import Quantity, Series, ValueSeries
from schemas.site import Site
from schemas.topics import Kind
from services.forecast.daily import DailySeries
from services.forecast.prices import co2_of, prices_of
from services.forecast.window import Window


class Tariff(DailySeries):
    """Publishes ``sale_price_eur_per_kwh`` and ``purchase_price_eur_per_kwh`` on ``tariff/tariff/series``, and
    ``co2_g_per_kwh`` where the site has a profile of it.

    Prices are published as far as the profiles know them; what lies beyond is the EMS's assumption.
    """

    def __init__(self, site: Site) -> None:
        super().__init__(site, Kind.TARIFF, "tariff")
        self._prices = prices_of(site)
        if (co2 := co2_of(site)) is not None:
            self._prices[Quantity.CO2_INTENSITY] = co2

    def _series(self, window: Window) -> Series:
        found = []
        for quantity, price in self._prices.items():
            if (known := price.means(window)) is not None:
                start, values = known
                found.append(ValueSeries(quantity=quantity, start=start, step_s=window.step_s, values=values))
        return Series(series=tuple(found))
