"""``ghosts``: what devices that do not exist would have earned over a recorded time."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel

from schemas.errors import Code, InputError, RunFailedError
from twinswarm.cli import options
from twinswarm.cli.commands.histories import checked
from twinswarm.cli.output import Output, busy

if TYPE_CHECKING:
    from rich.table import Table

    from twinswarm.simulation.ghosts_over_runs import Sums


def ghosts(
    history: options.RecordedOption = options.HISTORY,
    run: Annotated[
        str,
        typer.Option(
            "--run",
            metavar="ID|latest|all",
            help="Identifier of a run, as printed at its end; latest: the newest run that is no baseline; all: all "
            "those of its site, added up, with what lies between them named.",
        ),
    ] = "latest",
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
        twinswarm ghosts --site mysite --history sqlite:live.sqlite --run all
        twinswarm ghosts --site mysite --history sqlite:live.sqlite --json earned.json --plot ghosts.png
    """
    from twinswarm.extras import require

    require("highspy", "numpy", *(["matplotlib"] if plot is not None else []))
    from twinswarm.simulation.ghosts_over_history import ghosts_over
    from twinswarm.simulation.ghosts_over_runs import Beside, Sums, runs_of_the_site
    from twinswarm.simulation.histories import open_history

    described = None if site is None else options.resolved_site(site)
    output = Output.to(json)
    with closing(open_history(checked(history))) as opened, busy(output.console, "living beside the record …"):
        if run == "all":
            infos, older = runs_of_the_site(opened)
        else:
            infos, older = [opened.latest() if run == "latest" else opened.info(run)], []
        recorded = opened.site(infos[-1].run)
        lived = [Beside(info.run, tuple(ghosts_over(opened, info.run, described or recorded))) for info in infos]
    parts = [part for part in lived if part.accounts]
    if not parts:
        names = ", ".join(part.run for part in lived)
        raise RunFailedError(f"run {names}: not one settlement step of the PCC meter was recorded")
    sums = Sums(parts, recorded.tariff)
    output.write(
        {
            "run": parts[-1].run,
            "runs": [part.run for part in parts],
            "left_out": [info.run for info in older],
            "days": [{"date": date, **_plain(bill)} for date, bill in sums.days.items()],
            "months": [{"month": month, **_plain(bill)} for month, bill in sums.months.items()],
            "total": _plain(sums.total),
            "gaps": [{"start": start.isoformat(), "end": end.isoformat()} for start, end in sums.gaps],
            "gap_hours": sums.gap_hours,
            "devices": {name: _plain(each) for name, each in sums.devices.items()},
            "stored_kwh": sums.stored_kwh,
            "degraded": sums.degraded,
        }
    )
    output.console.print(_table(sums))
    for line in _not_accounted_for(sums):
        output.console.print(line, markup=False, soft_wrap=True)
    for info in older:
        output.console.print(f"left out: run {info.run}, a newer one is of the same time", markup=False, soft_wrap=True)
    for name, ghost in sums.devices.items():
        cycles = "" if ghost.cycles is None else f", {ghost.cycles:.2f} full cycles"
        missing = f", {ghost.missing_kwh:.1f} kWh missing at leaving" if ghost.missing_kwh else ""
        moved = f"{ghost.energy_import_kwh:.1f} kWh drawn, {ghost.energy_export_kwh:.1f} kWh given"
        output.console.print(f"{name}: {moved}{cycles}{missing}", markup=False)
    output.console.print(f"left in the batteries: {sums.stored_kwh:+.1f} kWh, in no cost", markup=False)
    for reason in sums.degraded:
        output.console.print(f"less sure: {reason}", markup=False, soft_wrap=True)
    if plot is not None:
        from services.analysis.figures.ghosts import ghosts_figure

        picture = ghosts_figure([part.accounts for part in parts], recorded.site, recorded.zone)
        try:
            plot.write_bytes(picture.png())
        except OSError as error:
            what = f"cannot be written: {error.strerror}"
            raise InputError.one("--plot", what, str(plot), code=Code.UNWRITABLE) from None
        output.console.print(f"Figure {plot}", markup=False, soft_wrap=True)


def _plain(of: BaseModel) -> dict[str, object]:
    return of.model_dump(mode="json", exclude_none=True)


def _not_accounted_for(sums: "Sums") -> Iterator[str]:
    """Time between the runs, estimated and without prices, each with its share."""
    for start, end in sums.gaps:
        yield f"gap: {start.isoformat(timespec='seconds')} to {end.isoformat(timespec='seconds')}, between two runs"
    shares = [
        (sums.gap_hours, sums.hours, "between the runs, in no sum"),
        (sums.total.estimated_hours, sums.total.hours, "with the real meter's energy estimated"),
        (sums.total.unpriced_hours, sums.total.hours, "without prices, in no cost"),
    ]
    for hours, whole, what in shares:
        if hours:
            yield f"{hours:.2f} h of {whole:.2f} h ({hours / whole:.1%}) {what}"


def _table(sums: "Sums") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("day", no_wrap=True)
    heads = ["hours", "real\n€", "on arrival\n€", "ghosts\n€", "earned\n€", "peak\nkW", "ghosts\nkW", "estimated\nh"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    months = sums.months if len(sums.months) > 1 else {}
    for name, bill in (*sums.days.items(), *months.items(), ("all", sums.total)):
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
