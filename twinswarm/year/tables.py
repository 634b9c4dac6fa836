"""A year as tables, and what has to be known to read them."""

from typing import TYPE_CHECKING

from services.analysis.summary import local, number, percent
from twinswarm.study.variant_words import variant_notes
from twinswarm.year.order import notes_on
from twinswarm.year.result import Totals, YearResult

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, ...]


def money_heads(result: YearResult) -> Row:
    """Of `money_rows`; a column stands there only where the site has what it says."""
    demand = ("energy\n€", "demand\n€") if result.none.total.demand_eur is not None else ()
    wear = (f"{name}\n€" for name in _wears(result))
    left = ("left in\nbatteries\nkWh", "the same\n€")
    above = (f"above\n{limit_kw:g} kW\nh" for limit_kw in _exceeded_kw(result))
    return ("cost\n€", *demand, "saved\n€", *wear, *left, "highest\nimport\nkW", *above, "PSF")


def money_rows(result: YearResult) -> list[Row]:
    """A row for each variant, its name first: cost, savings, peaks."""
    found: list[Row] = []
    none = result.none.total
    for variant in result.variants:
        total, first = variant.total, variant is result.none
        demand = (number(total.cost_eur), number(total.demand_eur)) if none.demand_eur is not None else ()
        wear = (_or_empty(getattr(total, field), 2) for field in _wears(result).values())
        above = (_hours(total.import_above_limit_h) for _ in _exceeded_kw(result))
        more = ("", "") if first else (number(total.stored_more_kwh(none), 1), number(total.stored_more_eur(none)))
        saved, psf = ("", "") if first else (number(total.saved_eur(none)), number(total.psf, 3))
        cost = number(total.total_eur)
        found.append((variant.name, cost, *demand, saved, *wear, *more, number(total.import_peak_kw, 1), *above, psf))
    return found


def energy_heads(result: YearResult) -> Row:
    """Of `energy_rows`."""
    co2 = ("CO2 of imports\nt",) if result.none.total.co2_import_kg is not None else ()
    energies = ("import\nkWh", "export\nkWh", "network\nlosses, kWh", "PV used\nhere", "self-\nsufficient")
    return (*energies, "BESS\ncycles", "from cars\nkWh", "missing at\nleaving, kWh", *co2)


def energy_rows(result: YearResult) -> list[Row]:
    """A row for each variant, its name first."""
    found: list[Row] = []
    for variant in result.variants:
        total = variant.total
        co2 = () if total.co2_import_kg is None else (number(total.co2_import_kg / 1000),)
        energies = (number(value, 0) for value in (total.import_kwh, total.export_kwh, total.losses_kwh))
        shares = ("" if part is None else percent(part) for part in _shares(total))
        cars = (number(total.cars_discharged_kwh, 0), number(total.departure_shortfall_kwh, 1))
        found.append((variant.name, *energies, *shares, _or_empty(total.bess_cycles, 1), *cars, *co2))
    return found


def _shares(total: Totals) -> tuple[float | None, float | None]:
    return total.self_consumption_frac, total.self_sufficiency_frac


def _wears(result: YearResult) -> dict[str, str]:
    """Those that have a price, and the fields of `Totals` that hold them."""
    fields = {
        "BESS wear": "bess_wear_eur",
        "vehicle wear": "vehicle_wear_eur",
        "calendar wear": "calendar_wear_eur",
    }
    return {
        name: field
        for name, field in fields.items()
        if any(getattr(variant.total, field) is not None for variant in result.variants)
    }


def _exceeded_kw(result: YearResult) -> list[float]:
    """The import limit, if any variant exceeds it."""
    limit_kw = result.order.site.connection.import_limit_kw
    return [limit_kw] if any(variant.total.import_above_limit_h for variant in result.variants) else []


def _hours(hours: float) -> str:
    """To the quarter-hour below ten of them."""
    return number(hours, 2 if 0 < hours < 10 else 0)


def _or_empty(value: float | None, digits: int) -> str:
    return "" if value is None else number(value, digits)


def year_tables(result: YearResult) -> list["Table"]:
    """Money, energies, and what each month saves."""
    return [
        _table(f"{result.order.site.site}, {period(result)}", money_heads(result), money_rows(result)),
        _table("Energy", energy_heads(result), energy_rows(result)),
        _table("By month", month_heads(result), month_rows(result)),
    ]


def month_heads(result: YearResult) -> Row:
    """Of `month_rows`."""
    return ("none: cost\n€", *(f"{variant.name}:\nsaved, €" for variant in result.others))


def month_rows(result: YearResult) -> list[Row]:
    """A row for each month, its name first: the cost without storage and what each variant saves."""
    return [
        (
            month,
            number(none.total_eur),
            *(number(variant.months[month].saved_eur(none)) for variant in result.others),
        )
        for month, none in result.none.months.items()
    ]


def _table(title: str, columns: Row, rows: list[Row]) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def period(result: YearResult) -> str:
    order = result.order
    zone = order.site.location.time_zone
    return f"{local(order.course.t0, zone, '%Y-%m-%d')} to {local(order.midnights[-2], zone, '%Y-%m-%d')}"


def notes(result: YearResult, *, warnings: bool = True) -> list[str]:
    """What the numbers rest on."""
    found = variant_notes(result.order.site, result.order.reference, [variant.name for variant in result.variants])
    found.append("Left in the batteries: more than with none, at the end; beside the savings.")
    found.append(
        "PSF: power at the PCC as a part of that with none, the mean over all settlement periods; not of the highest."
    )
    if result.none.total.demand_eur is not None:
        found.append("Demand: of each month that the time touches, on its highest settlement period.")
    if "calendar_wear_eur" in _wears(result).values():
        found.append("Calendar wear: of BESS and plugged vehicles, by SOC and time; beside the cost.")
    return found + (connection_notes(result) if warnings else []) + notes_on(result.order)


def connection_notes(result: YearResult) -> list[str]:
    """Which variants the site's connection does not carry, each way."""
    connection, found = result.order.site.connection, []
    for way, limit_kw in (("import", connection.import_limit_kw), ("export", connection.export_limit_kw)):
        said = [
            f"{variant.name} up to {number(getattr(variant.total, f'{way}_peak_kw'), 1)} kW, in {_hours(hours)} h"
            for variant in result.variants
            if (hours := getattr(variant.total, f"{way}_above_limit_h"))
        ]
        if said:
            found.append(
                f"The connection does not carry all variants. More {way} than its {limit_kw:g} kW: {'; '.join(said)}. "
                "A larger connection would cost more; that is not in their cost."
            )
    return found
