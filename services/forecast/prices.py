"""The prices at the PCC as functions of time, by the site's tariff."""

from dataclasses import dataclass, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from schemas.messages import Quantity
from schemas.site import PricePart, PriceRule, Profile, Site, Stepwise
from schemas.site.profile import next_quarter
from schemas.site.tariff import MARKET
from schemas.sums import sum_in_order
from services.forecast.window import Window


@dataclass(frozen=True)
class BuiltPrice:
    """A price that is built from components. Constant within each quarter-hour and each step of the market price."""

    rule: PriceRule
    market: Profile | None
    holidays: frozenset[date]

    def at(self, time: datetime, zone: ZoneInfo) -> float:
        """[€/kWh]."""
        local = time.astimezone(zone)
        return self.rule.price(self._market(time, zone), local, holiday=self._holiday(local))

    def parts(self, time: datetime, zone: ZoneInfo) -> tuple[PricePart, ...]:
        """What the price is made of."""
        local = time.astimezone(zone)
        return self.rule.parts(self._market(time, zone), local, holiday=self._holiday(local))

    def next_change(self, time: datetime, zone: ZoneInfo) -> datetime:
        quarter = next_quarter(time)
        return quarter if self.market is None else min(quarter, self.market.next_change(time, zone))

    def _market(self, time: datetime, zone: ZoneInfo) -> float:
        return 0.0 if self.market is None else self.market.at(time, zone)

    def _holiday(self, local: datetime) -> bool:
        return self.rule.knows_holidays and local.date() in self.holidays


@dataclass(frozen=True)
class Price:
    """The purchase or the sale price: a profile or a built price, plus a constant."""

    values: Stepwise
    profile: Profile | None
    """Where it is known; None: always."""
    added_eur_per_kwh: float = 0.0

    def means(self, window: Window) -> "tuple[datetime, tuple[float, ...]] | None":
        """Start and step means [€/kWh] within the window, as far as it is known; None if it is known nowhere."""
        known = window if self.profile is None else window.known(self.profile)
        if known is None:
            return None
        return known.start, tuple(value + self.added_eur_per_kwh for value in known.step_means(self.values))

    def parts(self, time: datetime, zone: ZoneInfo) -> tuple[PricePart, ...]:
        """What the price is made of."""
        if isinstance(self.values, BuiltPrice):
            return self.values.parts(time, zone)
        spread = (PricePart("spread", self.added_eur_per_kwh),) if self.added_eur_per_kwh else ()
        return (PricePart(MARKET, self.values.at(time, zone)), *spread)


@dataclass(frozen=True, slots=True)
class PricedQuarter:
    """What a kWh costs in a quarter-hour, and what the two prices are made of [€/kWh]."""

    time: datetime
    """Its start, in UTC."""
    length_s: int
    purchase: tuple[PricePart, ...]
    sale: tuple[PricePart, ...]

    @property
    def purchase_eur_per_kwh(self) -> float:
        return sum_in_order(part.eur_per_kwh for part in self.purchase)

    @property
    def sale_eur_per_kwh(self) -> float:
        return sum_in_order(part.eur_per_kwh for part in self.sale)


def priced_quarters(site: Site, start: datetime, end: datetime) -> list[PricedQuarter]:
    """The quarter-hours of [start, end). That the site's profiles cover them is for the caller to check."""
    prices = prices_of(site)
    found, time = [], start
    while time < end:
        until = min(next_quarter(time), end)
        parts = (prices[quantity].parts(time, site.zone) for quantity in (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE))
        found.append(PricedQuarter(time, int((until - time).total_seconds()), *parts))
        time = until
    return found


def prices_of(site: Site) -> dict[Quantity, Price]:
    """The sale and the purchase price of a site."""
    tariff = site.tariff
    sale = _price(site, tariff.sale, tariff.sale_price)
    if tariff.spread_eur_per_kwh is None:
        purchase = _price(site, tariff.purchase, tariff.purchase_price)
    else:
        purchase = replace(sale, added_eur_per_kwh=tariff.spread_eur_per_kwh)
    return {Quantity.SALE_PRICE: sale, Quantity.PURCHASE_PRICE: purchase}


def co2_of(site: Site) -> Price | None:
    """Emissions of imported energy [g/kWh], known as a price is; None: the site names no profile of them."""
    name = site.connection.co2_profile
    return None if name is None else Price(site.profiles[name], site.profiles[name])


def _price(site: Site, profile: str | None, rule: PriceRule | None) -> Price:
    if rule is None:
        assert profile is not None
        return Price(site.profiles[profile], site.profiles[profile])
    market = None if rule.market is None else site.profiles[rule.market]
    return Price(BuiltPrice(rule, market, frozenset(site.tariff.holidays)), market)
