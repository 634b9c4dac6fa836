"""``tradeoff``: cost against CO2, self-consumption and peak of one's own site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, on_terminal
from twinswarm.simulation.variants import Reference, StorageChoice

if TYPE_CHECKING:
    from rich.table import Table

    from twinswarm.study.trade_off import TradeOff


NOTES = (
    "Used PV: produced less exported. Stored: more than with cost alone; beside cost and CO2.",
    "In the figure it is evened out, at the mean purchase price and emissions of cost alone.",
)


def tradeoff(
    site: options.SiteArgument = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    date: options.DateOption = None,
    length: options.WholeDaysOption = "day",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the figure.",
            show_default=f"{options.RUNS}/tradeoff-SITE",
            rich_help_panel="Results",
        ),
    ] = None,
    json: options.JsonOption = None,
    processes: options.RunsInParallelOption = None,
) -> None:
    """What **less CO2, more self-consumption or a lower peak** cost at a site of your own: the trade-off curves.

    The time is lived through with rising weights of each (`ems.objective` of the site), and with each alone. CO2 needs
    `connection.co2_profile`, self-consumption PV.

    Examples:
        twinswarm tradeoff carpark --date 2018-05-14
        twinswarm tradeoff mysite --for week --json -
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "matplotlib")  # workers load them
    from rich.progress import Progress

    from twinswarm.simulation.runs import parse_date
    from twinswarm.study.figures import Drawn, write_figures
    from twinswarm.study.own_site import course_over
    from twinswarm.study.trade_off import aims_of, objectives_of, trade_off
    from twinswarm.study.trade_off_figure import figure_of

    output = Output.to(json)
    console = output.console
    chosen = options.variant(site, case, storage, Reference.UNCONTROLLED).site
    course = course_over(chosen, length, None if date is None else parse_date(date))
    folder = options.folder(out or options.RUNS / f"tradeoff-{chosen.site}")
    with Progress(console=console, transient=True, disable=not on_terminal(console)) as progress:
        task = progress.add_task("objectives", total=len(objectives_of(aims_of(chosen))))
        found = trade_off(chosen, course, processes, lambda _: progress.advance(task))
    output.write(found.to_json())
    console.print(_table(found))
    for note in NOTES:
        console.print(note, markup=False)
    (png, _) = write_figures([Drawn("tradeoff", figure_of(found))], folder)
    console.print(f"Figure   {png}", markup=False, soft_wrap=True)


def _table(found: "TradeOff") -> "Table":
    from rich.table import Table

    from services.analysis.summary import local, number
    from twinswarm.study.trade_off import Aim

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
