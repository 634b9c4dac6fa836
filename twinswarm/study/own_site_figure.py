"""The comparison of one's own site as a figure: what each variant saves, and the power at the PCC behind it."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from services.analysis.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, Picture
from services.analysis.figures.canvas import Panel, canvas, legend, line, zero
from services.analysis.figures.time_axis import ClockAxis
from services.analysis.summary import number
from twinswarm.study.own_site import BESS, BOTH, CONTROLLED, NONE, SMART, V2G, Row, SiteComparison

COLOURS = {NONE: BLACK, SMART: ORANGE, BESS: BLUE, V2G: GREEN, BOTH: VERMILION, CONTROLLED: SKY}
_CLOCK_DAYS = 3
"""Longer times are drawn as duration curves: the lines of a week hide one another."""
_BAR_IN = 0.42


@dataclass(frozen=True, slots=True)
class Period:
    """A settlement period, for a time axis."""

    time: datetime
    length_s: float


def figure_of(comparison: SiteComparison) -> Picture:
    """Savings as bars; below, power at the PCC over time with the purchase price, or its duration curve."""
    rows, course = comparison.rows, comparison.course
    bars = Panel("", _BAR_IN * (len(rows) - 1), 0.35)
    by_clock = (course.t_end - course.t0).days <= _CLOCK_DAYS
    lower = [Panel("mean power at the PCC [kW]", 3.2)] + [Panel("price [€/kWh]", 1.3, 0.4)] * by_clock
    figure, (top, *below) = canvas([bars, *[_after_bars(panel, place) for place, panel in enumerate(lower)]], None)
    _savings(top, rows[1:])
    if by_clock:
        axis = ClockAxis(
            [Period(time, course.step_s) for time in rows[0].day.times], comparison.site.location.time_zone
        )
        for place, axes in enumerate(below):
            axis.apply(axes, labelled=place == len(below) - 1)
        for row in rows:
            line(below[0], axis.edges, row.day.pcc_kw, row.name, COLOURS[row.name], "--" if row.name == NONE else "-")
        line(below[1], axis.edges, rows[0].day.purchase_eur_per_kwh, "purchase", BLACK)
        line(below[1], axis.edges, rows[0].day.sale_eur_per_kwh, "sale", GREY)
        legend(below[1], 2)
    else:
        _duration(below[0], rows)
    zero(below[0])
    legend(below[0], len(rows))
    return Picture(f"{comparison.site.site}: what storage saves", _text(comparison), figure)


def _after_bars(panel: Panel, place: int) -> Panel:
    """Room for the bars' axis above the first panel below them."""
    return panel if place else Panel(panel.label, panel.height_in, panel.head_in + 0.55)


def _savings(axes: Axes, rows: tuple[Row, ...]) -> None:
    places = range(len(rows))
    axes.barh(places, [row.savings_eur for row in rows], 0.6, color=[COLOURS[row.name] for row in rows], zorder=2)
    with_stored = [row.savings_eur + row.stored_more_eur for row in rows]
    axes.scatter(
        with_stored, places, marker="D", s=26, facecolor="white", edgecolor=BLACK, zorder=3, label="with stored energy"
    )
    axes.axvline(0.0, color=BLACK, linewidth=0.8)
    axes.set_yticks(places, [row.name.replace(" ", "\n", 1) for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("saved [€], the demand charge included; diamonds: with the energy left in the batteries")
    axes.xaxis.set_major_locator(MaxNLocator(8))
    shown = [0.0, *(row.savings_eur for row in rows), *with_stored]
    left, right = min(shown), max(shown)
    room = (right - left) or 1.0
    axes.set_xlim(left - 0.05 * room, right + 0.55 * room)
    for place, row in zip(places, rows, strict=True):
        text = f"{number(row.savings_eur)} €, highest {number(row.day.peak_import_kw, 1)} kW"
        at = max(row.savings_eur, row.savings_eur + row.stored_more_eur, 0.0)
        axes.annotate(text, (at, place), (8, 0), textcoords="offset points", va="center", fontsize=9)


def _duration(axes: Axes, rows: tuple[Row, ...]) -> None:
    for row in rows:
        values = sorted(row.day.pcc_kw, reverse=True)
        share = 100.0 * np.arange(1, len(values) + 1) / len(values)
        axes.plot(share, values, color=COLOURS[row.name], linestyle="--" if row.name == NONE else "-", label=row.name)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the time at least so high [%]")


def _text(comparison: SiteComparison) -> str:
    none = comparison.rows[0]
    parts = [f"Without storage {number(none.total_eur)} €, highest import {number(none.day.peak_import_kw, 1)} kW."]
    parts += [f"{row.name}: {number(row.savings_eur)} € saved." for row in comparison.rows[1:]]
    return " ".join(parts)
