"""``upgrade-check``: the last days of this site under the EMS of this version, before it is let at the site."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import Code, InputError, RunFailedError
from twinswarm.cli import options
from twinswarm.cli.commands.histories import checked
from twinswarm.cli.output import Output, busy
from twinswarm.deploy.process import FAILED
from twinswarm.simulation.upgrade_result import Tolerances

if TYPE_CHECKING:
    from services.history.reader import History, RunInfo
    from twinswarm.simulation.days import LocalDay
    from twinswarm.simulation.upgrade import OtherVersion

_DAYS, _BESIDE, _ALLOWED = "Days", "The other version", "Worse than this fails"
_DEFAULT = Tolerances()


def upgrade_check(
    history: options.RecordedOption = options.HISTORY,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID|latest",
            help="Run whose days are lived again.",
            show_default="the live run, else the newest",
            rich_help_panel=_DAYS,
        ),
    ] = None,
    days: Annotated[
        int,
        typer.Option("--days", min=1, max=366, help="So many whole local days, the last ones.", rich_help_panel=_DAYS),
    ] = 7,
    last: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="YYYY-MM-DD",
            help="Last local day, included.",
            show_default="the last whole one",
            rich_help_panel=_DAYS,
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="FILE",
            help="Compare with what another version wrote by --json about the same days, not with the recorded one.",
            show_default=False,
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="PYTHON",
            help="The same, and the other version is run now: the Python of the environment that it is installed in.",
            show_default=False,
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="FILE|NAME",
            help="Try other EMS options and another connection, too: those of this site description.",
            show_default="as recorded",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    cost: Annotated[
        float,
        typer.Option(
            "--allow-cost",
            metavar="PERCENT",
            min=0,
            help="More cost of energy and wear, less what is left in the batteries; at least 0.10 € a day.",
            rich_help_panel=_ALLOWED,
        ),
    ] = _DEFAULT.cost_percent,
    violations: Annotated[
        int,
        typer.Option(
            "--allow-violations",
            metavar="NUMBER",
            min=0,
            help="More settlement periods above connection or limits from outside, or below the least SOC.",
            rich_help_panel=_ALLOWED,
        ),
    ] = _DEFAULT.violations,
    missed: Annotated[
        float,
        typer.Option(
            "--allow-missed",
            metavar="KWH",
            min=0,
            help="More energy that vehicles lack of their targets.",
            rich_help_panel=_ALLOWED,
        ),
    ] = _DEFAULT.missed_kwh,
    changes: Annotated[
        float,
        typer.Option(
            "--allow-changes",
            metavar="PERCENT",
            min=0,
            help="More changes of set-points, by number and by kW.",
            rich_help_panel=_ALLOWED,
        ),
    ] = _DEFAULT.changes_percent,
    seconds: Annotated[
        float,
        typer.Option(
            "--allow-seconds",
            metavar="SECONDS",
            min=0,
            help="Longest time that a plan may take on this machine.",
            rich_help_panel=_ALLOWED,
        ),
    ] = _DEFAULT.seconds,
    json: options.JsonOption = None,
) -> None:
    """Live the last days of **this site** with the installed version, before it commands the site.

    Open-loop, every recorded decision is taken again from what was known to it; an unchanged version differs in
    nothing. Closed-loop, each day is lived again in memory from its measured midnight, under the recorded set-points
    and under this version's EMS, and both are settled alike. Exit code 1 if this version is worse than allowed. The
    history is only read. See docs/replay.md.

    Examples:
        twinswarm upgrade-check --history sqlite:live.sqlite --days 14
        twinswarm upgrade-check --history sqlite:live.sqlite --with /opt/twinswarm-old/bin/python
        twinswarm upgrade-check --history sqlite:live.sqlite --site new/site.yaml --json check.json
    """
    from twinswarm.cli.upgrade_tables import tell_upgrade
    from twinswarm.simulation.days import run_of
    from twinswarm.simulation.histories import open_history
    from twinswarm.simulation.upgrade import OtherVersion, check_upgrade

    output = Output.to(json)
    if python is not None:
        options.refuse_beside("--with", {"--baseline": baseline})
    allowed = Tolerances(cost, violations, missed, changes, seconds)
    to = date.max if last is None else _date(last)
    ems_site = None if site is None else options.resolved_site(site)
    with closing(open_history(checked(history))) as opened:
        info = opened.latest() if run == "latest" else run_of(opened, run)
        chosen = _days(opened, info, days, to)
        other: OtherVersion | None = None
        if baseline is not None:
            other = OtherVersion.read(baseline, info.run, chosen)
        elif python is not None:
            with busy(output.console, f"living {len(chosen)} days with {python} …"):
                other = _other(python, history, info.run, chosen)
        with busy(output.console, f"living {len(chosen)} days again …"):
            found = check_upgrade(opened, info, chosen, ems_site=ems_site, other=other)
    output.write(found.to_json(allowed))
    tell_upgrade(found, allowed, output.console)
    if not found.days:
        raise RunFailedError(f"no day could be lived again: {next(iter(found.failed.values()))}")
    if found.worse(allowed):
        raise typer.Exit(FAILED)


def _days(history: "History", info: "RunInfo", number: int, last: date) -> "Sequence[LocalDay]":
    """The last whole days; where there is none, the last parts of days. Raises InputError when there is none at all."""
    from twinswarm.simulation.days import local_days

    recorded = list(local_days(info, history.site(info.run).zone, last=last))
    whole = [day for day in recorded if day.recorded == day.end - day.start]
    if not recorded:
        what = "not one step of this run was recorded" + ("" if last == date.max else f" up to {last}")
        raise InputError.one(str(history.path), what, info.run, code=Code.EMPTY)
    return (whole or recorded)[-number:]


def _other(python: Path, history: str, run: str, days: "Sequence[LocalDay]") -> "OtherVersion":
    """Runs the same check in another environment, from which nothing of this one is visible. Raises InputError."""
    from twinswarm.simulation.upgrade import OtherVersion

    with TemporaryDirectory(prefix="twinswarm-") as folder:
        file = Path(folder) / "other.json"
        command = [str(python), "-P", "-m", "twinswarm.cli", "upgrade-check", "--history", history, "--run", run]
        command += ["--days", str(len(days)), "--to", str(days[-1].date), "--json", str(file)]
        alone = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        try:
            ended = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)  # noqa: S603
        except OSError as error:
            raise InputError.one(
                "--with", f"cannot be run: {error.strerror}", str(python), code=Code.NOT_FOUND
            ) from None
        if not file.is_file():
            said = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
            what = f"there `twinswarm upgrade-check` ended with {ended.returncode}: {said}"
            raise InputError.one("--with", what, str(python), code=Code.FOREIGN)
        return OtherVersion.read(file, run, days)


def _date(text: str) -> date:
    from twinswarm.simulation.runs import parse_date

    return parse_date(text, "--to")
