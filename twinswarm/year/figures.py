"""A year in pictures: savings by month, duration curves and peaks, heat maps of the power at the PCC."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from services.analysis.figures import Picture
from services.analysis.figures.canvas import PURPLE, Panel, canvas, legend, zero
from services.analysis.figures.hover import Column
from services.analysis.figures.maps import clock_note, signed_maps
from services.analysis.figures.time_axis import DayAxis
from services.analysis.summary import number
from twinswarm.study.figures import Drawn
from twinswarm.study.own_site_figure import COLOURS, Period
from twinswarm.year.result import YearResult

_MAP_IN = 1.55
_POINTS = 1000
"""Of a duration curve: more are not seen."""


def figures_of(result: YearResult) -> list[Drawn]:
    """All pictures of a year."""
    drawn = [Drawn("months", _by_month(result))] if len(result.none.months) > 1 else []
    return [*drawn, Drawn("duration", _duration(result)), Drawn("maps", _maps(result))]


def _by_month(result: YearResult) -> Picture:
    """Savings above, highest import below; a group of bars a month."""
    figure, (above, below) = canvas([Panel("saved [€]", 2.6), Panel("highest import [kW]", 2.0)], None)
    months, none = list(result.none.months), result.none.months
    shown = [(variant, [variant.months[m].saved_eur(none[m]) for m in months]) for variant in result.others]
    for place, (variant, values) in enumerate(shown):
        _bars(above, place, len(shown), values, variant.name)
    for place, variant in enumerate(result.variants):
        _bars(below, place, len(result.variants), [variant.months[m].import_peak_kw for m in months], variant.name)
    lines = _connection(below, result)
    for axes in (above, below):
        axes.set_xlim(-0.6, len(months) - 0.4)
        axes.set_xticks(range(len(months)), months if axes is below else [""] * len(months), fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    zero(above)
    legend(above, len(shown))
    legend(below, len(result.variants) + lines)
    said = [
        f"{variant.name}: {number(variant.total.saved_eur(result.none.total))} € saved." for variant in result.others
    ]
    return Picture("Savings and highest import by month", " ".join(said), figure)


def _bars(axes: Axes, place: int, count: int, values: list[float], name: str) -> None:
    width = 0.84 / count
    places = [index - 0.42 + (place + 0.5) * width for index in range(len(values))]
    axes.bar(places, values, width, color=COLOURS[name], label=name, zorder=2)


def _connection(axes: Axes, result: YearResult) -> int:
    """Draws the import limit where a variant exceeds it; the number of its entries in a legend."""
    if not any(variant.total.import_above_limit_h for variant in result.variants):
        return 0
    limit_kw = result.order.site.connection.import_limit_kw
    axes.axhline(limit_kw, color=PURPLE, linestyle=":", linewidth=1.6, label=f"connection, {limit_kw:g} kW", zorder=3)
    return 1


def _duration(result: YearResult) -> Picture:
    figure, (axes,) = canvas([Panel("mean power at the PCC [kW]", 3.4)], None)
    for variant in result.variants:
        values = np.sort(variant.series["pcc_kw"])[::-1]
        share = 100.0 * np.arange(len(values)) / max(len(values) - 1, 1)
        at = np.linspace(0, len(values) - 1, min(len(values), _POINTS)).round().astype(int)
        style = "--" if variant is result.none else "-"
        axes.plot(
            share[at], values[at], color=COLOURS[variant.name], linestyle=style, label=variant.name, linewidth=1.4
        )
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the time at least so high [%]")
    lines = _connection(axes, result)
    zero(axes)
    legend(axes, len(result.variants) + lines)
    said = [
        f"{variant.name}: from {number(variant.total.import_peak_kw, 1)} kW of import to "
        f"{number(variant.total.export_peak_kw, 1)} kW of export."
        for variant in result.variants
    ]
    return Picture("Duration curves of the power at the PCC", " ".join(said), figure)


def _maps(result: YearResult) -> Picture:
    length_s = result.length.total_seconds()
    axis = DayAxis([Period(time, length_s) for time in result.times], result.order.site.location.time_zone)
    titled = [
        (variant.name, Column(variant.name, "kW", tuple(variant.series["pcc_kw"].tolist())))
        for variant in result.variants
    ]
    figure, _ = signed_maps(titled, axis, _MAP_IN)
    text = "Mean power at the PCC of each settlement period; red is import, blue is export, on one scale."
    return Picture("PCC by day and time of day", text + clock_note(axis), figure)
