"""Power at the PCC: against the baseline, against the plans, its extremes day by day, and how long it is how high."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes

from services.analysis.figures.canvas import (
    BLACK,
    BLUE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Panel,
    Picture,
    area,
    canvas,
    known,
    legend,
    line,
    zero,
)
from services.analysis.figures.data import Series, has_values
from services.analysis.figures.hover import Column
from services.analysis.figures.time_axis import ClockAxis, DayAxis
from services.analysis.run_result import RunResult
from services.analysis.summary import number

POINTS = 1_000
"""Of a duration curve: more cannot be seen. Both ends are among them."""
_NEAR = 0.6
"""Of the connection's limit: from there on it is drawn."""
_LIMIT = "limit of the connection"


def against_baseline(series: Series, axis: ClockAxis) -> Picture:
    result = series.result
    figure, (axes,) = canvas([Panel("mean power at the PCC [kW]", 2.8)], axis)
    actual, reference = known(series.pcc.values), known(series.baseline.values)
    axes.stairs(actual, axis.edges, baseline=reference, fill=True, color=SKY, alpha=0.35, label="difference")
    line(axes, axis.edges, reference, f"baseline ({result.reference})", VERMILION, "--")
    line(axes, axis.edges, actual, "this run", BLACK)
    zero(axes)
    _limits(axes, result)
    legend(axes, 4)
    return Picture(
        "PCC against the baseline",
        f"Power at the PCC, positive on import. In {series.period} this run lies between "
        f"{series.extremes(series.pcc)}, the baseline ({result.reference}) between {series.extremes(series.baseline)}.",
        figure,
        (area(axes, "quarters", [series.pcc, series.baseline]),),
    )


def extremes_by_day(series: Series, axis: DayAxis) -> Picture:
    """The highest and the lowest settlement period of each day."""
    result = series.result
    figure, (axes,) = canvas([Panel("power at the PCC [kW]", 2.6)], axis)
    shown = []
    for column, name, colour, shift, width in (
        (series.baseline, "baseline", VERMILION, 0.66, 0.18),
        (series.pcc, "this run", BLACK, 0.34, 0.34),
    ):
        if not has_values(column):
            continue
        highest, lowest = _by_day(column, axis, max), _by_day(column, axis, min)
        heights = [_gap(top, low) for top, low in zip(highest, lowest, strict=True)]
        places = [day + shift for day in range(axis.days)]
        label = f"{name} ({result.reference})" if column is series.baseline else name
        axes.bar(places, heights, width=width, bottom=known(lowest), color=colour, label=label, linewidth=0)
        shown += [Column(f"{name}, highest", "kW", highest), Column(f"{name}, lowest", "kW", lowest)]
    zero(axes)
    _limits(axes, result)
    legend(axes, 4)
    compared = f", the baseline's between {series.extremes(series.baseline)}" if has_values(series.baseline) else ""
    return Picture(
        "Extremes of each day",
        f"From the lowest to the highest of the {series.period} of each local day, positive on import. "
        f"Over the run they lie between {series.extremes(series.pcc)}{compared}.",
        figure,
        (area(axes, "days", shown),),
    )


def duration_curve(series: Series) -> Picture:
    """Powers in falling order over the share of the time."""
    result = series.result
    figure, (axes,) = canvas([Panel("mean power at the PCC [kW]", 2.8)], None)
    points = min(POINTS, max(sum(v is not None for v in c.values) for c in (series.pcc, series.baseline)))
    run = Column("this run", "kW", falling(series.pcc.values, points))
    edges = share_edges(points)
    shown = [run]
    if has_values(series.baseline):
        shown.append(Column("baseline", "kW", falling(series.baseline.values, points)))
        line(axes, edges, shown[1].values, f"baseline ({result.reference})", VERMILION, "--")
    line(axes, edges, run.values, "this run", BLACK)
    zero(axes)
    _limits(axes, result)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the time in which the power is at least as high [%]")
    legend(axes, 4)
    compared = (
        f" and the baseline from {_span(series.baseline)}, so the highest import "
        f"{_change(result.import_peak_kw, result.reference_import_peak_kw)}"
        if has_values(series.baseline)
        else ""
    )
    return Picture(
        "Duration curve of the PCC",
        f"All {series.period} in falling order, positive on import: at the left end the highest, at the right end the "
        f"lowest. This run goes from {_span(series.pcc)}{compared}.",
        figure,
        (area(axes, "duration", shown),),
    )


def plan_and_actual(series: Series, axis: ClockAxis) -> Picture:
    figure, (axes,) = canvas([Panel("mean power at the PCC [kW]", 2.8)], axis)
    line(axes, axis.edges, series.planned.values, "plan of the same quarter", ORANGE, "-", 3.4)
    line(axes, axis.edges, series.first_plan.values, "first plan of the run", BLUE, "--", 1.8)
    line(axes, axis.edges, series.pcc.values, "actual", BLACK, "-", 1.0)
    zero(axes)
    legend(axes, 3)
    return Picture(
        "Plan and actual",
        "Power at the PCC as the run's first plan foresaw it, as planned just after each quarter began, and as it was."
        + largest_gap(series),
        figure,
        (area(axes, "quarters", [series.pcc, series.planned, series.first_plan]),),
    )


def gap(series: Series) -> Column:
    """By how much the power was above the plan made for the same settlement period."""
    return series.column(
        "actual minus plan",
        "kW",
        lambda q: None if q.pcc_kw is None or q.planned_pcc_kw is None else q.pcc_kw - q.planned_pcc_kw,
    )


def largest_gap(series: Series) -> str:
    errors = [abs(value) for value in gap(series).values if value is not None]
    return f" The quarter's own plan and the measurement are at most {max(errors):.2f} kW apart." if errors else ""


def falling(values: Sequence[float | None], points: int) -> list[float | None]:
    """``points`` of the known values in falling order, evenly spaced, the highest and the lowest among them."""
    ordered = sorted((value for value in values if value is not None), reverse=True)
    if not ordered:
        return [None] * points
    return [ordered[round(index * (len(ordered) - 1) / max(points - 1, 1))] for index in range(points)]


def share_edges(points: int) -> list[float]:
    """Of a duration curve [%]."""
    return [100 * index / points for index in range(points + 1)]


def _by_day(column: Column, axis: DayAxis, best: Callable[[float, float], float]) -> list[float | None]:
    found: list[float | None] = [None] * axis.days
    for cell, value in zip(axis.cells, column.values, strict=True):
        if value is not None:
            day, before = cell // axis.rows, found[cell // axis.rows]
            found[day] = value if before is None else best(before, value)
    return found


def _gap(top: float | None, low: float | None) -> float:
    return float("nan") if top is None or low is None else top - low


def _span(column: Column) -> str:
    values = [value for value in column.values if value is not None]
    return f"{number(max(values), 1)} to {number(min(values), 1)} kW" if values else "unknown powers"


def _change(run_kw: float | None, reference_kw: float | None) -> str:
    if run_kw is None or reference_kw is None:
        return "is not known"
    change = run_kw - reference_kw
    if abs(change) < 0.05:
        return "is the same"
    return f"is {number(abs(change), 1, 'kW')} {'higher' if change > 0 else 'lower'} than the baseline's"


def _limits(axes: Axes, result: RunResult) -> None:
    """The connection's limits, where the power comes near enough for the scale to stay legible."""
    label = _LIMIT
    for own, reference, limit in (
        (result.import_peak_kw, result.reference_import_peak_kw, result.import_limit_kw),
        (result.export_peak_kw, result.reference_export_peak_kw, -result.export_limit_kw),
    ):
        if max(own or 0.0, reference or 0.0) >= _NEAR * abs(limit):
            axes.axhline(limit, color=PURPLE, linewidth=1.2, linestyle=":", label=label)
            label = ""  # one entry in the legend
