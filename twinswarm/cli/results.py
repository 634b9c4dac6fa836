"""Tells of results: tables, notes, the report or figure, the JSON, and where everything is.

Files come before the tables: who reads these may stop before their end (``| head``), which ends the command.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinswarm.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from services.analysis.run_result import RunResult


def tell_result(result: "RunResult", history: str, report: Path | None, output: Output) -> None:
    """``history``: its address. ``report``: its folder; None: none is written.

    Raises InputError when something cannot be written.
    """
    from services.analysis.tables import device_table, disturbance_table, doubts_table, summary_table

    console = output.console
    written = None
    if report is not None:
        from services.analysis.report import write_report

        written = write_report(result, report)
    output.write(result.to_json())
    doubts = doubts_table(result.doubts, result.time_zone)
    show(console, (summary_table(result), doubts, device_table(result), disturbance_table(result)), ())
    if written is not None:
        console.print(f"Report   {written}", markup=False, soft_wrap=True)
    console.print(f"History  {history.partition('?')[0]}, run {result.run}", markup=False, soft_wrap=True)


def tell(output: Output, value: Any, tables: "Iterable[Table | None]", notes: Iterable[str]) -> None:
    """``value``: the result as JSON. Raises InputError when that cannot be written."""
    output.write(value)
    show(output.console, tables, notes)


def show(console: "Console", tables: "Iterable[Table | None]", notes: Iterable[str]) -> None:
    for table in tables:
        if table is not None:
            console.print(table)
    for note in notes:
        console.print(note, markup=False)


def name_figures(output: Output, drawn: Iterable[Path]) -> None:
    for file in drawn:
        if file.suffix == ".png":
            output.console.print(f"Figure   {file}", markup=False, soft_wrap=True)
