"""What was read, as a picture: the whole span, and the usual day. What was filled in is marked."""

from datetime import tzinfo
from typing import TYPE_CHECKING

from services.analysis.figures import BLUE, ORANGE, SKY, VERMILION, Picture
from services.analysis.figures.canvas import Panel, canvas, legend
from twinswarm.imports.imported import UNITS, Imported
from twinswarm.imports.options import Kind
from twinswarm.imports.regular import Grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LINE_DAYS = 16
"""Longer spans are drawn by day: least, mean and most."""


def picture_of(imported: Imported, zone: tzinfo) -> Picture:
    """A panel over time for each series, and one of its usual day."""
    panels: list[Panel] = []
    for name in imported.series:
        over_time = Panel(f"{name.replace('_', ' ')} [{UNITS[name]}]", 2.2, 0.75 if panels else 0.45)
        panels += [over_time, Panel(f"usual day [{UNITS[name]}]", 1.5, 0.6)]
    figure, drawn = canvas(panels, None)
    for place, (_, grid) in enumerate(imported.series.items()):
        values = _local(grid, zone)
        _over_time(drawn[2 * place], values, grid)
        by_week = imported.kind is not Kind.WEATHER
        _usual_day(drawn[2 * place + 1], values, by_week=by_week, last=place == len(imported.series) - 1)
    first = next(iter(imported.series.values()))
    text = f"{imported.kind.value} from {first.start:%Y-%m-%d} to {first.end:%Y-%m-%d}, and its usual day"
    return Picture(f"{imported.kind.value} as it was read", text, figure)


def _local(grid: Grid, zone: tzinfo) -> "pd.Series":
    import pandas as pd

    index = pd.DatetimeIndex(grid.times_s.astype("datetime64[s]")).tz_localize("UTC").tz_convert(zone)
    return pd.Series(grid.values, index=index)


def _over_time(axes: "Axes", values: "pd.Series", grid: Grid) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    zone = values.index.tz
    if (values.index[-1] - values.index[0]).days <= _LINE_DAYS:
        axes.step(values.index, values.to_numpy(), where="post", color=BLUE, linewidth=0.9)
    else:
        days = values.groupby(values.index.normalize()).agg(["min", "mean", "max"])
        axes.fill_between(
            days.index, days["min"], days["max"], color=SKY, alpha=0.5, linewidth=0, label="least to most"
        )
        axes.plot(days.index, days["mean"], color=BLUE, linewidth=1.0, label="mean of the day")
    if grid.filled is not None:
        filled = values[grid.filled]
        axes.plot(filled.index, filled.to_numpy(), ".", color=VERMILION, markersize=3, label="filled in")
    if axes.get_legend_handles_labels()[0]:
        legend(axes, 3)
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)


def _usual_day(axes: "Axes", values: "pd.Series", *, by_week: bool, last: bool) -> None:
    """Mean by the local clock; ``by_week``: of working days and of the weekend."""
    hours = values.index.hour + values.index.minute / 60
    weekend = values.index.day_of_week >= 5
    parts = [(~weekend, "Monday to Friday", BLUE), (weekend, "Saturday and Sunday", ORANGE)]
    for here, name, color in parts if by_week else [(hours >= 0, "all days", BLUE)]:
        if here.any():
            mean = values[here].groupby(hours[here]).mean()
            axes.step([*mean.index, 24], [*mean, mean.iloc[-1]], where="post", color=color, linewidth=1.3, label=name)
    legend(axes, 2)
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 3), [f"{hour:02d}:00" for hour in range(0, 25, 3)])
    if last:
        axes.set_xlabel("local time")
