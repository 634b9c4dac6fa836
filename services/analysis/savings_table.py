"""Days and their sum in a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.analysis.day_result import DayResult, sum_of
from services.analysis.summary import UNKNOWN, number
from services.analysis.timeliness import too_late

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = (
    *("cost\n€", "base-\nline €", "saved\n€", "PSF", "import\nkWh", "export\nkWh", "losses\nkWh"),
    *("stored\nkWh", "stored\n€", "error\nkWh"),
)


def savings_table(site: str, reference: str, days: Sequence[DayResult]) -> "Table":
    """A row per day and one for their sum; incomplete days with their hours. 80 columns wide."""
    from rich.box import SIMPLE
    from rich.table import Table

    caption = (
        "Saved: cost of the baseline minus cost of the run. PSF: peak-shaving factor. Import, export: energy at the "
        "PCC. Losses: in the network. Stored: energy left in batteries above the baseline's, at the mean purchase "
        "price; not in the savings. Error: largest gap of the energy balance in a step."
    )
    table = Table(
        title=f"{site}, against the baseline {reference}",
        box=SIMPLE,
        padding=0,
        pad_edge=False,
        show_edge=False,
        title_style="bold",
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("local\nday", no_wrap=True)
    for head in _COLUMNS:
        table.add_column(head, justify="right", no_wrap=True)
    for day in days:
        table.add_row(str(day.date) + _cut(day), *_values(day))
    table.add_section()
    table.add_row("sum", *_values(sum_of(days)), style="bold")
    return table


def peaks_table(days: Sequence[DayResult]) -> "Table":
    """The highest quarter-hours of import, and the charge on them where the tariff has one; wear where it is priced."""
    from rich.box import SIMPLE
    from rich.table import Table

    charged = any(day.demand_charge_eur is not None for day in days)
    worn = any(day.wear_eur is not None for day in days)
    aged = any(day.calendar_wear_eur is not None for day in days)
    notes = "Highest: mean import of a settlement period at the PCC; of the sum, the highest of all days."
    paid = next((day.paid_peak_kw for day in days if day.paid_peak_kw is not None), None)
    if charged:
        above = "" if paid is None else f", above the {number(paid)} kW from before the run, which are paid"
        notes += (
            f" Charge: the month's demand charge, if that were the month's highest{above}; it is a month's money, "
            "once, and not in the costs above."
        )
    if worn:
        notes += " Wear: by the throughput of the BESS and what vehicles gave back; not in the costs above."
    if aged:
        notes += (
            " Calendar: wear of BESS and plugged vehicles by SOC and time, less what vehicles have in the baseline; "
            "not in the costs above."
        )
    table = Table(
        title="Highest import",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title_style="bold",
        title_justify="left",
        caption=notes,
        caption_justify="left",
        width=80,
    )
    table.add_column("local\nday", no_wrap=True)
    heads = ["highest\nkW", "base-\nline kW"]
    heads += ["charge\n€", "base-\nline €", "saved\n€"] * charged + ["wear\n€"] * worn + ["calen-\ndar €"] * aged
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, day in [*((str(day.date) + _cut(day), day) for day in days), ("sum", sum_of(days))]:
        values = [number(day.import_peak_kw, 2), number(day.reference_import_peak_kw, 2)]
        if charged:
            values += [
                number(value)
                for value in (day.demand_charge_eur, day.reference_demand_charge_eur, day.demand_savings_eur)
            ]
        values += [number(day.wear_eur)] * worn + [number(_more_calendar_wear_eur(day))] * aged
        table.add_row(name, *values, style="bold" if name == "sum" else None)
    return table


def lateness_lines(days: Sequence[DayResult]) -> list[str]:
    """A line for each day on which set-points came too late or time ran too fast: its savings are not the plan's."""
    return [f"{day.date}: {late}" for day in days if (late := too_late(day)) is not None]


def _more_calendar_wear_eur(day: DayResult) -> float | None:
    wear = day.calendar_wear_eur
    return None if wear is None else wear - (day.reference_vehicle_calendar_wear_eur or 0.0)


def _cut(day: DayResult) -> str:
    if day.complete:
        return ""
    unsettled = f", {day.unsettled_steps} steps unknown" if day.unsettled_steps else ""
    return f"\n({number(day.hours, 2)} h{unsettled})"


def _values(day: DayResult) -> tuple[str, ...]:
    return (
        number(day.cost_eur),
        number(day.reference_cost_eur),
        number(day.savings_eur),
        number(day.psf, 3),
        number(day.import_kwh, 0),
        number(day.export_kwh, 0),
        number(day.losses_kwh, 0),
        number(day.stored_energy_difference_kwh, 1),
        number(day.stored_energy_difference_eur),
        UNKNOWN if day.energy_residual_kwh_max is None else f"{day.energy_residual_kwh_max:.0e}",
    )
