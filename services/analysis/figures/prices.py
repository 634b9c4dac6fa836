"""What a kWh costs by the tariff, and what its price is made of."""

from collections.abc import Sequence
from itertools import cycle
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from schemas.site import PricePart
from services.analysis.figures.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Panel,
    Picture,
    canvas,
    legend,
    line,
    zero,
)
from services.analysis.figures.time_axis import ClockAxis, Period

_COLOURS = (SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILION, BLUE, GREY)


class PricedPeriod(Period, Protocol):
    """A piece of time with what the prices are made of in it."""

    @property
    def purchase(self) -> tuple[PricePart, ...]: ...

    @property
    def sale(self) -> tuple[PricePart, ...]: ...


def price_parts(quarters: Sequence[PricedPeriod], zone: str) -> Picture:
    """The purchase price as the stack of its parts, and the sale price likewise."""
    axis = ClockAxis(quarters, zone)
    figure, (bought, sold) = canvas(
        [Panel("purchase price\n[€/kWh]", 2.6, 0.7), Panel("sale price\n[€/kWh]", 1.6, 0.5)], axis
    )
    for axes, parts in ((bought, [q.purchase for q in quarters]), (sold, [q.sale for q in quarters])):
        _stack(axes, axis.edges, parts)
        line(axes, axis.edges, [sum(part.eur_per_kwh for part in each) for each in parts], "price", BLACK)
        zero(axes)
        legend(axes, 5)
    costs = [sum(part.eur_per_kwh for part in quarter.purchase) for quarter in quarters]
    return Picture(
        "Prices and what they are made of",
        f"A kWh costs between {min(costs):.4f} and {max(costs):.4f} € in purchase. Parts above zero are stacked "
        "upwards, those below downwards.",
        figure,
    )


def _stack(axes: Axes, edges: Sequence[float], parts: Sequence[tuple[PricePart, ...]]) -> None:
    """Positive parts upwards from zero, negative ones downwards, each in a colour of its own."""
    names = list(dict.fromkeys(part.name for each in parts for part in each))
    up, down = np.zeros(len(parts)), np.zeros(len(parts))
    for name, colour in zip(names, cycle(_COLOURS), strict=False):
        values = np.array([sum(part.eur_per_kwh for part in each if part.name == name) for each in parts])
        above, below = up + np.maximum(values, 0.0), down + np.minimum(values, 0.0)
        axes.stairs(above, edges, baseline=up, fill=True, color=colour, label=name, linewidth=0)
        if below.min() < 0:
            axes.stairs(below, edges, baseline=down, fill=True, color=colour, linewidth=0)
        up, down = above, below
