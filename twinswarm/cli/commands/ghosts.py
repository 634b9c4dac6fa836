"""``ghosts``: what devices that do not exist would have earned over a recorded time."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import Code, InputError, RunFailedError
from twinswarm.cli import options
from twinswarm.cli.commands.histories import checked
from twinswarm.cli.output import Output, busy

if TYPE_CHECKING:
    from rich.table import Table

    from schemas.messages import Earnings


def ghosts(
    history: options.RecordedOption = options.HISTORY,
    run: options.RunOption = "latest",
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="FILE|NAME",
            help="The site whose section ghosts is taken.",
            show_default="the recorded one",
        ),
    ] = None,
    json: options.JsonOption = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Power at the PCC with and without, and what was earned."),
    ] = None,
) -> None:
    """What **devices that do not exist** would have earned beside a recorded run.

    The ghosts of the site live beside the recorded PCC meter, prices and plans under an EMS of their own. Earned is the
    energy cost without them, their vehicles charged on arrival, minus that with them.

    Examples:
        twinswarm ghosts --site mysite --history sqlite:live.sqlite
        twinswarm ghosts --site mysite --history sqlite:live.sqlite --json earned.json --plot ghosts.png
    """
    from twinswarm.extras import require

    require("highspy", "numpy", *(["matplotlib"] if plot is not None else []))
    from twinswarm.simulation.ghosts_over_history import ghosts_over
    from twinswarm.simulation.histories import open_history

    described = None if site is None else options.resolved_site(site)
    output = Output.to(json)
    with closing(open_history(checked(history))) as opened, busy(output.console, "living beside the record …"):
        found_run = opened.latest().run if run == "latest" else opened.info(run).run
        recorded = opened.site(found_run)
        accounts = list(ghosts_over(opened, found_run, described or recorded))
    if not accounts:
        raise RunFailedError(f"run {found_run}: not one settlement step of the PCC meter was recorded")
    days = list({each.date: each for each in accounts}.values())
    last = accounts[-1]
    output.write(
        {
            "run": found_run,
            "days": [{"date": each.date, **each.day.model_dump(mode="json", exclude_none=True)} for each in days],
            "total": last.total.model_dump(mode="json", exclude_none=True),
            "devices": {name: each.model_dump(mode="json", exclude_none=True) for name, each in last.devices.items()},
            "stored_kwh": last.stored_kwh,
            "degraded": list(last.degraded),
        }
    )
    output.console.print(_table(days, last))
    for name, ghost in last.devices.items():
        cycles = "" if ghost.cycles is None else f", {ghost.cycles:.2f} full cycles"
        missing = f", {ghost.missing_kwh:.1f} kWh missing at leaving" if ghost.missing_kwh else ""
        moved = f"{ghost.energy_import_kwh:.1f} kWh drawn, {ghost.energy_export_kwh:.1f} kWh given"
        output.console.print(f"{name}: {moved}{cycles}{missing}", markup=False)
    output.console.print(f"left in the batteries: {last.stored_kwh:+.1f} kWh, in no cost", markup=False)
    for reason in last.degraded:
        output.console.print(f"less sure: {reason}", markup=False, soft_wrap=True)
    if plot is not None:
        from services.analysis.figures.ghosts import ghosts_figure

        picture = ghosts_figure(accounts, recorded.site, recorded.zone)
        try:
            plot.write_bytes(picture.png())
        except OSError as error:
            what = f"cannot be written: {error.strerror}"
            raise InputError.one("--plot", what, str(plot), code=Code.UNWRITABLE) from None
        output.console.print(f"Figure {plot}", markup=False, soft_wrap=True)


def _table(days: "Sequence[Earnings]", last: "Earnings") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("day", no_wrap=True)
    heads = ["hours", "real\n€", "on arrival\n€", "ghosts\n€", "earned\n€", "peak\nkW", "ghosts\nkW", "estimated\nh"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, bill in (*((each.date, each.day) for each in days), ("all", last.total)):
        table.add_row(
            name,
            f"{bill.hours:.2f}",
            f"{bill.real.energy_eur:.2f}",
            "" if bill.unmanaged is None else f"{bill.unmanaged.energy_eur:.2f}",
            f"{bill.ghosts.energy_eur:.2f}",
            f"{bill.earned_eur:.2f}",
            f"{bill.real.peak_kw:.1f}",
            f"{bill.ghosts.peak_kw:.1f}",
            f"{bill.estimated_hours:.2f}",
        )
    return table
