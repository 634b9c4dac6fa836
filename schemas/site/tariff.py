"""The prices of a site at the PCC: profiles as they are, or prices built from components.

A price of energy is what a market price, grid fees, levies and taxes make of it, each with its times. A built price
says for every instant what it is made of (`PriceRule.parts`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from schemas.site.base import SitePart
from schemas.site.demand import DemandBilling, MonthPeak
from schemas.site.profile import ProfileName
from schemas.sums import sum_in_order
from schemas.units import EurPerKwh

MAX_PRICE_EUR_PER_KWH = 5.0
"""Above the harmonised limit of European day-ahead markets, which is 4 €/kWh (2023) and may be raised."""

_HOURS = re.compile(r"([01]\d|2[0-4]):(00|15|30|45)-([01]\d|2[0-4]):(00|15|30|45)")

ComponentName = Annotated[str, Field(min_length=1, max_length=64)]
ComponentPrice = Annotated[EurPerKwh, Field(ge=-MAX_PRICE_EUR_PER_KWH, le=MAX_PRICE_EUR_PER_KWH)]


class TariffDay(StrEnum):
    """Local days by which a price component is limited.

    In a price that has a component for ``holiday`` a public holiday is that and nothing else; otherwise it is the day
    of the week that it is.
    """

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"
    WORKDAY = "workday"
    """Monday to Friday."""
    WEEKEND = "weekend"
    HOLIDAY = "holiday"


_WEEK = tuple(TariffDay)[:7]


class Times(SitePart):
    """When a price component holds: at the times that every given field allows; one that is left out allows all."""

    hours: Annotated[tuple[str, ...], Field(max_length=24)] = ()
    """Local time, HH:MM-HH:MM in whole quarter-hours, such as 22:00-06:00, which passes midnight. The end is not in
    it."""
    days: tuple[TariffDay, ...] = ()
    months: Annotated[tuple[Annotated[int, Field(ge=1, le=12)], ...], Field(max_length=12)] = ()
    market_below_eur_per_kwh: ComponentPrice | None = None
    """Only while the market price is lower."""
    market_from_eur_per_kwh: ComponentPrice | None = None
    """Only while the market price is this or higher: a feed-in tariff that is not paid at negative prices has 0."""

    @field_validator("hours")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for hours in value:
            begin, end = _minutes(hours)
            if begin == end or max(begin, end) > 24 * 60 or begin == 24 * 60:
                raise ValueError(f"{hours!r} is no time of day")
        return value

    def allow(self, local: datetime, *, holiday: bool, market: float) -> bool:
        """``local``: by the site's clock. ``market`` [€/kWh]."""
        return (
            (not self.hours or any(_within(local.hour * 60 + local.minute, *_minutes(hours)) for hours in self.hours))
            and (not self.days or not self._days_of(local, holiday=holiday).isdisjoint(self.days))
            and (not self.months or local.month in self.months)
            and (self.market_below_eur_per_kwh is None or market < self.market_below_eur_per_kwh)
            and (self.market_from_eur_per_kwh is None or market >= self.market_from_eur_per_kwh)
        )

    @staticmethod
    def _days_of(local: datetime, *, holiday: bool) -> frozenset[TariffDay]:
        if holiday:
            return frozenset({TariffDay.HOLIDAY})
        weekday = _WEEK[local.weekday()]
        weekend = weekday in {TariffDay.SATURDAY, TariffDay.SUNDAY}
        return frozenset({weekday, TariffDay.WEEKEND if weekend else TariffDay.WORKDAY})

    @property
    def of_the_market(self) -> bool:
        return self.market_below_eur_per_kwh is not None or self.market_from_eur_per_kwh is not None


def _minutes(hours: str) -> tuple[int, int]:
    """Begin and end in minutes of the day. Raises ValueError."""
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise ValueError(f"{hours!r} is not HH:MM-HH:MM in whole quarter-hours, such as 22:00-06:00")
    first, second, third, fourth = map(int, found.groups())
    return first * 60 + second, third * 60 + fourth


def _within(minute: int, begin: int, end: int) -> bool:
    return begin <= minute < end if begin < end else minute >= begin or minute < end


class PriceComponent(SitePart):
    """A part of a price: an amount per kWh, or a share of the market price. Components of the same name are listed
    as one."""

    name: ComponentName
    eur_per_kwh: ComponentPrice | None = None
    market_frac: Annotated[float, Field(ge=-10, le=10)] | None = None
    """0.03: three percent of the market price on top of it; -0.2: a fifth of it is kept by who buys."""
    when: Times = Times()

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.eur_per_kwh is None) == (self.market_frac is None):
            raise ValueError("exactly one of eur_per_kwh and market_frac is to be given")
        return self

    def amount(self, market: float) -> float:
        """[€/kWh] while it holds."""
        if self.eur_per_kwh is not None:
            return self.eur_per_kwh
        assert self.market_frac is not None
        return self.market_frac * market


class PriceTax(SitePart):
    """A share of the sum of everything above it, the taxes listed before it included."""

    name: ComponentName
    frac: Annotated[float, Field(ge=0, le=2)]


@dataclass(frozen=True, slots=True)
class PricePart:
    """What a price is made of at an instant [€/kWh]."""

    name: str
    eur_per_kwh: float


MARKET = "market"
AT_LEAST = "up to the least price"


class PriceRule(SitePart):
    """Price = (market price + components that hold) + taxes, and at least ``least_eur_per_kwh``."""

    market: ProfileName | None = None
    """Profile of the market price [€/kWh]; None: it does not depend on one."""
    components: Annotated[tuple[PriceComponent, ...], Field(max_length=100)] = ()
    taxes: Annotated[tuple[PriceTax, ...], Field(max_length=10)] = ()
    least_eur_per_kwh: ComponentPrice | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.market is None and not self.components:
            raise ValueError("neither market nor components are given: there is no price")
        if self.market is None:
            for component in self.components:
                if component.market_frac is not None or component.when.of_the_market:
                    raise ValueError(f"component {component.name!r} needs a market price, and market is not given")
        for name in {component.name for component in self.components} & {tax.name for tax in self.taxes}:
            raise ValueError(f"a component and a tax are both named {name!r}")
        return self

    @property
    def knows_holidays(self) -> bool:
        """Whether it depends on which days are public holidays."""
        return any(TariffDay.HOLIDAY in component.when.days for component in self.components)

    def parts(self, market: float, local: datetime, *, holiday: bool) -> tuple[PricePart, ...]:
        """What the price is made of; the sum of the parts is the price. ``market`` [€/kWh], 0 where there is none."""
        return tuple(PricePart(name, amount) for name, amount in self._parts(market, local, holiday=holiday).items())

    def price(self, market: float, local: datetime, *, holiday: bool) -> float:
        """[€/kWh]."""
        return sum_in_order(self._parts(market, local, holiday=holiday).values())

    def _parts(self, market: float, local: datetime, *, holiday: bool) -> dict[str, float]:
        found = {MARKET: market} if self.market is not None else {}
        for component in self.components:
            if component.when.allow(local, holiday=holiday, market=market):
                found[component.name] = found.get(component.name, 0.0) + component.amount(market)
        for tax in self.taxes:
            found[tax.name] = found.get(tax.name, 0.0) + tax.frac * sum_in_order(found.values())
        if self.least_eur_per_kwh is not None and (short := self.least_eur_per_kwh - sum_in_order(found.values())) > 0:
            found[AT_LEAST] = short
        return found


class Tariff(SitePart):
    """Prices at the PCC, each a profile or built from components; the purchase price also as sale price + spread."""

    sale: ProfileName | None = None
    sale_price: PriceRule | None = None
    purchase: ProfileName | None = None
    purchase_price: PriceRule | None = None
    spread_eur_per_kwh: EurPerKwh | None = None
    holidays: tuple[date, ...] = ()
    """Local days that are public holidays; the loader writes them in where a price depends on them."""
    demand_charge_eur_per_kw: Annotated[float, Field(ge=0, le=1000)] | None = None
    """On the month's highest quarter-hour of import."""
    month_peak: MonthPeak | None = None
    """Without it an EMS that begins within a month knows of no import before, and plans with a peak of 0."""
    demand_billing: DemandBilling = DemandBilling()
    """The peak that is billed, where it is not the month's own."""
    past_peaks: Annotated[tuple[MonthPeak, ...], Field(max_length=36)] = ()
    """Peaks of whole months before the run, as far as ``demand_billing`` looks back to them."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _exactly_one(self, "sale", "sale_price")
        _exactly_one(self, "purchase", "purchase_price", "spread_eur_per_kwh")
        if self.month_peak is not None and not self.demand_charge_eur_per_kw:
            raise ValueError("month_peak is given without a demand_charge_eur_per_kw to which it would matter")
        billed = self.demand_billing != DemandBilling() or self.past_peaks
        if billed and not self.demand_charge_eur_per_kw:
            raise ValueError("demand_billing or past_peaks are given without a demand_charge_eur_per_kw")
        months = [peak.month for peak in (*self.past_peaks, *([self.month_peak] if self.month_peak else []))]
        for month in months:
            if months.count(month) > 1:
                raise ValueError(f"the peak of {month} is given twice in past_peaks and month_peak")
        return self

    @property
    def past_peaks_kw(self) -> dict[str, float]:
        """``past_peaks`` by month."""
        return {peak.month: peak.import_kw for peak in self.past_peaks}

    @property
    def rules(self) -> Iterator[tuple[str, PriceRule]]:
        """By its field, every price that is built from components."""
        for field in ("sale_price", "purchase_price"):
            rule = getattr(self, field)
            if rule is not None:
                yield field, rule

    @property
    def profiles_used(self) -> Iterator[tuple[str, ProfileName]]:
        """Path of every field that names a profile, and the name."""
        for field in ("sale", "purchase"):
            name = getattr(self, field)
            if name is not None:
                yield field, name
        for field, rule in self.rules:
            if rule.market is not None:
                yield f"{field}.market", rule.market


def _exactly_one(tariff: Tariff, *fields: str) -> None:
    if sum(getattr(tariff, field) is not None for field in fields) != 1:
        raise ValueError(f"exactly one of {', '.join(fields[:-1])} and {fields[-1]} is to be given")
