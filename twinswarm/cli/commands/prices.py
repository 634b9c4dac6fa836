"""``prices``: what a kWh costs, quarter by quarter, and why."""

from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output

if TYPE_CHECKING:
    from rich.table import Table

    from schemas.site import PricePart, Site
    from services.forecast.prices import PricedQuarter

    Parts = tuple[PricePart, ...]


def prices(
    site: Annotated[
        str, typer.Argument(metavar="SITE", help="Site description: a file, a folder, or a site in the box.")
    ] = options.SITE,
    date: options.DateOption = None,
    length: options.ForOption = None,
    case: options.CaseOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draws the prices as stacks of their parts.")
    ] = None,
    json: options.JsonOption = None,
) -> None:
    """Show **what a kWh costs** in each quarter-hour and why: the parts of purchase and sale price.

    Quarter-hours of equal parts are listed as one. With `--json` every quarter-hour is written, in UTC.

    Examples:
        twinswarm prices carpark
        twinswarm prices mysite --date 2026-01-19 --for 7d --plot prices.png
    """
    from services.forecast.prices import priced_quarters
    from sites.loader import load_description
    from twinswarm.cli.site_tables import billed_peak
    from twinswarm.simulation.coverage import check_tariff
    from twinswarm.simulation.runs import local_course, parse_date, parse_duration

    output = Output.to(json)
    chosen = load_description(site).under(case)
    span = None if length is None else parse_duration(length)
    course = local_course(chosen, None if date is None else parse_date(date), span)
    check_tariff(chosen, course.t0, course.t_end)
    quarters = priced_quarters(chosen, course.t0, course.t_end)
    output.write({"site": chosen.site, "quarters": [_json(quarter) for quarter in quarters]})
    for title, of in (("Purchase", lambda quarter: quarter.purchase), ("Sale", lambda quarter: quarter.sale)):
        output.console.print(_table(f"{title} price of {chosen.site} [€/kWh]", chosen, quarters, of))
    if chosen.tariff.demand_charge_eur_per_kw is not None:
        billed = billed_peak(chosen.tariff)
        charge = f"{chosen.tariff.demand_charge_eur_per_kw:g} €/kW on {billed}"
        output.console.print(f"Beside the energy: {charge}.", soft_wrap=True)
    if plot is not None:
        _draw(plot, quarters, chosen.location.time_zone)
        output.console.print(f"Figure   {plot}", soft_wrap=True)


def _json(quarter: "PricedQuarter") -> dict[str, Any]:
    def parts(of: "Parts") -> dict[str, float]:
        return {part.name: part.eur_per_kwh for part in of}

    return {
        "time": quarter.time.isoformat(),
        "length_s": quarter.length_s,
        "purchase_eur_per_kwh": quarter.purchase_eur_per_kwh,
        "sale_eur_per_kwh": quarter.sale_eur_per_kwh,
        "purchase": parts(quarter.purchase),
        "sale": parts(quarter.sale),
    }


def _table(
    title: str, site: "Site", quarters: "list[PricedQuarter]", of: "Callable[[PricedQuarter], Parts]"
) -> "Table":
    """A column a part, a row where the price changes."""
    from rich.table import Table

    names = list(dict.fromkeys(part.name for quarter in quarters for part in of(quarter)))
    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("local time", no_wrap=True)
    for head in ("price", *names):
        table.add_column(head, justify="right")
    for parts, same in groupby(quarters, of):
        first, *_, last = group if len(group := list(same)) > 1 else group * 2
        begin = first.time.astimezone(site.zone)
        end = (last.time + timedelta(seconds=last.length_s)).astimezone(site.zone)
        amounts = {part.name: f"{part.eur_per_kwh:.4f}" for part in parts}
        price = sum(part.eur_per_kwh for part in parts)
        table.add_row(
            f"{begin:%d.%m. %H:%M} to {end:%H:%M}", f"{price:.4f}", *(amounts.get(name, "") for name in names)
        )
    return table


def _draw(file: Path, quarters: "list[PricedQuarter]", zone: str) -> None:
    """Raises InputError where the file cannot be written."""
    from schemas.errors import Code, InputError
    from services.analysis.figures.prices import price_parts

    try:
        file.write_bytes(price_parts(quarters, zone).png())
    except OSError as error:
        raise InputError.one(
            "--plot", f"cannot be written: {error.strerror}", str(file), code=Code.UNWRITABLE
        ) from None
