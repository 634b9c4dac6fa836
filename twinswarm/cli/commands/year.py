"""``year``: a year of one's own site, with each storage that it can have."""

from pathlib import Path
from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, on_terminal, stoppable
from twinswarm.cli.results import tell
from twinswarm.simulation.variants import Reference, StorageChoice


def year(
    site: options.SiteArgument = options.SITE,
    case: options.CaseOption = None,
    reference: options.ReferenceOption = Reference.UNCONTROLLED,
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="YYYY-MM-DD",
            help="First local day.",
            show_default="1 January of the year of the site's date",
            rich_help_panel="Time",
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", help="Number of local days.", show_default="a year: 365 or 366", rich_help_panel="Time"),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            metavar="bess,both",
            help="Of none, smart, bess, v2g, both, controlled; none is always among them.",
            show_default="all that the site can have",
        ),
    ] = None,
    jobs: options.JobsOption = None,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="tcp://HOST:8786",
            help="Scheduler of a Dask engine that runs already; its workers take the place of the processes.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin again, whatever the folder holds of this year.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the days, from which the year goes on when it was cut off, and for the report.",
            show_default=f"{options.RUNS}/year-SITE",
            rich_help_panel="Results",
        ),
    ] = None,
    json: options.JsonOption = None,
) -> None:
    """A **year** of a site of your own: **none, BESS, V2G and both**, by month and as a whole.

    Every variant is run by the same twins, network and EMS as with `run`, in one piece: states of charge, vehicles and
    the month's peak go on over midnight. Days are settled as they pass. A year that was cut off goes on where it was
    when the same command is given again; the result is the same to the last bit.

    Examples:
        twinswarm year mysite
        twinswarm year mysite --from 2025-07-01 --days 92 --variants bess,both --json summer.json
        twinswarm year carpark --from 2018-05-14 --days 13
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "matplotlib", "jinja2", *(["distributed"] if dask is not None else []))
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from twinswarm.simulation.runs import parse_date
    from twinswarm.study.figures import write_figures
    from twinswarm.year.engine import dask_workers, live_through_year, local_workers
    from twinswarm.year.figures import figures_of
    from twinswarm.year.order import year_order
    from twinswarm.year.report import write_year
    from twinswarm.year.result import year_result
    from twinswarm.year.store import kept_store
    from twinswarm.year.tables import notes, year_tables

    output = Output.to(json)
    console = output.console
    chosen = options.variant(site, case, StorageChoice.BOTH, reference).site
    order = year_order(chosen, reference, None if first is None else parse_date(first, "--from"), days, variants)
    folder = options.folder(out or options.RUNS / f"year-{chosen.site}")
    with kept_store(folder, order, fresh=fresh) as store:
        if store.replaced:
            console.print(
                f"{store.path} held days of another site, time or program, or of other variants; they were deleted.",
                markup=False,
            )
        with (
            stoppable("the same command goes on from the days that are kept"),
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("days"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
                disable=not on_terminal(console),
            ) as progress,
            dask_workers(dask) if dask is not None else local_workers(jobs, order) as executor,
        ):
            tasks = {name: progress.add_task(name, total=order.days) for name in order.variants}
            live_through_year(order, store, executor, lambda name, count: progress.advance(tasks[name], count))
        result = year_result(order, {name: store.days(name) for name in order.variants})
    drawn = figures_of(result)
    write_figures(drawn, folder)
    report = write_year(result, drawn, folder)
    # After the report: who reads the tables may stop before their end (``| head``), which ends the command.
    tell(output, result.to_json(), year_tables(result), notes(result))
    console.print(f"Report   {report}", markup=False, soft_wrap=True)
