"""What is expected in the window: prices and CO2 intensity as they are announced, forecasts after what is measured."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from schemas.messages import Quantity, ValueSeries
from schemas.site import Site
from services.ems.problem import Values
from services.ems.problem_builder.window import Window, values_of
from services.ems.series_alignment import extended, latest
from services.ems.stores import Array
from services.ems.system_state import SystemState

PURCHASE, SALE = Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE


@dataclass(frozen=True, slots=True)
class Unplannable:
    """Why there is no problem to solve."""

    reason: str


def known_series(
    state: SystemState, quantity: Quantity, window: Window, device: str | None = None
) -> ValueSeries | None:
    """The latest series that has begun when the window does; ``device``: of this one alone."""
    told = (series for series in state.values(quantity) if device is None or series.device == device)
    return latest([series for series in told if series.start <= window.start])


def known_prices(state: SystemState, site: Site, window: Window) -> tuple[Values, Values] | Unplannable:
    """Purchase and sale price, as far as they are known or may be assumed (`EmsOptions.price_extension_h`)."""
    found = []
    for quantity in (PURCHASE, SALE):
        series = known_series(state, quantity, window)
        if series is None:
            return Unplannable(f"no {quantity.value} is known at {window.start.isoformat()}")
        values = extended(series, window.start, window.step_s, window.steps, site.zone)
        last = series.end + timedelta(hours=site.ems.price_extension_h)
        until = (last - window.start) // timedelta(seconds=window.step_s)  # steps that end by then
        unknown = np.isnan(values).nonzero()[0]
        known = int(unknown[0]) if len(unknown) else window.steps
        found.append((values, max(0, min(known, until))))
    steps = min(count for _, count in found)
    if steps == 0:
        return Unplannable(f"prices end before {window.at(1).isoformat()} and may not be extended further")
    purchase, sale = (values_of(values[:steps]) for values, _ in found)
    return purchase, sale


def expected_price(state: SystemState, quantity: Quantity, site: Site, after: Window) -> Values:
    """As `known_prices`, without an end to what may be assumed: it is an expectation, and nothing is bought at it."""
    series = known_series(state, quantity, after)
    assert series is not None, "the window has prices"
    return _mean_beyond(series, site, after)


def co2_intensity(state: SystemState, site: Site, window: Window) -> Values:
    """Intensity of imported energy [g/kWh] as far as it is known, and its mean beyond; empty: it is not known."""
    series = known_series(state, Quantity.CO2_INTENSITY, window)
    return () if series is None else _mean_beyond(series, site, window)


def _mean_beyond(series: ValueSeries, site: Site, window: Window) -> Values:
    """The series on the window's steps, and its mean where it says nothing of them."""
    values = extended(series, window.start, window.step_s, window.steps, site.zone)
    return values_of(np.where(np.isnan(values), float(np.mean(series.values)), values))


def measured_then_forecast(
    series: ValueSeries | None, measured: float | None, site: Site, window: Window, *, measured_now: bool = True
) -> Array:
    """A forecast with its first step measured, if the window begins now; without forecast the measurement persists,
    without either it is 0."""
    if series is None:
        return np.full(window.steps, 0.0 if measured is None else measured)
    values = extended(series, window.start, window.step_s, window.steps, site.zone)
    values[np.isnan(values)] = 0.0 if measured is None else measured
    if measured is not None and measured_now:
        values[0] = measured
    return values
