"""Figures of a fixed frame: panels one below the other, all time axes of a report at the same place.

Drawn on figures of their own, without pyplot and its global state; the same result gives the same bytes. Colours are
Okabe and Ito's, told apart by the colour-blind, and stay with their component.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from services.analysis.figures.hover import Area, Column
from services.analysis.figures.time_axis import TimeAxis

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, GREY, YELLOW = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#B8B8B8",
    "#F0E442",
)
WIDTH, LEFT, RIGHT = 9.0, 0.9, 0.7
"""Of every figure and of the margins beside its panels [inches]: what keeps the time axes aligned."""
_BOTTOM, _TOP = 0.55, 0.08
_LABEL_IN = -0.5
"""From the vertical axis to its label [inches]."""
_MANY = 200
"""Steps from which on lines are thin, so that they do not hide one another."""
_NAN = float("nan")

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as it goes into a page."""

    title: str
    text: str
    """Description of the picture, also for readers who cannot see it."""
    figure: Figure
    areas: tuple[Area, ...] = ()
    """Where a pointer is answered with values."""

    def svg_uri(self) -> str:
        """As a ``data:`` address."""
        buffer = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": self.title, "svg.fonttype": "path"}):
            self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the drawings of a figure."""

    label: str
    """Of the vertical axis, with its unit."""
    height_in: float = 3.0
    head_in: float = 0.5
    """Above the drawing, for its legend or title."""


def canvas(panels: Sequence[Panel], axis: TimeAxis | None) -> tuple[Figure, list[Axes]]:
    """A figure and its panels from the top down. The last one has the labels of the time ``axis``."""
    height = _TOP + _BOTTOM + sum(panel.head_in + panel.height_in for panel in panels)
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    drawn = []
    bottom = height - _TOP
    for index, panel in enumerate(panels):
        bottom -= panel.head_in + panel.height_in
        axes = figure.add_axes(
            (LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, panel.height_in / height)
        )
        if axis is not None:
            axis.apply(axes, labelled=index == len(panels) - 1)
        axes.set_ylabel(panel.label)
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.use_sticky_edges = False
        axes.margins(y=0.04)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.yaxis.set_label_coords(_LABEL_IN / (WIDTH - LEFT - RIGHT), 0.5)
        drawn.append(axes)
    return figure, drawn


def legend(axes: Axes, columns: int) -> None:
    """Above the drawing, where it covers nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize=9)


def line(
    axes: Axes, edges: Sequence[float], values: Values, label: str, color: str, style: str = "-", width: float = 1.6
) -> None:
    """Values that hold from edge to edge; of many, a thin line."""
    thin = 0.5 if len(values) > _MANY else 1.0
    steps(axes, edges, known(values), label=label, color=color, linestyle=style, linewidth=width * thin)


def steps(
    axes: Axes, edges: Sequence[float], values: Sequence[float], baseline: float | None = None, **how: Any
) -> None:
    """Draws steps; neighbours of the same value are one step, which keeps the page small."""
    kept = [index for index, value in enumerate(values) if not index or not _same(value, values[index - 1])]
    ends = [edges[index] for index in kept] + [edges[-1]]
    axes.stairs(
        [values[index] for index in kept],
        ends,
        baseline=0.0 if how.get("fill") and baseline is None else baseline,
        **how,
    )


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def zero(axes: Axes) -> None:
    axes.axhline(0.0, color=BLACK, linewidth=0.8)


def area(axes: Axes, table: str, columns: Sequence[Column], *, cells: bool = False) -> Area:
    """The part of the figure that ``axes`` takes, once all is drawn."""
    place = axes.get_position()
    box = (place.x0, 1 - place.y1, place.x1, 1 - place.y0)
    return Area(box, axes.get_xlim(), axes.get_ylim(), table, tuple(columns), cells)


def known(values: Values) -> list[float]:
    """With gaps where a value is not known."""
    return [_NAN if value is None else value for value in values]
