"""Heat maps: a column is a local day, a row a time of day, so that a month can be read without its days merging."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from services.analysis.figures.canvas import LEFT, RIGHT, WIDTH, Panel, Picture, area, canvas
from services.analysis.figures.data import Series, has_values
from services.analysis.figures.hover import Area, Column
from services.analysis.figures.pcc import gap, largest_gap
from services.analysis.figures.storage import absence, flexible, stores
from services.analysis.figures.time_axis import DayAxis

_UNKNOWN = "#E4E4E4"
_BAR_IN, _BAR_GAP_IN = 0.12, 0.08
_PER_ROW = 4
"""Small maps beside one another."""


@dataclass(frozen=True, slots=True)
class _Map:
    title: str
    column: Column
    colours: str
    least: float
    most: float


def _signed(title: str, column: Column, most: float | None = None) -> _Map:
    """Zero is white; red is drawn, blue is given."""
    most = most or _largest(column) or 1.0
    return _Map(title, column, "RdBu_r", -most, most)


def _plain(title: str, column: Column, least: float | None = None, most: float | None = None) -> _Map:
    values = [value for value in column.values if value is not None]
    return _Map(
        title, column, "cividis", min(values) if least is None else least, max(values) if most is None else most
    )


def signed_maps(
    titled: Sequence[tuple[str, Column]], axis: DayAxis, height_in: float
) -> tuple[Figure, tuple[Area, ...]]:
    """A map for each column of powers, all on one scale; zero is white, red is drawn, blue is given."""
    most = max(_largest(column) for _, column in titled) or 1.0
    return _stacked([_signed(title, column, most) for title, column in titled], axis, height_in)


def pcc_maps(series: Series, axis: DayAxis) -> Picture:
    """Run and baseline on one scale."""
    titled = [("this run", series.pcc)]
    compared = ""
    if has_values(series.baseline):
        titled.append((f"baseline ({series.result.reference})", series.baseline))
        compared = f", the baseline's between {series.extremes(series.baseline)}"
    figure, areas = signed_maps(titled, axis, 1.7)
    return Picture(
        "PCC by day and time of day",
        f"Mean power at the PCC; red is import, blue is export. In {series.period} it lies between "
        f"{series.extremes(series.pcc)}{compared}.{clock_note(axis)}",
        figure,
        areas,
    )


def price_and_storage_maps(series: Series, axis: DayAxis) -> Picture | None:
    """Price above power and state of charge of what can wait; None where nothing of it is known."""
    maps = [_plain(f"{column.name} price", column) for column in (series.purchase, series.sale) if has_values(column)]
    maps += [_signed(f"{column.name}, power", column) for column, _ in flexible(series)]
    maps += [_plain(column.name, column, 0.0, 100.0) for _, column, _ in stores(series)]
    if not maps:
        return None
    figure, areas = _stacked(maps, axis, 1.05)
    shown = tuple(entry.column for entry in maps)
    areas = tuple(Area(a.box, a.x, a.y, a.table, shown, a.cells) for a in areas)
    prices = (
        f" In {series.period} the purchase price lies between {series.extremes(series.purchase, 3)}, the sale price "
        f"between {series.extremes(series.sale, 3)}."
        if has_values(series.purchase)
        else ""
    )
    return Picture(
        "Price, power and state of charge by day and time of day",
        f"What can wait, below the price that it waits for; red is charging, blue is discharging.{prices}"
        f"{clock_note(axis)}",
        figure,
        areas,
    )


def vehicle_maps(series: Series, axis: DayAxis) -> Picture | None:
    """A small map for each charger to which a vehicle came: its state of charge, or its power where none is known."""
    used, absent = series.used_chargers()
    if not used:
        return None
    by_soc = [(device, series.soc(device)) for device in used if has_values(series.soc(device))]
    powers = [(device, series.power(device)) for device in used if not has_values(series.soc(device))]
    most = max((_largest(column) for _, column in powers), default=0.0) or 1.0
    maps = [_plain(device, column, 0.0, 100.0) for device, column in by_soc]
    maps += [_signed(f"{device}, power", column, most) for device, column in powers]
    columns = min(_PER_ROW, len(maps))
    height, head, gap_in = 0.95, 0.3, 0.12
    count = math.ceil(len(maps) / columns)
    figure, rows = canvas([Panel("", height, head)] * count, axis)
    inner = (WIDTH - LEFT - RIGHT - gap_in * (columns - 1)) / columns
    areas: list[Area] = []
    images: dict[str, tuple[Any, str]] = {}
    for row, frame in enumerate(rows):
        place = frame.get_position()
        frame.remove()
        for column, entry in enumerate(maps[row * columns : (row + 1) * columns]):
            left = (LEFT + column * (inner + gap_in)) / WIDTH
            axes = figure.add_axes((left, place.y0, inner / WIDTH, place.height))
            below = (row + 1) * columns + column >= len(maps)
            images[entry.colours] = (_draw(axes, entry, axis, labelled=False), entry.column.unit)
            _sparse(axes, axis, labelled=below, clock=not column)
            power = series.power(used[row * columns + column]) if entry.column.unit == "%" else None
            areas.append(area(axes, "quarters", [entry.column, *([power] if power else [])], cells=True))
    top, bottom = rows[0].get_position().y1, rows[-1].get_position().y0
    for index, (image, unit) in enumerate(images.values()):
        span = (top - bottom) / len(images)
        _bar(figure, image, f"[{unit}]", top - (index + 1) * span, span * (1 if len(images) == 1 else 0.85))
    without = " Where no state of charge is known, the power is shown (red: charging)." if powers else ""
    return Picture(
        "Vehicles, charger by charger",
        f"State of charge of the plugged vehicle by local day and time of day; grey: no vehicle.{without}"
        f"{absence(absent)}{clock_note(axis)}",
        figure,
        tuple(areas),
    )


def plan_map(series: Series, axis: DayAxis) -> Picture:
    figure, areas = _stacked([_signed("actual minus plan", gap(series))], axis, 1.7)
    areas = tuple(Area(a.box, a.x, a.y, a.table, (series.pcc, series.planned, gap(series)), a.cells) for a in areas)
    return Picture(
        "Plan and actual",
        "By how much the power at the PCC was above (red) or below (blue) the plan made just after each quarter began."
        + largest_gap(series)
        + clock_note(axis),
        figure,
        areas,
    )


def _stacked(maps: Sequence[_Map], axis: DayAxis, height_in: float) -> tuple[Figure, tuple[Area, ...]]:
    """Full width, one below the other, each with its scale."""
    figure, placed = canvas([Panel("local time", height_in, 0.3) for _ in maps], axis)
    areas = []
    for index, (axes, entry) in enumerate(zip(placed, maps, strict=True)):
        image = _draw(axes, entry, axis, labelled=index == len(maps) - 1)
        axes.set_ylabel("local time" if height_in > 1.5 else "")
        place = axes.get_position()
        _bar(figure, image, f"[{entry.column.unit}]", place.y0, place.height)
        areas.append(area(axes, "quarters", [entry.column], cells=True))
    return figure, tuple(areas)


def _draw(axes: Axes, entry: _Map, axis: DayAxis, *, labelled: bool) -> Any:
    """One pixel for a settlement period. Those of the hour that a day has twice share one: their mean."""
    sums = np.zeros(axis.days * axis.rows)
    counts = np.zeros(axis.days * axis.rows)
    for cell, value in zip(axis.cells, entry.column.values, strict=True):
        if value is not None:
            sums[cell] += value
            counts[cell] += 1
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    axes.grid(visible=False)
    axes.set_facecolor(_UNKNOWN)
    image = axes.imshow(
        means.reshape(axis.days, axis.rows).T,
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(0.0, float(axis.days), 0.0, 24.0),
        cmap=entry.colours,
        vmin=entry.least,
        vmax=entry.most,
    )
    axis.apply(axes, labelled=labelled)
    axes.set_ylim(0, 24)
    hours = (0, 6, 12, 18, 24)
    axes.set_yticks(hours, [f"{hour:02d}:00" for hour in hours], fontsize=8)
    axes.set_title(entry.title, loc="left", fontsize=9, pad=3)
    return image


def _sparse(axes: Axes, axis: DayAxis, *, labelled: bool, clock: bool) -> None:
    """Fewer labels, for small maps."""
    axis.ticks(axes, 3, labelled=labelled)
    axes.tick_params(labelsize=8)
    axes.set_yticks([0, 12, 24], ["00:00", "12:00", "24:00"] if clock else [""] * 3)


def _bar(figure: Figure, image: Any, label: str, bottom: float, height: float) -> None:
    left = (WIDTH - RIGHT + _BAR_GAP_IN) / WIDTH
    axes = figure.add_axes((left, bottom, _BAR_IN / WIDTH, height))
    bar = figure.colorbar(image, cax=axes)
    bar.ax.tick_params(labelsize=8)
    bar.ax.set_title(label, fontsize=8, loc="left", pad=4)
    bar.outline.set_visible(False)


def _largest(column: Column) -> float:
    return max((abs(value) for value in column.values if value is not None), default=0.0)


def clock_note(axis: DayAxis) -> str:
    """How the days are drawn on which the clocks change; empty where there are none."""
    if not axis.clock_changes:
        return ""
    return " The hour that a day has twice shows the mean of both; the hour that a day lacks is grey."
