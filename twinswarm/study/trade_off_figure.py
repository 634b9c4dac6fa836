"""The trade-off as a figure: cost against each other objective, from cost alone to that objective alone."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from services.analysis.figures import BLACK, BLUE, GREEN, VERMILION, Picture
from services.analysis.figures.canvas import Panel, canvas
from services.analysis.summary import number
from twinswarm.study.trade_off import UNITS, Aim, Point, TradeOff

_LABELS = {
    Aim.CO2: "CO2 of imports [kg]",
    Aim.SELF_CONSUMPTION: "PV produced less exported [kWh]",
    Aim.PEAK: "highest import [kW]",
}
_BETTER = {Aim.CO2: "less", Aim.SELF_CONSUMPTION: "more", Aim.PEAK: "less"}
_SAME = 0.04
"""Points that are apart by less than this part of the panel, both ways, share a mark's label."""
_NEAR = (0.3, 0.12)
"""Labels of places that are nearer than this to the one before, in parts of the panel, would lie upon each other."""
_LETTER = 0.01
"""Width of a label's letter, in parts of the panel: one that ends at its mark needs so much before it."""
_COLOURS = {Aim.CO2: GREEN, Aim.SELF_CONSUMPTION: BLUE, Aim.PEAK: VERMILION}


def figure_of(found: TradeOff) -> Picture:
    """A panel for each objective: along it the cost, on it the curve of its weights, and grey all other runs."""
    aims = found.aims
    labels = [f"{_LABELS[aim]},\n{_BETTER[aim]} is better" for aim in aims]
    figure, drawn = canvas([Panel(label, 2.6, 0.55) for label in labels], None)
    for aim, axes in zip(aims, drawn, strict=True):
        _curve(axes, found, aim)
    if len(aims) > 1:
        drawn[0].set_title("from cost alone to one objective alone; grey: weights of the other objectives", fontsize=9)
    drawn[-1].set_xlabel("cost [€], the demand charge included, energy left in the batteries evened out")
    return Picture(f"{found.site.site}: what other objectives cost", _text(found), figure)


def _curve(axes: Axes, found: TradeOff, aim: Aim) -> None:
    curve = found.curve(aim)
    for point in found.points:
        if point not in curve:
            axes.scatter(found.evened_cost_eur(point), found.value(point, aim), s=14, color="0.75", zorder=1)
    places = [(found.evened_cost_eur(point), found.value(point, aim)) for point in curve]
    axes.plot(*zip(*places, strict=True), color=_COLOURS[aim], marker="o", markersize=4, zorder=2)
    axes.margins(0.14, 0.24)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    for place in (places[0], places[-1]):
        axes.scatter(*place, s=46, facecolor="white", edgecolor=BLACK, zorder=3)
    above = _BETTER[aim] == "less"
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    before: tuple[float, float] | None = None
    for (first, last), text in _labels(curve, places, axes, aim):
        end = last == len(curve) - 1
        x, y = places[first]
        crowded = before is not None and (
            abs(x - before[0]) < _NEAR[0] * (right - left) and abs(y - before[1]) < _NEAR[1] * (high - low)
        )
        shift, side = ((-6, -13) if above else (-6, 8), "right") if end else ((7, 5) if above else (7, -12), "left")
        if crowded and not end:  # on the other side of the curve than the label before it
            shift, side = ((-7, -13) if above else (-7, 7)), "right"
        if side == "right" and x - left < _LETTER * len(text) * (right - left):
            shift, side = (-shift[0], shift[1]), "left"
        axes.annotate(text, (x, y), shift, textcoords="offset points", fontsize=8.5, ha=side)
        before = None if crowded else (x, y)


def _labels(
    curve: Sequence[Point], places: Sequence[tuple[float, float]], axes: Axes, aim: Aim
) -> Iterator[tuple[tuple[int, int], str]]:
    """Marks with their weights: the first and the last point of each, in one place, and what is said there."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    first = 0
    for point in range(1, len(curve) + 1):
        if point < len(curve):
            (x, y), (here_x, here_y) = places[first], places[point]
            if abs(here_x - x) <= _SAME * (right - left) and abs(here_y - y) <= _SAME * (high - low):
                continue
        yield (first, point - 1), _said(curve[first:point], aim)
        first = point


def _said(points: Sequence[Point], aim: Aim) -> str:
    """Weights of points in one place, such as ``cost alone, up to 0.1 €/kWh``."""
    weights = [point.weight for point in points if point.aim is not None and not point.alone]
    parts = ["cost alone"] if points[0].aim is None else []
    if weights:
        span = f"up to {weights[-1]:g}" if parts else f"{weights[0]:g}"
        more = f" to {weights[-1]:g}" if len(weights) > 1 and not parts else ""
        parts.append(f"{span}{more} {UNITS[aim]}")
    if points[-1].alone:
        parts.append(f"{aim} alone")
    return ", ".join(parts)


def _text(found: TradeOff) -> str:
    cost = found.points[0]
    parts = [f"Cost alone: {number(cost.cost_eur)} €."]
    for aim in found.aims:
        last = found.curve(aim)[-1]
        change = found.value(last, aim) - found.value(cost, aim)
        more = found.evened_cost_eur(last) - cost.cost_eur
        parts.append(f"{aim} alone: {number(more)} € more, {_LABELS[aim]} {change:+.1f}.")
    return " ".join(parts)
