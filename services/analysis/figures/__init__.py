"""The pictures of a report, chosen by the length of the run.

Up to ten local days are drawn by settlement period along the clock, longer runs as maps of day and time of day. No
figure draws means of several settlement periods, and every extreme that a text states is that of a settlement period.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.analysis.figures.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Picture,
)
from services.analysis.figures.components import energy_by_day, power_by_component
from services.analysis.figures.data import Series, has_values
from services.analysis.figures.hover import Table, hover_data
from services.analysis.figures.maps import pcc_maps, plan_map, price_and_storage_maps, vehicle_maps
from services.analysis.figures.pcc import (
    POINTS,
    against_baseline,
    duration_curve,
    extremes_by_day,
    plan_and_actual,
    share_edges,
)
from services.analysis.figures.storage import price_and_storage, vehicles
from services.analysis.figures.time_axis import ClockAxis, DayAxis
from services.analysis.run_result import RunResult

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILION",
    "Figures",
    "Picture",
    "figures_of",
    "pictures",
]

MOST_CLOCK_DAYS = 10
"""A run over more local days is drawn by days."""
_FEW = 2
"""Settlement periods that a duration curve needs at least."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The pictures of a run and the tables behind them."""

    pictures: tuple[Picture, ...]
    tables: dict[str, Table]

    def hover(self) -> dict[str, Any]:
        """For the report's script."""
        return hover_data([picture.areas for picture in self.pictures], self.tables)


def pictures(result: RunResult) -> list[Picture]:
    """All pictures of a run that has whole quarters; none of one that has none."""
    return list(figures_of(result).pictures)


def figures_of(result: RunResult) -> Figures:
    """The pictures, with the values that they show."""
    if not result.quarters:
        return Figures((), {})
    series = Series(result)
    days = DayAxis(result.quarters, result.time_zone)
    if days.days > MOST_CLOCK_DAYS:
        drawn, edges, cells, rows = _by_day(series, days), days.edges, days.cells, days.rows
    else:
        clock = ClockAxis(result.quarters, result.time_zone)
        drawn, edges, cells, rows = _by_clock(series, clock), clock.edges, [], 0
    tables = {
        "quarters": Table(_times(result), edges, cells, rows),
        "days": Table([f"{days.first + timedelta(days=day):%a %d %b %Y}" for day in range(days.days)], days.edges),
        "duration": _duration_table(series),
    }
    return Figures(tuple(picture for picture in drawn if picture is not None), tables)


def _by_clock(series: Series, axis: ClockAxis) -> list[Picture | None]:
    return [
        power_by_component(series, axis),
        against_baseline(series, axis) if series.result.reference is not None else None,
        price_and_storage(series, axis),
        vehicles(series, axis),
        _duration(series),
        plan_and_actual(series, axis) if has_values(series.planned) or has_values(series.first_plan) else None,
    ]


def _by_day(series: Series, axis: DayAxis) -> list[Picture | None]:
    return [
        energy_by_day(series, axis),
        extremes_by_day(series, axis),
        pcc_maps(series, axis),
        price_and_storage_maps(series, axis),
        vehicle_maps(series, axis),
        _duration(series),
        plan_map(series, axis) if has_values(series.planned) else None,
    ]


def _duration(series: Series) -> Picture | None:
    return duration_curve(series) if _known(series) >= _FEW else None


def _known(series: Series) -> int:
    return max(sum(value is not None for value in column.values) for column in (series.pcc, series.baseline))


def _duration_table(series: Series) -> Table:
    edges = share_edges(min(POINTS, _known(series)))
    return Table([f"{share:.1f} % of the time at least" for share in edges[1:]], edges)


def _times(result: RunResult) -> list[str]:
    """Local beginning of each settlement period; with its offset from UTC where the clock shows it twice."""
    zone = ZoneInfo(result.time_zone)
    clocks = [quarter.time.astimezone(zone) for quarter in result.quarters]
    twice = {f"{clock:%Y-%m-%d %H:%M}" for clock in clocks if clock.fold}
    names = [f"{clock:%Y-%m-%d %H:%M}" for clock in clocks]
    return [
        f"{clock:%a %d %b %Y, %H:%M}" + (f" (UTC{clock:%z})" if name in twice else "")
        for clock, name in zip(clocks, names, strict=True)
    ]
