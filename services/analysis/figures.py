"""The pictures of a report. Colours are Okabe and Ito's, told apart by the colour-blind, and stay with their component.

Drawn on figures of their own, without pyplot and its global state; the same result gives the same bytes.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from schemas.capabilities import Group
from services.analysis.run_result import QuarterResult, RunResult
from services.analysis.summary import number

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, GREY = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#B8B8B8",
)
_MOST_POINTS = 1_500
"""A picture has no room for more; longer runs are drawn as means of several quarters."""
_NAN = float("nan")
_NEAR = 0.6
"""Of the connection's limit: from there on it is drawn."""
_LIMIT = "limit of the connection"
_HOUR = timedelta(hours=1)

Values = Sequence[float]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as it goes into a page."""

    title: str
    text: str
    """Description of the picture, also for readers who cannot see it."""
    figure: Figure

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


def pictures(result: RunResult) -> list[Picture]:
    """All pictures of a run that has whole quarters; none of one that has none."""
    if not result.quarters:
        return []
    quarters = _thinned(result.quarters)
    axis = _TimeAxis(quarters, result.time_zone)
    drawn = [_components(result, quarters, axis)]
    if result.reference is not None:
        drawn.append(_against_reference(result, quarters, axis))
    if any(soc is not None for quarter in quarters for soc in quarter.soc_frac.values()):
        drawn.append(_socs(result, quarters, axis))
    if any(quarter.purchase_price_eur_per_kwh is not None for quarter in quarters):
        drawn.append(_prices(quarters, axis))
    if any(q.planned_pcc_kw is not None or q.first_plan_pcc_kw is not None for q in quarters):
        drawn.append(_plan_and_actual(quarters, axis))
    return drawn


class _TimeAxis:
    """Hours since the start, labelled with the local clock, so that days of 23 and 25 hours are drawn as they are."""

    def __init__(self, quarters: Sequence[QuarterResult], zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self.start = quarters[0].time
        last = quarters[-1]
        self.end = last.time + timedelta(seconds=last.length_s)
        self.edges = [self._hours(q.time) for q in quarters] + [self._hours(self.end)]

    def _hours(self, time: datetime) -> float:
        return (time - self.start) / _HOUR

    def apply(self, axes: Axes) -> None:
        length = (self.end - self.start) / _HOUR
        every = next((hours for hours in (1, 2, 3, 6, 12) if length / hours <= 13), None)
        if every is None:
            ticks, labels = self._days(ceil(length / 24 / 12))
        else:
            ticks, labels = self._clock(every)
        axes.set_xticks(ticks, labels)
        axes.set_xlim(self.edges[0], self.edges[-1])
        axes.set_xlabel(f"local time ({self.zone.key}), {self._period()}")

    def _clock(self, every: int) -> tuple[list[float], list[str]]:
        ticks, labels = [], []
        time = self.start.replace(minute=0, second=0, microsecond=0)
        while time <= self.end:
            clock = time.astimezone(self.zone)
            # Of the hour that exists twice the first is labelled: two labels would lie on one another.
            if time >= self.start and clock.hour % every == 0 and clock.minute == 0 and not clock.fold:
                ticks.append(self._hours(time))
                end_of_day = clock.hour == 0 and time == self.end
                labels.append("24:00" if end_of_day else f"{clock:%H:%M}")
            time += timedelta(minutes=30)
        return ticks, labels

    def _days(self, every: int) -> tuple[list[float], list[str]]:
        ticks, labels = [], []
        day = self.start.astimezone(self.zone).date()
        while (midnight := datetime(day.year, day.month, day.day, tzinfo=self.zone)) <= self.end:
            if midnight >= self.start:
                ticks.append(self._hours(midnight))
                labels.append(f"{day:%d.%m.}")
            day += timedelta(days=every)
        return ticks, labels

    def _period(self) -> str:
        first = self.start.astimezone(self.zone).date()
        last = (self.end - timedelta(seconds=1)).astimezone(self.zone).date()
        return f"{first}" if first == last else f"{first} to {last}"


def _canvas(label: str, axis: _TimeAxis, height: float = 3.7) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axis.apply(axes)
    axes.set_ylabel(label)
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.use_sticky_edges = False
    axes.margins(y=0.04)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _legend(axes: Axes, columns: int) -> None:
    """Above the drawing, where it covers nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize=9)


def _line(
    axes: Axes, axis: _TimeAxis, values: Values, label: str, color: str, style: str = "-", width: float = 1.6
) -> None:
    axes.stairs(values, axis.edges, baseline=None, label=label, color=color, linestyle=style, linewidth=width)


def _components(result: RunResult, quarters: Sequence[QuarterResult], axis: _TimeAxis) -> Picture:
    figure, axes = _canvas("mean power [kW]", axis, 4.4)
    groups = {device.device: device.group for device in result.devices}
    chargers = sum(group is Group.VEHICLES for group in groups.values())

    def total(group: Group, sign: int) -> list[float]:
        names = [name for name, found in groups.items() if found is group]
        return [sum(max(sign * (q.power_kw.get(name) or 0.0), 0.0) for name in names) for q in quarters]

    charger = "charger" if chargers == 1 else f"{chargers} chargers"
    drawing = [
        ("load", total(Group.LOAD, 1), ORANGE, ""),
        ("losses", [max(q.losses_kw or 0.0, 0.0) for q in quarters], GREY, ""),
        (f"{charger}, charging", total(Group.VEHICLES, 1), GREEN, ""),
        ("BESS, charging", total(Group.BATTERY, 1), BLUE, ""),
        ("heat", total(Group.HEAT, 1), VERMILION, ""),
    ]
    giving = [
        (
            "PV",
            [a + b for a, b in zip(total(Group.GENERATION, -1), total(Group.LOAD, -1), strict=True)],
            "#F0E442",
            "",
        ),
        ("BESS, discharging", total(Group.BATTERY, -1), BLUE, "////"),
        (f"{charger}, discharging", total(Group.VEHICLES, -1), GREEN, "////"),
    ]
    for parts, sign in ((drawing, 1.0), (giving, -1.0)):
        base = [0.0] * len(quarters)
        for label, values, color, hatch in parts:
            if not any(values):
                continue
            top = [b + sign * v for b, v in zip(base, values, strict=True)]
            axes.stairs(
                top,
                axis.edges,
                baseline=base,
                fill=True,
                label=label,
                facecolor=color,
                edgecolor="white",
                linewidth=0.0,
                hatch=hatch,
            )
            base = top
    _line(axes, axis, [_known(q.pcc_kw) for q in quarters], "PCC (import positive)", BLACK)
    axes.axhline(0.0, color=BLACK, linewidth=0.8)
    _legend(axes, 4)
    return Picture(
        "Power by component",
        "What draws power is stacked upwards, what gives power downwards; the black line is the power at the point of "
        "common coupling (PCC), which is their sum. "
        f"The PCC lies between {_extremes([q.pcc_kw for q in quarters], 'kW')}.",
        figure,
    )


def _against_reference(result: RunResult, quarters: Sequence[QuarterResult], axis: _TimeAxis) -> Picture:
    figure, axes = _canvas("mean power at the PCC [kW]", axis)
    actual = [_known(q.pcc_kw) for q in quarters]
    reference = [_known(q.reference_pcc_kw) for q in quarters]
    axes.stairs(actual, axis.edges, baseline=reference, fill=True, color=SKY, alpha=0.35, label="difference")
    _line(axes, axis, reference, f"baseline ({result.reference})", VERMILION, "--")
    _line(axes, axis, actual, "this run", BLACK)
    axes.axhline(0.0, color=BLACK, linewidth=0.8)
    _limits(axes, result)
    _legend(axes, 3)
    return Picture(
        "PCC against the baseline",
        f"Power at the PCC, positive on import. This run lies between {_extremes([q.pcc_kw for q in quarters], 'kW')}, "
        f"the baseline ({result.reference}) between {_extremes([q.reference_pcc_kw for q in quarters], 'kW')}.",
        figure,
    )


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


def _socs(result: RunResult, quarters: Sequence[QuarterResult], axis: _TimeAxis) -> Picture:
    figure, axes = _canvas("state of charge [%]", axis)
    names = {name: None for quarter in quarters for name in quarter.soc_frac}
    groups = {device.device: device.group for device in result.devices}
    chargers = [name for name in names if groups.get(name) is Group.VEHICLES]
    styles = ("-", "--", "-.", ":")
    # After the last quarter's beginning there is one instant more: what was told last.
    last = {device.device: device.soc_end_frac for device in result.devices}

    def percents(name: str) -> list[float]:
        return [100 * _known(q.soc_frac.get(name)) for q in quarters] + [100 * _known(last.get(name))]

    for index, name in enumerate(chargers):
        # So many shades of one colour as are needed; the line's style tells neighbours apart.
        shade = 0.35 + 0.65 * (index + 1) / len(chargers)
        style = styles[index % len(styles)]
        axes.plot(axis.edges, percents(name), label=f"vehicle at {name}", color=GREEN, alpha=shade, linestyle=style)
    for name in names:
        if groups.get(name) is Group.BATTERY:
            axes.plot(axis.edges, percents(name), label="BESS" if name == "bess" else name, color=BLUE, linewidth=2.2)
        elif groups.get(name) is Group.HEAT:
            axes.plot(axis.edges, percents(name), label=f"heat, {name}", color=VERMILION, linewidth=2.2)
    axes.set_ylim(0, 100)
    _legend(axes, 5)
    return Picture(
        "State of charge",
        "Of the stationary stores, and of the vehicles while they are plugged, quarter by quarter.",
        figure,
    )


def _prices(quarters: Sequence[QuarterResult], axis: _TimeAxis) -> Picture:
    figure, axes = _canvas("price [€/kWh]", axis, 3.2)
    _line(axes, axis, [_known(q.purchase_price_eur_per_kwh) for q in quarters], "purchase", PURPLE)
    _line(axes, axis, [_known(q.sale_price_eur_per_kwh) for q in quarters], "sale", BLUE, "--")
    axes.axhline(0.0, color=BLACK, linewidth=0.8)
    _legend(axes, 2)
    return Picture(
        "Prices",
        f"Purchase between {_extremes([q.purchase_price_eur_per_kwh for q in quarters], '€/kWh', 3)}, "
        f"sale between {_extremes([q.sale_price_eur_per_kwh for q in quarters], '€/kWh', 3)}.",
        figure,
    )


def _plan_and_actual(quarters: Sequence[QuarterResult], axis: _TimeAxis) -> Picture:
    figure, axes = _canvas("mean power at the PCC [kW]", axis)
    _line(axes, axis, [_known(q.planned_pcc_kw) for q in quarters], "plan of the same quarter", ORANGE, "-", 3.4)
    _line(axes, axis, [_known(q.first_plan_pcc_kw) for q in quarters], "first plan of the run", BLUE, "--", 1.8)
    _line(axes, axis, [_known(q.pcc_kw) for q in quarters], "actual", BLACK, "-", 1.0)
    axes.axhline(0.0, color=BLACK, linewidth=0.8)
    _legend(axes, 3)
    errors = [
        abs(q.pcc_kw - q.planned_pcc_kw) for q in quarters if q.pcc_kw is not None and q.planned_pcc_kw is not None
    ]
    apart = f" The quarter's own plan and the measurement are at most {max(errors):.2f} kW apart." if errors else ""
    return Picture(
        "Plan and actual",
        "Power at the PCC as the run's first plan foresaw it, as planned just after each quarter began, and as it was."
        + apart,
        figure,
    )


def _known(value: float | None) -> float:
    return _NAN if value is None else value


def _extremes(values: Sequence[float | None], unit: str, digits: int = 1) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "unknown limits"
    return f"{number(min(known), digits)} and {number(max(known), digits)} {unit}"


def _thinned(quarters: Sequence[QuarterResult]) -> list[QuarterResult]:
    """Means of so many consecutive quarters that a picture can show them."""
    together = ceil(len(quarters) / _MOST_POINTS)
    if together == 1:
        return list(quarters)
    return [_merged(quarters[first : first + together]) for first in range(0, len(quarters), together)]


def _merged(group: Sequence[QuarterResult]) -> QuarterResult:
    def mean(value: Callable[[QuarterResult], float | None]) -> float | None:
        known = [found for quarter in group if (found := value(quarter)) is not None]
        return sum(known) / len(known) if known else None

    return replace(
        group[0],
        length_s=sum(quarter.length_s for quarter in group),
        pcc_kw=mean(lambda q: q.pcc_kw),
        reference_pcc_kw=mean(lambda q: q.reference_pcc_kw),
        planned_pcc_kw=mean(lambda q: q.planned_pcc_kw),
        first_plan_pcc_kw=mean(lambda q: q.first_plan_pcc_kw),
        purchase_price_eur_per_kwh=mean(lambda q: q.purchase_price_eur_per_kwh),
        sale_price_eur_per_kwh=mean(lambda q: q.sale_price_eur_per_kwh),
        losses_kw=mean(lambda q: q.losses_kw),
        power_kw={name: mean(lambda q, name=name: q.power_kw.get(name)) for name in group[0].power_kw},  # type: ignore[misc]
    )
