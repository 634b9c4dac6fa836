"""The trade-off as a figure: cost against each other objective, from cost alone to that objective alone."""

from matplotlib.axes import Axes

from services.analysis.figures import BLACK, BLUE, GREEN, VERMILION, Picture
from services.analysis.figures.canvas import Panel, canvas
from services.analysis.summary import number
from twinswarm.study.trade_off import Aim, TradeOff

_LABELS = {
    Aim.CO2: "CO2 of imports [kg]",
    Aim.SELF_CONSUMPTION: "PV produced less exported [kWh]",
    Aim.PEAK: "highest import [kW]",
}
_COLOURS = {Aim.CO2: GREEN, Aim.SELF_CONSUMPTION: BLUE, Aim.PEAK: VERMILION}


def figure_of(found: TradeOff) -> Picture:
    """A panel for each objective; along it the cost, on it the curve of its weights, and grey all other runs."""
    aims = found.aims
    figure, panels = canvas([Panel(_LABELS[aim], 2.6, 0.5) for aim in aims], None)
    for aim, axes in zip(aims, panels, strict=True):
        _curve(axes, found, aim)
    panels[-1].set_xlabel("cost [€], the demand charge included, energy left in the batteries evened out")
    return Picture(f"{found.site.site}: what other objectives cost", _text(found), figure)


def _curve(axes: Axes, found: TradeOff, aim: Aim) -> None:
    curve = found.curve(aim)
    others = [point for point in found.points if point not in curve]
    for point in others:
        axes.scatter(found.evened_cost_eur(point), found.value(point, aim), s=14, color="0.75", zorder=1)
    costs, values = [found.evened_cost_eur(point) for point in curve], [found.value(point, aim) for point in curve]
    axes.plot(costs, values, color=_COLOURS[aim], marker="o", markersize=4, zorder=2)
    ends = (("cost alone", 0, (6, 8)), (f"{aim} alone", -1, (6, -12)))
    for text, place, shift in ends:
        axes.scatter([costs[place]], [values[place]], s=46, facecolor="white", edgecolor=BLACK, zorder=3)
        axes.annotate(text, (costs[place], values[place]), shift, textcoords="offset points", fontsize=9)
    axes.margins(0.12, 0.18)
    axes.set_title(f"grey: weights of the other objectives ({len(others)} runs)" if others else "", fontsize=9)


def _text(found: TradeOff) -> str:
    cost = found.points[0]
    parts = [f"Cost alone: {number(cost.cost_eur)} €."]
    for aim in found.aims:
        last = found.curve(aim)[-1]
        change = found.value(last, aim) - found.value(cost, aim)
        more = found.evened_cost_eur(last) - cost.cost_eur
        parts.append(f"{aim} alone: {number(more)} € more, {_LABELS[aim]} {change:+.1f}.")
    return " ".join(parts)
