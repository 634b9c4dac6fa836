"""``report`` and ``export``: from a recorded run."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, busy
from twinswarm.simulation.variants import Reference


def report(
    history: options.RecordedOption = options.HISTORY,
    run: options.RunOption = "latest",
    reference: options.ReferenceOption = Reference.SMART,
    report: options.ReportOption = None,
    no_report: options.NoReportOption = False,
    json: options.JsonOption = None,
) -> None:
    """Show the result of a recorded run, as `up` does at its end: **tables, JSON and report**.

    The baseline is computed in memory from the record: the same load, available PV and charging sessions. A run that
    was cut off is compared up to its last step. The history is only read.

    Examples:
        twinswarm report  the newest run
        twinswarm report --run latest --reference uncontrolled --report out --json out/result.json
    """
    from twinswarm.cli.results import tell_result
    from twinswarm.simulation.load_result import review

    output = Output.to(json)
    found = _run(history, run)
    with busy(output.console, "computing the baseline …"):
        result = review(history, found, reference)
    folder = report or _beside(history) / found
    tell_result(result, history, None if no_report else folder, output)


def export(
    history: options.RecordedOption = options.HISTORY,
    run: options.RunOption = "latest",
    form: Annotated[
        Literal["csv", "parquet"], typer.Option("--format", help="Format of the files.", rich_help_panel="Results")
    ] = "csv",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the files; made if need be.",
            show_default=f"{options.RUNS}/RUN",
            rich_help_panel="Results",
        ),
    ] = None,
) -> None:
    """Write a recorded run as tables: **CSV or Parquet**, units in the column names.

    devices: a row per time and device. site: a row per time. sessions: a row per charging session.
    setpoints: a row per message. messages: all messages, contents as JSON. Times are UTC.

    Examples:
        twinswarm export --out tables
        twinswarm export --history sqlite:year.sqlite --run 20240516T220000.000000Z-5f0c --format parquet
    """
    from services.history.export import export_run
    from twinswarm.simulation.histories import open_history

    found = _run(history, run)
    with closing(open_history(history)) as opened:
        for path in export_run(opened, found, out or _beside(history) / found, form):
            typer.echo(path)


def _run(url: str, run: str) -> str:
    """Its identifier. Raises InputError naming the runs that there are."""
    from twinswarm.simulation.histories import open_history

    with closing(open_history(checked(url))) as history:
        return history.latest().run if run == "latest" else history.info(run).run


def checked(url: str) -> str:
    """An address of a history. Raises InputError naming the option when it is none."""
    from twinswarm.simulation.histories import is_influx

    if not is_influx(url):
        options.history_file(url)
    return url


def _beside(url: str) -> Path:
    """Folder for what is made of a history: the file's own, or the usual one."""
    from twinswarm.simulation.histories import is_influx

    return options.RUNS if is_influx(url) else options.history_file(url).parent
