"""``savings``: cost and savings of each local day of a run; shown once, or followed and written to InfluxDB."""

import logging
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from schemas.errors import Code, InputError, TwinswarmError
from twinswarm.cli import options
from twinswarm.cli.commands import influx as there
from twinswarm.cli.commands.histories import checked
from twinswarm.cli.output import Output, busy
from twinswarm.deploy.process import FAILED
from twinswarm.simulation.variants import Reference

if TYPE_CHECKING:
    from services.analysis.day_result import DayResult
    from services.history.reader import History, RunInfo
    from services.influx.reader import InfluxAddress
    from twinswarm.simulation.days import LocalDay

_DAYS, _KEEP = "Days", "InfluxDB"


def savings(
    history: options.RecordedOption = options.HISTORY,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID|latest",
            help="Run whose days are shown.",
            show_default="the live run, else the run of these days",
            rich_help_panel=_DAYS,
        ),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="YYYY-MM-DD", help="First local day.", show_default="the run's"),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--to", metavar="YYYY-MM-DD", help="Last local day, included.", show_default="the run's"),
    ] = None,
    reference: options.ReferenceOption = Reference.SMART,
    json: options.JsonOption = None,
    write: Annotated[
        bool, typer.Option("--write", help="Also write the days to InfluxDB, where Grafana reads them.")
    ] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Run as a service: settle and write every day of all runs once it has ended."),
    ] = False,
    influx: Annotated[
        str | None,
        typer.Option(
            "--influx",
            metavar="URL",
            help="Server to write to.",
            show_default=f"the history's, else {there.URL}",
            rich_help_panel=_KEEP,
        ),
    ] = None,
    org: Annotated[
        str | None,
        typer.Option(
            "--org", metavar="NAME", help="Organisation.", show_default="the history's", rich_help_panel=_KEEP
        ),
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(
            "--bucket",
            metavar="NAME",
            help="Days are written to NAME-quarters.",
            show_default="the history's",
            rich_help_panel=_KEEP,
        ),
    ] = None,
    token_file: there.TokenOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Show cost and savings of **each local day**: a table of days with their sum.

    Days are those of the site's time zone; a part of a day is marked with its hours. Days that cannot be settled are
    named, and the exit code is 1. The baseline of each day is computed in memory from the record; vehicles that were
    plugged at midnight begin with their arrival. Only the days asked for are read, also from a long run.

    Examples:
        twinswarm savings --from 2024-05-17 --to 2024-05-19
        twinswarm savings --history influxdb://127.0.0.1:8086/twinswarm/twinswarm --json days.json
        twinswarm savings --history influxdb://127.0.0.1:8086/twinswarm/twinswarm --follow  as a service
    """
    from twinswarm.simulation.days import local_days, run_of, settle_day
    from twinswarm.simulation.histories import open_history

    if follow:
        options.refuse_beside("--follow", {"--run": run, "--from": first, "--to": last, "--json": json})
        _follow(history, _results(history, influx, org, bucket, token_file), reference, heartbeat)
        return
    begin, end = _day("--from", first, date.min), _day("--to", last, date.max)
    if begin > end:
        raise InputError.one("--to", "is not to be before --from", last, code=Code.RANGE)
    results = _results(history, influx, org, bucket, token_file) if write else None
    if results is not None:
        results.server().close()  # a missing token is reported before the work
    output = Output.to(json)
    with closing(open_history(checked(history))) as opened:
        info = opened.latest() if run == "latest" else run_of(opened, run, begin, end)
        site = opened.site(info.run)
        days: list[DayResult] = []
        failures: list[tuple[LocalDay, TwinswarmError]] = []
        with busy(output.console, "computing the baselines …"):
            for day in local_days(info, site.zone, begin, end):
                try:
                    days.append(settle_day(opened, info.run, day, reference))
                except TwinswarmError as error:
                    failures.append((day, error))
                    continue
                if results is not None:
                    _write(results, info, reference, day, days[-1])
        if not days:
            raise failures[0][1] if failures else _no_day(opened, info, site.zone)
    _tell(info, site.location.time_zone, reference, days, failures, output)
    if failures:
        raise typer.Exit(FAILED)


def _tell(
    info: "RunInfo",
    time_zone: str,
    reference: Reference,
    days: "Sequence[DayResult]",
    failures: "Sequence[tuple[LocalDay, TwinswarmError]]",
    output: Output,
) -> None:
    from services.analysis.day_result import sum_of
    from services.analysis.savings_table import lateness_lines, peaks_table, savings_table
    from services.analysis.tables import doubts_table

    total = sum_of(days)
    output.write(
        {
            "site": info.site,
            "run": info.run,
            "reference": reference.value,
            "days": [day.to_json() for day in days],
            "sum": total.to_json(),
            "failed": [{"date": day.date.isoformat(), "reason": str(error)} for day, error in failures],
        }
    )
    output.console.print(savings_table(info.site, reference.value, days))
    output.console.print(peaks_table(days))
    doubts = doubts_table(total.doubts, time_zone)
    if doubts is not None:
        output.console.print(doubts)
    for line in lateness_lines(days):
        output.console.print(line, markup=False, soft_wrap=True)
    for day, error in failures:
        output.console.print(f"{day.date} could not be settled: {error}", markup=False, soft_wrap=True)
    output.console.print(f"Run {info.run}", markup=False, soft_wrap=True)


def _write(
    results: "InfluxAddress", info: "RunInfo", reference: Reference, day: "LocalDay", result: "DayResult"
) -> None:
    from services.influx.day_results import write_day

    values = {name: float(value) for name, value in result.to_json().items() if isinstance(value, int | float)}
    with closing(results.server()) as server:
        write_day(
            server,
            results.bucket,
            site=info.site,
            run=info.run,
            reference=reference.value,
            midnight=day.start,
            values=values,
        )


def _follow(history: str, results: "InfluxAddress", reference: Reference, heartbeat: Path | None) -> None:
    from broker.heartbeat import Heartbeat
    from services.influx.forward import SIMULATED
    from twinswarm.deploy.daily_settlement import Follower
    from twinswarm.deploy.logs import log_to_stderr
    from twinswarm.deploy.process import Life, stop_event
    from twinswarm.simulation.histories import is_influx

    log_to_stderr(logging.INFO)
    histories = [checked(history)]
    if is_influx(history):
        # The live site's and that of simulated runs: whichever of the two was named.
        address, mark, token = history.partition("?")
        base = address.removesuffix(SIMULATED)
        histories = [f"{base}{mark}{token}", f"{base}{SIMULATED}{mark}{token}"]
    Follower(histories, results, reference, stop_event(Life()), Heartbeat(heartbeat)).serve()


def _results(
    history: str, influx: str | None, org: str | None, bucket: str | None, token_file: Path | None
) -> "InfluxAddress":
    """Address to write to: as given, else that of the history."""
    from services.influx.forward import SIMULATED
    from services.influx.reader import InfluxAddress
    from twinswarm.simulation.histories import is_influx

    there.check_names(org, bucket)
    url, organisation, name, token = there.URL, there.ORG, there.BUCKET, token_file
    if is_influx(history):
        from services.influx.reader import influx_address

        address = influx_address(history)
        url, organisation, name = address.url, address.org, address.bucket.removesuffix(SIMULATED)
        token = token_file or address.token_file
    if influx is not None:
        there.check_url(influx)
    return InfluxAddress(influx or url, org or organisation, bucket or name, token)


def _day(option: str, text: str | None, otherwise: date) -> date:
    """Raises InputError naming the option."""
    if text is None:
        return otherwise
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError.one(option, "a local day is written 2024-05-17", text, code=Code.FORMAT) from None


def _no_day(history: "History", info: "RunInfo", zone: ZoneInfo) -> InputError:
    from twinswarm.simulation.days import local_days

    recorded = [day.date for day in local_days(info, zone)]
    told = f"recorded were {recorded[0]} to {recorded[-1]}" if recorded else "not one step was recorded"
    return InputError.one(
        str(history.path), f"no day of this run is among those asked for: {told}", info.run, code=Code.UNKNOWN
    )
