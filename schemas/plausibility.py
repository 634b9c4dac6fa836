"""Plausibility of numbers that are valid by the contract: the one place of the rules; see ``docs/plausibility.md``.

A value that cannot be true is *doubtful*. It is recorded as it came, it is not acted on, and whoever would have used it
names it. EMS, network twin, settlement of a history and the live view ask the same functions, so that none of them
believes what another refuses. The functions are pure; every bound is far beyond what a sound device reports, because a
false doubt costs true energy.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages.birth import BessNameplate, HeatPumpNameplate, MeterNameplate, Nameplate, PvNameplate
from schemas.messages.series import Quantity, ValueSeries
from schemas.messages.vehicle import ExpectedChargingSession
from schemas.site import Site
from schemas.site.tariff import MAX_PRICE_EUR_PER_KWH
from schemas.sums import sum_in_order

RATING_FACTOR = 2.0
"""A device that is built for a power does not carry twice as much: PV inverters limit themselves to their rating, and
peaks that battery inverters state are half above it; see ``docs/plausibility.md`` for the sources of all bounds."""

STANDBY_KW = 1.0
"""Against its direction (a PV inverter at night) a device draws its own consumption: so much, or ..."""
STANDBY_FRAC = 0.05
"""... so much of its rating, if that is more."""

CONNECTION_FACTOR = 10.0
"""A meter has no rating. At 5 to 10 times its rated current a circuit breaker of type C (IEC 60898-1) opens at once, so
that no mean power between two telemetries exceeds ten times the connection plus what the site's devices carry."""

METER_LEAST_KW = 10.0
"""A site that states a connection of 0 kW still has a meter with its own consumption behind it."""

RESOLUTION_KWH = 1.0
"""The coarsest step of a register: whole kWh, as the display of a household's meter."""

SOC_JUMP_FRAC = 0.2
"""A battery that reaches a known state corrects the SOC that it had counted, by up to so much."""

BOOKED_LATE = timedelta(hours=1)
"""The network twin books what flowed unheard when a device is heard again: at least so much time may be in its step."""

FORECAST_AGE = timedelta(hours=48)
"""A forecast comes at least daily. One that ended two days ago belongs to a service that has stopped."""

MAX_CO2_G_PER_KWH = 3000.0
"""CO2 intensity of imported energy: twice and more what power from lignite emits."""

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PowerBounds:
    """What a device may draw and give at most [kW, magnitudes], and why."""

    draws_kw: float
    gives_kw: float
    reason: str

    def allow(self, power_kw: float) -> bool:
        """Whether a power, with the sign of `schemas.units`, is plausible."""
        return -self.gives_kw <= power_kw <= self.draws_kw

    def doubt(self, power_kw: float) -> str | None:
        """Why a power is doubtful; None: it is plausible."""
        if self.allow(power_kw):
            return None
        return f"{power_kw:.6g} kW is beyond {self}"

    def __str__(self) -> str:
        return f"{-self.gives_kw:.6g} to {self.draws_kw:.6g} kW, {self.reason}"


def bounds_of(plate: Nameplate | None, site: Site | None) -> PowerBounds | None:
    """Bounds of a device by its nameplate, of a meter by its site. None: nothing is known to judge it by."""
    if plate is None:
        return None
    if isinstance(plate, MeterNameplate):
        return None if site is None else meter_bounds(site)
    # What is not controllable may have a rating in the other direction, too.
    rating = max(plate.draws_kw, plate.gives_kw)
    standby = max(STANDBY_KW, STANDBY_FRAC * rating)
    return PowerBounds(
        RATING_FACTOR * plate.draws_kw + standby,
        RATING_FACTOR * plate.gives_kw + standby,
        f"{RATING_FACTOR:g} times its rating",
    )


def meter_bounds(site: Site) -> PowerBounds:
    """Bounds of any meter of a site, its PCC meter included; in both directions the same."""
    ratings = sum_in_order(
        device.nameplate.draws_kw + device.nameplate.gives_kw
        for device in site.devices.values()
        if not isinstance(device.nameplate, MeterNameplate)
    )
    limit = max(site.connection.import_limit_kw, site.connection.export_limit_kw)
    names = {name for _, name in site.profiles_used()}
    meters = [device for device in site.devices.values() if isinstance(device.nameplate, MeterNameplate)]
    loads = sum_in_order(
        max(map(abs, site.profiles[name].values))
        for meter in meters
        for _, name in meter.profiles_used
        if name in names and name in site.profiles
    )
    most = max(CONNECTION_FACTOR * limit + ratings, RATING_FACTOR * (loads + ratings), METER_LEAST_KW)
    return PowerBounds(most, most, f"{CONNECTION_FACTOR:g} times the connection of {limit:g} kW with all devices")


def step_doubt(drawn_kwh: float, given_kwh: float, lasted: timedelta, bounds: PowerBounds | None) -> str | None:
    """Why the differences of two registers are doubtful; None: they are plausible.

    ``lasted``: the time in which they can have come together, see `standing_since`.
    """
    if drawn_kwh < 0 or given_kwh < 0:
        return "a register went back"
    if bounds is None:
        return None
    for step, limit in zip((drawn_kwh, given_kwh), step_limit_kwh(lasted, bounds), strict=True):
        if step > limit:
            return f"a register grew by {step:.6g} kWh where at most {limit:.6g} kWh can flow"
    return None


def step_limit_kwh(lasted: timedelta, bounds: PowerBounds) -> tuple[float, float]:
    """By how much the import and the export register can grow in a time [kWh]."""
    hours = lasted / _HOUR
    return RESOLUTION_KWH + bounds.draws_kw * hours, RESOLUTION_KWH + bounds.gives_kw * hours


def soc_doubt(
    before_frac: float, now_frac: float, lasted: timedelta, plate: BessNameplate | HeatPumpNameplate
) -> str | None:
    """Why the SOC [fraction] of a battery or a buffer is doubtful after another one ``lasted`` ago; None: it is
    plausible."""
    gained, hours = now_frac - before_frac, max(lasted / _HOUR, 0.0)
    bounds = bounds_of(plate, None)
    assert bounds is not None
    if gained > 0:
        most_kw = bounds.draws_kw * (plate.cop_max if isinstance(plate, HeatPumpNameplate) else 1.0)
    elif isinstance(plate, HeatPumpNameplate):
        return None  # Nothing bounds the heat that a building takes.
    else:
        most_kw = bounds.gives_kw / plate.discharge_efficiency
    limit = SOC_JUMP_FRAC + most_kw * hours / plate.store_kwh
    if abs(gained) <= limit:
        return None
    return f"SOC went from {before_frac:.3f} to {now_frac:.3f} where at most {limit:.3f} can flow"


def standing_since(
    before: tuple[float | None, float | None], since: datetime, after: tuple[float | None, float | None], ts: datetime
) -> datetime:
    """Since when a register has had the value that it has at ``ts``. ``since``: the same of the reading before.

    A device may publish its power every second and update its registers once an hour.
    """
    return since if before == after else ts


def price_doubt(values: Iterable[float]) -> float | None:
    """The first price [€/kWh] that no market has; None: all are plausible. Negative prices are."""
    return next((value for value in values if not abs(value) <= MAX_PRICE_EUR_PER_KWH), None)


def co2_doubt(values: Iterable[float]) -> float | None:
    """The first CO2 intensity [g/kWh] that no grid has; None: all are plausible."""
    return next((value for value in values if not 0 <= value <= MAX_CO2_G_PER_KWH), None)


def series_doubt(series: ValueSeries, plate: Nameplate | None, site: Site | None) -> str | None:
    """Why the values of a series are doubtful; None: they are plausible, or there is nothing to judge them by."""
    if series.quantity in (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE):
        price = price_doubt(series.values)
        text = "{:g} €/kWh is beyond ±{:g} €/kWh: is it in €/MWh?"
        return None if price is None else text.format(price, MAX_PRICE_EUR_PER_KWH)
    if series.quantity is Quantity.CO2_INTENSITY:
        co2 = co2_doubt(series.values)
        return None if co2 is None else f"{co2:g} g/kWh is not within 0 and {MAX_CO2_G_PER_KWH:g} g/kWh"
    most = _most(series.quantity, plate, site)
    if most is None:
        return None
    worst = max(series.values, key=abs)
    return None if abs(worst) <= most else f"{worst:.6g} is beyond ±{most:.6g}: is it in W or in another unit?"


def _most(quantity: Quantity, plate: Nameplate | None, site: Site | None) -> float | None:
    """The greatest plausible magnitude of a quantity of a forecast, in its unit."""
    if quantity is Quantity.LOAD:
        return None if site is None else meter_bounds(site).draws_kw
    if quantity is Quantity.PV and isinstance(plate, PvNameplate):
        # What the generator could give is cut by its inverter, so that a forecast may lie above the rating.
        return RATING_FACTOR * 2 * plate.rated_kw + STANDBY_KW
    if quantity is Quantity.HEAT_DEMAND and isinstance(plate, HeatPumpNameplate):
        return CONNECTION_FACTOR * plate.max_power_kw * plate.cop_max + STANDBY_KW
    if quantity is Quantity.TEMP_OUTDOOR:
        return 80.0
    return None


def series_age_doubt(series: ValueSeries, now: datetime) -> str | None:
    """Why a forecast is too old to be continued; None: it is not. Prices have ``ems.price_extension_h``."""
    if now - series.end <= FORECAST_AGE:
        return None
    hours = (now - series.end) / _HOUR
    return f"it ended {hours:.0f} h ago, and is continued for at most {FORECAST_AGE / _HOUR:g} h"


def session_is_past(session: ExpectedChargingSession, now: datetime) -> bool:
    """Whether an expected charging session is too long ago to be expected any more."""
    return now - (session.departure or session.arrival) > FORECAST_AGE


def plausible_power_kw(powers_kw: Iterable[float], bounds: PowerBounds | None) -> float | None:
    """The first plausible one; None where there is none."""
    return next((kw for kw in powers_kw if math.isfinite(kw) and (bounds is None or bounds.allow(kw))), None)
