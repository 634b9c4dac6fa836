"""``study`` and ``calibrate``: the published study, and the fit of a site to it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import InputError
from services.swarm.cli import options
from services.swarm.cli.output import Output
from services.swarm.variants import Reference

if TYPE_CHECKING:
    from rich.console import Console

    from services.study.study import StudyOrder, StudyResult


def study(
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="FILE|NAME",
            help="A site with cases.",
            show_default="the fitted one of the reference: fit_g2v, fit_none or fit_uncontrolled",
            rich_help_panel="Site",
        ),
    ] = None,
    cases: Annotated[
        str | None,
        typer.Option(
            "--cases", metavar="1,6", help="Some of the site's cases.", show_default="all", rich_help_panel="Site"
        ),
    ] = None,
    reference: options.ReferenceOption = Reference.SMART,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder for the figures and the report.", rich_help_panel="Results"),
    ] = options.RUNS / "study",
    json: options.JsonOption = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, max=256, help="Days that run at once.", show_default="one per core"),
    ] = None,
) -> None:
    """Reproduce the **published study**: six cases, each as reference, with BESS, with V2G and with both.

    Every day is lived through by the same twins, network and EMS as with `run`, to the last bit. Prints the table
    beside the published one, the peak-shaving factors, and what of all this is fitted or not known.

    Examples:
        twinswarm study
        twinswarm study --cases 6 --json result.json
        twinswarm study --reference no-cars --out out
    """
    from services.study.study import SITES, StudyOrder
    from sites.loading import load_site

    output = Output.to(json)
    chosen = [case.strip() for case in cases.split(",")] if cases is not None else []
    order = StudyOrder.of(load_site(site or SITES[reference]), reference, chosen)
    _make(out)
    result = _conduct(order, processes, output.console)
    output.write(result.to_json())
    _tell(result, output.console)


def _make(folder: Path) -> None:
    """Raises InputError now for what could not be written in the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError.one("--out", f"cannot be made: {error.strerror}", str(folder)) from None


def _conduct(order: "StudyOrder", processes: int | None, console: "Console") -> "StudyResult":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from services.study.study import conduct_study

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)
        return conduct_study(
            order,
            processes,
            on_start=lambda days: progress.update(task, description="days", total=days),
            on_day=lambda _: progress.advance(task),
        )


def _tell(result: "StudyResult", console: "Console") -> None:
    from services.study.tables import effort, honesty, table_ii, verdict

    console.print(table_ii(result))
    for line in verdict(result):
        console.print(line)
    for heading, text in honesty():
        console.print(f"[bold]{heading}:[/bold] {text}")
    console.print(effort(result))
