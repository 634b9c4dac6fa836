"""The comparison of one's own site as a table, and what has to be known to read it."""

from typing import TYPE_CHECKING

from services.analysis.summary import local, number
from twinswarm.study.own_site import SiteComparison
from twinswarm.study.variant_words import variant_notes

if TYPE_CHECKING:
    from rich.table import Table


def comparison_table(comparison: SiteComparison) -> "Table":
    """A row for each variant."""
    from rich.table import Table

    zone, course = comparison.site.location.time_zone, comparison.course
    period = f"{local(course.t0, zone)} to {local(course.t_end, zone)}"
    table = Table(title=f"{comparison.site.site}, {period}", title_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    demand = comparison.rows[0].demand_eur is not None
    heads = ["cost\n€", *(["energy\n€", "demand\n€"] if demand else []), "saved\n€"]
    worn = any(row.day.wear_eur is not None for row in comparison.rows)
    aged = any(row.day.calendar_wear_eur is not None for row in comparison.rows)
    heads += [*["wear\n€"] * worn, *["calendar\nwear\n€"] * aged, "left in\nbatteries\nkWh"]
    emits = comparison.rows[0].day.co2_import_kg is not None
    heads += ["the same\n€", "highest\nimport\nkW", "PSF", "missing at\ndeparture\nkWh", *["CO2\nkg"] * emits]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in comparison.rows:
        first = row is comparison.rows[0]
        table.add_row(
            row.name,
            number(row.total_eur),
            *([number(row.day.cost_eur), number(row.demand_eur)] if demand else []),
            "" if first else number(row.savings_eur),
            *[number(row.day.wear_eur)] * worn,
            *[number(row.day.calendar_wear_eur)] * aged,
            "" if first else number(row.stored_more_kwh, 1),
            "" if first else number(row.stored_more_eur),
            number(row.day.peak_import_kw, 1),
            "" if first else number(row.psf, 3),
            number(row.day.departure_shortfall_kwh, 1),
            *[number(row.day.co2_import_kg, 1)] * emits,
        )
    return table


def notes(comparison: SiteComparison) -> list[str]:
    """What the numbers rest on."""
    found = variant_notes(comparison.site, comparison.reference, [row.name for row in comparison.rows])
    found.append("Left in the batteries: more than with none, at the mean purchase price; beside the savings.")
    if any(row.day.wear_eur is not None for row in comparison.rows):
        found.append("Wear: by the throughput of the BESS and what vehicles gave back; beside the cost.")
    if any(row.day.calendar_wear_eur is not None for row in comparison.rows):
        found.append("Calendar wear: of BESS and plugged vehicles, by SOC and time; beside the cost.")
    if comparison.rows[0].demand_eur is not None:
        found.append("Demand: a whole month's charge for each month that the time touches, on its highest period here.")
    return found
