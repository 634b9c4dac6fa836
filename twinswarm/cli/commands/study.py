"""``study`` and ``calibrate``: the published study, and the fit of a site to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import Code, InputError
from twinswarm.cli import options
from twinswarm.cli.output import Output, busy, on_terminal
from twinswarm.simulation.variants import Reference

if TYPE_CHECKING:
    from rich.console import Console

    from twinswarm.study.periodic import Periodic
    from twinswarm.study.pool import Pool
    from twinswarm.study.robustness import Robustness
    from twinswarm.study.sensitivity import Sensitivity
    from twinswarm.study.study import StudyOrder, StudyResult


def study(
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="FILE|NAME",
            help="A site with cases.",
            show_default="the site fitted to the baseline: fit_g2v, fit_none or fit_uncontrolled",
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
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness/--no-robustness",
            help="Also compute the table without load noise and with ten other measured loads (deterministic seeds): "
            "eleven times as many days.",
            rich_help_panel="More",
        ),
    ] = True,
    sensitivities: Annotated[
        bool,
        typer.Option(
            "--sensitivities",
            help="Also vary cloud length, dead time, BESS size, number of cars and forecast error.",
            rich_help_panel="More",
        ),
    ] = False,
    car_wear: Annotated[
        float | None,
        typer.Option(
            "--car-wear",
            metavar="€/KWH",
            min=0,
            max=10,
            help="Price of the cars' wear per kWh discharged, for the second table; the first has none.",
            show_default="0.075, Kempton and Tomić 2005",
            rich_help_panel="More",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=256,
            help="Days that run in parallel.",
            show_default="one per core",
            rich_help_panel="More",
        ),
    ] = None,
) -> None:
    """Reproduce the **published study**: six cases, each as baseline, with BESS, with V2G and with both.

    Every day is run by the same twins, network and EMS as with `run`, to the last bit. Prints the table beside the
    published one, the peak-shaving factors, what the table leaves out (stored energy, peaks, the day that ends as it
    began, wear of the cars), both again with other loads, and which numbers are fitted or not known.

    Examples:
        twinswarm study
        twinswarm study --no-robustness               only the table, in seconds
        twinswarm study --cases 6 --json result.json
        twinswarm study --reference no-cars --out out
        twinswarm study --sensitivities               everything about the fit, in some minutes
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "jinja2", "matplotlib")  # workers load them
    from sites.loader import load_description
    from twinswarm.study.beside import CAR_WEAR_EUR_PER_KWH, to_json
    from twinswarm.study.study import SITES, StudyOrder, pool_of
    from twinswarm.study.variations import has_other_loads

    output = Output.to(json)
    wear = CAR_WEAR_EUR_PER_KWH if car_wear is None else car_wear
    chosen = [case.strip() for case in cases.split(",")] if cases is not None else []
    order = StudyOrder.of(load_description(site or SITES[reference]), reference, chosen)
    options.folder(out)
    console = output.console
    with ExitStack() as stack:
        with busy(console, "starting"):
            pool = stack.enter_context(pool_of(order, processes))
        result = _conduct(order, pool, console)
        _tell_table(result, console)
        periodic = _conduct_periodic(result, pool, console)
        _tell_beside(result, periodic, wear, console)
        robust = _conduct_robustness(result, pool, console) if robustness and has_other_loads(order.site) else None
        swept = _conduct_sensitivities(order, pool, console) if sensitivities else []
    told = result.to_json() | to_json(result, periodic, wear)
    if robust is not None:
        told["robustness"] = robust.to_json()
    if swept:
        told["sensitivities"] = [one.to_json() for one in swept]
    output.write(told)
    _tell_the_rest(result, robust, console)
    _write(result, periodic, wear, robust, swept, out, console)


def calibrate(
    site: Annotated[str, typer.Argument(metavar="SITE", help="A site with the study's cases: file, folder or name.")],
    target: Annotated[
        Path,
        typer.Option(
            "--target",
            metavar="FILE",
            help="TOML: the baseline (reference), the scales, and the parameters with their bounds. The fitted site's "
            "is twinswarm/study/calibration/smart.toml; it started from the prototype beside that file.",
        ),
    ],
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="FILE",
            help="File that keeps every point, so that the same command continues where it was stopped.",
        ),
    ] = None,
    points: Annotated[
        int, typer.Option("--points", min=1, help="Most points to compute, those in --state included.")
    ] = 400,
    processes: Annotated[int, typer.Option("--processes", min=1, max=256, help="Days that run in parallel.")] = 1,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE", help="Write the fitted site as resolved JSON.", rich_help_panel="Results"
        ),
    ] = None,
    json: options.JsonOption = None,
) -> None:
    """Fit a site to the published table: bounded least squares **on whole simulated days**.

    For every point all days of the study are run, with twins, network and EMS. First a search by differences, then one
    over all known points, for the peak-shaving factors, which move in steps. Prints the residuals, the parameters at
    their bounds, and the combinations of parameters that the table cannot identify.

    Examples:
        twinswarm calibrate fit_g2v --target target.toml --state calibration.json
        twinswarm calibrate mysite --target target.toml --write fitted.json --points 50
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "scipy")
    from sites.loader import load_description
    from twinswarm.study.calibration.fit import calibrate as fit
    from twinswarm.study.calibration.state import State
    from twinswarm.study.calibration.tables import parameter_table, residual_table, to_json, verdict
    from twinswarm.study.calibration.target import read_target

    output = Output.to(json)
    loaded, wanted = load_description(site), read_target(target)
    console = output.console
    fitted = fit(
        loaded,
        wanted,
        State.open(state, loaded, wanted),
        points,
        processes,
        lambda point, known: console.print(
            f"point {len(known.points)}: cost {known.cost(point):.2f}, RMSE {point.rmse_eur_per_day:.3f} €/day, "
            f"{point.signs_matched} signs",
            highlight=False,
        ),
    )
    output.write(to_json(fitted))
    for table in (parameter_table(fitted), residual_table(fitted)):
        console.print(table)
    for line in verdict(fitted):
        console.print(line)
    if write is not None:
        try:
            write.write_text(fitted.site.model_dump_json(indent=1), encoding="utf-8")
        except OSError as error:
            raise InputError.one(
                "--write", f"cannot be written: {error.strerror}", str(write), code=Code.UNWRITABLE
            ) from None
        console.print(f"Site     {write}", markup=False, soft_wrap=True)


@contextmanager
def _progress(console: "Console", what: str) -> Iterator[tuple[Callable[[int], None], Callable[[object], None]]]:
    """A progress bar of days: functions for their number, and for each that has ended."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not on_terminal(console)) as progress:
        task = progress.add_task(what, total=None)
        yield (
            lambda days: progress.update(task, total=days),
            lambda _: progress.advance(task),
        )


def _conduct(order: "StudyOrder", pool: "Pool", console: "Console") -> "StudyResult":
    from twinswarm.study.study import conduct_study

    with _progress(console, "days of the study") as (on_start, on_day):
        return conduct_study(order, pool, on_start, on_day)


def _conduct_periodic(result: "StudyResult", pool: "Pool", console: "Console") -> "Periodic":
    from twinswarm.study.periodic import conduct_periodic

    with _progress(console, "days that end as they began") as (on_start, on_day):
        return conduct_periodic(result, pool, on_start=on_start, on_day=on_day)


def _conduct_robustness(result: "StudyResult", pool: "Pool", console: "Console") -> "Robustness":
    from twinswarm.study.robustness import conduct_robustness

    with _progress(console, "days with other loads") as (on_start, on_day):
        return conduct_robustness(result.order, result.table, pool, on_start, on_day)


def _conduct_sensitivities(order: "StudyOrder", pool: "Pool", console: "Console") -> "list[Sensitivity]":
    from twinswarm.study.sensitivity import conduct_sensitivities

    with _progress(console, "days of the sensitivities") as (on_start, on_day):
        return conduct_sensitivities(order, pool, on_start, on_day)


def _tell_table(result: "StudyResult", console: "Console") -> None:
    from twinswarm.study.tables import table_ii, verdict

    console.print(table_ii(result))
    for line in verdict(result):
        console.print(line)


def _tell_beside(result: "StudyResult", periodic: "Periodic", wear: float, console: "Console") -> None:
    from twinswarm.study.beside import plain_words, ranking, stored_and_periodic, wear_listing
    from twinswarm.study.tables import listed

    for listing in (stored_and_periodic(result, periodic), wear_listing(result, wear)):
        if listing is not None:
            console.print(listed(listing))
            for note in listing.notes:
                console.print(note)
    for line in ranking(result, periodic):
        console.print(f"[bold]Ranking:[/bold] {line}")
    for heading, text in plain_words(result):
        console.print(f"[bold]{heading}:[/bold] {text}")


def _tell_the_rest(result: "StudyResult", robust: "Robustness | None", console: "Console") -> None:
    from twinswarm.study.tables import effort, honesty, spread_table, without_spreads

    console.print(without_spreads(result) if robust is None else spread_table(robust))
    for heading, text in honesty():
        console.print(f"[bold]{heading}:[/bold] {text}")
    console.print(effort(result))


def _write(
    result: "StudyResult",
    periodic: "Periodic",
    wear: float,
    robust: "Robustness | None",
    swept: "list[Sensitivity]",
    folder: Path,
    console: "Console",
) -> None:
    from twinswarm.study.figures import figures, sensitivity_figures, write_figures
    from twinswarm.study.report import render_study, write_study

    drawn, more = figures(result), sensitivity_figures(swept)
    files = write_figures([*drawn, *more], folder)
    report = write_study(render_study(result, drawn, periodic, wear, robust, more), folder)
    console.print(f"Report   {report}", markup=False, soft_wrap=True)
    console.print(f"Figures  {len(files)} files in {folder}", markup=False, soft_wrap=True)
