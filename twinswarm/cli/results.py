"""Tells of a run's result: tables, the report, the JSON, and where everything is."""

from pathlib import Path
from typing import TYPE_CHECKING

from twinswarm.cli.output import Output

if TYPE_CHECKING:
    from services.analysis.run_result import RunResult


def tell_result(result: "RunResult", history: str, report: Path | None, output: Output) -> None:
    """``history``: its address. ``report``: its folder; None: none is written.

    Raises InputError when something cannot be written.
    """
    from services.analysis.tables import device_table, disturbance_table, doubts_table, summary_table

    console = output.console
    output.write(result.to_json())
    doubts = doubts_table(result.doubts, result.time_zone)
    for table in (summary_table(result), doubts, device_table(result), disturbance_table(result)):
        if table is not None:
            console.print(table)
    if report is not None:
        from services.analysis.report import write_report

        console.print(f"Report   {write_report(result, report)}", markup=False, soft_wrap=True)
    console.print(f"History  {history.partition('?')[0]}, run {result.run}", markup=False, soft_wrap=True)
