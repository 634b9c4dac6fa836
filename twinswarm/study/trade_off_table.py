"""The trade-off curves of one's own site as a table, and what has to be known to read it."""

from typing import TYPE_CHECKING

from services.analysis.summary import local, number
from twinswarm.study.trade_off import Aim, TradeOff

if TYPE_CHECKING:
    from rich.table import Table

_NOTES = (
    "Used PV: produced less exported. Stored: more than with cost alone; beside cost and CO2.",
    "In the figure it is evened out, at the mean purchase price and emissions of cost alone.",
)


def notes(found: TradeOff) -> list[str]:
    unproved = ", ".join(f"{point.name} {point.unproved}" for point in found.points if point.unproved)
    if not unproved:
        return list(_NOTES)
    return [*_NOTES, f"Plans that are the best found, without a proof that none is better: {unproved}."]


def trade_off_table(found: TradeOff) -> "Table":
    """A row for each point."""
    from rich.table import Table

    zone, course = found.site.location.time_zone, found.course
    period = f"{local(course.t0, zone)} to {local(course.t_end, zone)}"
    table = Table(title=f"{found.site.site}, {period}", title_style="bold", title_justify="left")
    table.add_column("objective", no_wrap=True)
    heads = ["cost\n€", *(["CO2\nkg"] if Aim.CO2 in found.aims else [])]
    heads += ["exported\nkWh", *(["used PV\nkWh"] if Aim.SELF_CONSUMPTION in found.aims else [])]
    for head in (*heads, "highest\nimport\nkW", "stored\nkWh", "missing at\ndeparture\nkWh"):
        table.add_column(head, justify="right", no_wrap=True)
    for point in found.points:
        co2 = [number(point.day.co2_import_kg, 1)] if Aim.CO2 in found.aims else []
        used = [number(point.used_pv_kwh, 1)] if Aim.SELF_CONSUMPTION in found.aims else []
        table.add_row(
            point.name,
            number(point.cost_eur),
            *co2,
            number(point.day.export_kwh, 1),
            *used,
            number(point.day.peak_import_kw, 1),
            number(found.stored_more_kwh(point), 1),
            number(point.day.departure_shortfall_kwh, 1),
        )
    return table
