"""Who draws and who gives power: by settlement period, or by day in a long run."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from schemas.capabilities import Group
from services.analysis.figures.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    YELLOW,
    Panel,
    Picture,
    area,
    canvas,
    legend,
    line,
    zero,
)
from services.analysis.figures.data import Series, has_power
from services.analysis.figures.hover import Column
from services.analysis.figures.time_axis import ClockAxis, DayAxis

Part = tuple[Column, str, str]
"""Values, colour, hatch."""


def parts(series: Series) -> tuple[list[Part], list[Part]]:
    """What draws and what gives power in this run; what never did is left out."""
    chargers = len(series.names(Group.VEHICLES))
    charger = "charger" if chargers == 1 else f"{chargers} chargers"
    drawing = [
        (series.part("load", Group.LOAD, 1), ORANGE, ""),
        (series.column("losses", "kW", lambda q: max(q.losses_kw or 0.0, 0.0)), GREY, ""),
        (series.part(f"{charger}, charging", Group.VEHICLES, 1), GREEN, ""),
        (series.part("BESS, charging", Group.BATTERY, 1), BLUE, ""),
        (series.part("heat", Group.HEAT, 1), VERMILION, ""),
    ]
    generation, back = series.part("PV", Group.GENERATION, -1), series.part("load", Group.LOAD, -1)
    pv = Column("PV", "kW", [(a or 0.0) + (b or 0.0) for a, b in zip(generation.values, back.values, strict=True)])
    giving = [
        (pv, YELLOW, ""),
        (series.part("BESS, discharging", Group.BATTERY, -1), BLUE, "////"),
        (series.part(f"{charger}, discharging", Group.VEHICLES, -1), GREEN, "////"),
    ]
    return [part for part in drawing if has_power(part[0])], [part for part in giving if has_power(part[0])]


def power_by_component(series: Series, axis: ClockAxis) -> Picture:
    figure, (axes,) = canvas([Panel("mean power [kW]", 3.5, 0.75)], axis)
    drawing, giving = parts(series)
    _stack(axes, axis.edges, drawing, giving)
    line(axes, axis.edges, series.pcc.values, "PCC (import positive)", BLACK)
    zero(axes)
    legend(axes, 4)
    shown = [series.pcc, *(column for column, _, _ in (*drawing, *giving))]
    return Picture(
        "Power by component",
        "What draws power is stacked upwards, what gives power downwards; the black line is the power at the point of "
        "common coupling (PCC), which is their sum. "
        f"In {series.period} the PCC lies between {series.extremes(series.pcc)}.",
        figure,
        (area(axes, "quarters", shown),),
    )


def energy_by_day(series: Series, axis: DayAxis) -> Picture:
    """Stacked bars of a day's energies."""

    def days(column: Column) -> Column:
        sums: list[float | None] = [None] * axis.days
        for cell, value, hours in zip(axis.cells, column.values, series.lengths_h, strict=True):
            if value is not None:
                day = cell // axis.rows
                sums[day] = (sums[day] or 0.0) + value * hours
        return Column(column.name, "kWh", sums)

    figure, (axes,) = canvas([Panel("energy [kWh per day]", 3.0, 0.75)], axis)
    drawing, giving = ([(days(column), colour, hatch) for column, colour, hatch in some] for some in parts(series))
    _stack(axes, axis.edges, drawing, giving)
    net = days(Column("PCC, import minus export", "kWh", series.pcc.values))
    line(axes, axis.edges, net.values, net.name, BLACK)
    zero(axes)
    legend(axes, 4)
    return Picture(
        "Energy by component and day",
        "A bar is a local day: what drew energy is stacked upwards, what gave energy downwards; the black line is what "
        "was imported at the PCC minus what was exported. Sums of a day, in which the highest powers do not show: "
        f"in {series.period} the PCC lies between {series.extremes(series.pcc)}.",
        figure,
        (area(axes, "days", [net, *(column for column, _, _ in (*drawing, *giving))]),),
    )


def _stack(axes: Axes, edges: Sequence[float], drawing: Sequence[Part], giving: Sequence[Part]) -> None:
    for some, sign in ((drawing, 1.0), (giving, -1.0)):
        base = [0.0] * (len(edges) - 1)
        for column, colour, hatch in some:
            top = [b + sign * (v or 0.0) for b, v in zip(base, column.values, strict=True)]
            axes.stairs(
                top,
                edges,
                baseline=base,
                fill=True,
                label=column.name,
                facecolor=colour,
                edgecolor="white",
                linewidth=0.0,
                hatch=hatch,
            )
            base = top
