"""The tariff: purchase and sale price at the PCC."""

from schemas.messages import Quantity, Series, ValueSeries
from schemas.site import Site
from schemas.topics import Kind
from services.forecast.daily import DailySeries
from services.forecast.window import Window


class Tariff(DailySeries):
    """Publishes ``sale_price_eur_per_kwh`` and ``purchase_price_eur_per_kwh`` on ``tariff/tariff/series``.

    The purchase price is the sale price plus the spread, or a profile of its own. Prices are published as far as the
    profile knows them; what lies beyond is the EMS's assumption.
    """

    def __init__(self, site: Site) -> None:
        super().__init__(site, Kind.TARIFF, "tariff")

    def _series(self, window: Window) -> Series:
        tariff = self._site.tariff
        spread = 0.0 if tariff.spread_eur_per_kwh is None else tariff.spread_eur_per_kwh
        purchase = tariff.purchase or tariff.sale
        known = {name: window.profile(self._site.profiles[name]) for name in {tariff.sale, purchase}}
        found = []
        for quantity, name, added in (
            (Quantity.SALE_PRICE, tariff.sale, 0.0),
            (Quantity.PURCHASE_PRICE, purchase, spread),
        ):
            if (of_name := known[name]) is not None:
                start, values = of_name
                found.append(
                    ValueSeries(
                        quantity=quantity,
                        start=start,
                        step_s=window.step_s,
                        values=tuple(value + added for value in values),
                    )
                )
        return Series(series=tuple(found))
