"""Why then? Price above power and state of charge of what can wait; and every charger for itself."""

from matplotlib.axes import Axes

from schemas.capabilities import LASTING_STORES, Group
from services.analysis.figures.canvas import (
    BLACK,
    BLUE,
    GREEN,
    PURPLE,
    VERMILION,
    Panel,
    Picture,
    area,
    canvas,
    known,
    legend,
    line,
    steps,
    zero,
)
from services.analysis.figures.data import Series, has_values
from services.analysis.figures.hover import Area, Column
from services.analysis.figures.time_axis import ClockAxis
from services.analysis.summary import number

_FLEXIBLE = (("BESS", Group.BATTERY, BLUE), ("vehicles", Group.VEHICLES, GREEN), ("heat", Group.HEAT, VERMILION))
_STYLES = ("-", "--", "-.", ":")
_ROOM = 12
"""Letters of a device's name beside its row; the pointer shows it whole."""


def flexible(series: Series) -> list[tuple[Column, str]]:
    """Total power of each group that can wait, with its colour."""
    totals = [(series.total(name, group), colour) for name, group, colour in _FLEXIBLE]
    return [(column, colour) for column, colour in totals if column is not None and has_values(column)]


def stores(series: Series) -> list[tuple[str, Column, str]]:
    """The stationary stores: device, its state of charge, colour."""
    return [
        (device, column, BLUE if group is Group.BATTERY else VERMILION)
        for group in LASTING_STORES
        for device in series.names(group)
        if has_values(column := series.soc(device))
    ]


def price_and_storage(series: Series, axis: ClockAxis) -> Picture | None:
    """Price, power and state of charge above one another; None where nothing of it is known."""
    powers, socs = flexible(series), stores(series)
    mean = series.mean_soc(Group.VEHICLES)
    panels, drawn = [], []
    if has_values(series.purchase) or has_values(series.sale):
        panels.append(Panel("price\n[€/kWh]", 1.3, 0.4))
        drawn.append("price")
    if powers:
        panels.append(Panel("power\n[kW]", 1.6, 0.4))
        drawn.append("power")
    if socs or has_values(mean):
        panels.append(Panel("state of\ncharge [%]", 1.6, 0.4))
        drawn.append("soc")
    if not panels:
        return None
    figure, placed = canvas(panels, axis)
    areas: list[Area] = []
    last = {device.device: device.soc_end_frac for device in series.result.devices}
    everything: list[Column] = []
    for axes, what in zip(placed, drawn, strict=True):
        if what == "price":
            line(axes, axis.edges, series.purchase.values, "purchase", PURPLE)
            line(axes, axis.edges, series.sale.values, "sale", BLUE, "--")
            everything += [series.purchase, series.sale]
        elif what == "power":
            for column, colour in powers:
                line(axes, axis.edges, column.values, column.name, colour)
            everything += [column for column, _ in powers]
        else:
            for index, (device, column, colour) in enumerate(socs):
                end = last.get(device)
                values = known([*column.values, None if end is None else 100 * end])
                axes.plot(axis.edges, values, label=column.name, color=colour, linestyle=_STYLES[index % len(_STYLES)])
            if has_values(mean):
                axes.plot(axis.edges[:-1], known(mean.values), label=mean.name, color=GREEN, linewidth=1.2)
            axes.set_ylim(0, 100)
            everything += [*(column for _, column, _ in socs), mean]
        if what != "soc":
            zero(axes)
        legend(axes, 5)
    areas = [area(axes, "quarters", everything) for axes in placed]
    return Picture("Price, power and state of charge", _explained(series), figure, tuple(areas))


def _explained(series: Series) -> str:
    prices = (
        f"In {series.period} the purchase price lies between {series.extremes(series.purchase, 3)}, the sale price "
        f"between {series.extremes(series.sale, 3)}. "
        if has_values(series.purchase)
        else ""
    )
    return (
        f"What can wait, below the price that it waits for: power is positive on charging. {prices}"
        "States of charge are those at the beginning of each period; that of vehicles is the mean of those plugged."
    )


def vehicles(series: Series, axis: ClockAxis) -> Picture | None:
    """A row for each charger to which a vehicle came."""
    used, absent = series.used_chargers()
    if not used:
        return None
    figure, placed = canvas([Panel(device, 0.42, 0.45 if not row else 0.1) for row, device in enumerate(used)], axis)
    powers = {device: series.power(device) for device in used}
    socs = {device: series.soc(device) for device in used}
    most = max((abs(value) for column in powers.values() for value in column.values if value is not None), default=0.0)
    areas = []
    for axes, device in zip(placed, used, strict=True):
        beside = _charger(axes, axis, powers[device], socs[device], most or 1.0)
        name = device if len(device) <= _ROOM else f"{device[: _ROOM - 1]}…"
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axes.yaxis.set_label_coords(-0.01, 0.5)
        areas.append(area(axes, "quarters", [powers[device], socs[device]]))
        if axes is placed[0]:
            handles = [axes.get_legend_handles_labels(), beside.get_legend_handles_labels()]
            both = [found + other for found, other in zip(*handles, strict=True)]
            axes.legend(*both, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, frameon=False, fontsize=9)
    return Picture(
        "Vehicles, charger by charger",
        f"Power as an area from {number(-most, 1)} to {number(most, 1)} kW, charging upwards, the same scale in every "
        "row; the line is the state of charge from 0 to 100 %; grey: a vehicle is plugged." + absence(absent),
        figure,
        tuple(areas),
    )


def absence(absent: list[str]) -> str:
    return f" No vehicle came to {', '.join(absent)}." if absent else ""


def _charger(axes: Axes, axis: ClockAxis, power: Column, soc: Column, most: float) -> Axes:
    """Draws the row; returns its second scale, that of the state of charge."""
    values = known(power.values)
    low, high = -1.1 * most, 1.1 * most
    plugged = [low if value is None else high for value in soc.values]
    steps(axes, axis.edges, plugged, color="#EEEEEE", fill=True, baseline=low, label="plugged")
    steps(axes, axis.edges, [max(value, 0.0) for value in values], color=GREEN, fill=True, label="charging")
    steps(axes, axis.edges, [min(value, 0.0) for value in values], color=VERMILION, fill=True, label="discharging")
    axes.set_ylim(low, high)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    beside = axes.twinx()
    beside.plot(axis.edges[:-1], known(soc.values), color=BLACK, linewidth=1.1, label="SOC")
    beside.set_ylim(-5, 105)
    beside.set_yticks([0, 100], ["0 %", "100 %"], fontsize=7)
    for side in ("top", "left"):
        beside.spines[side].set_visible(False)
    return beside
