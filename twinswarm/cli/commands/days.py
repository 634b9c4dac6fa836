"""``up`` and ``run``: a day of a site, as a swarm of processes or in this one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.address import Credentials, LocalBroker, parse_broker
from schemas.cycle import Course
from schemas.errors import Code, InputError
from twinswarm.cli import options
from twinswarm.cli.output import Output, stoppable
from twinswarm.simulation.variants import Reference, StorageChoice

if TYPE_CHECKING:
    from schemas.site import Site
    from services.analysis.run_result import RunResult
    from twinswarm.cli.live import Show
    from twinswarm.simulation.pipeline import Order

_Conduct = Callable[["Order", "Show"], "RunResult"]


def up(
    site: options.SiteOption = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    date: options.DateOption = None,
    begin: options.FromOption = None,
    length: options.ForOption = None,
    from_now: options.NowOption = False,
    speed: options.SpeedOption = "lockstep",
    start_at: options.StartAtOption = None,
    when_late: options.WhenLateOption = None,
    broker: options.UpBrokerOption = "embedded",
    port: options.PortOption = None,
    attach: Annotated[
        list[str] | None,
        typer.Option(
            "--attach",
            metavar="DEVICE",
            help="A device or service that you run yourself: no twin is started for it, and the run waits for it. "
            "Repeatable.",
            rich_help_panel="Broker",
        ),
    ] = None,
    history: options.HistoryOption = options.HISTORY,
    scenario: options.ScenarioOption = None,
    report: options.ReportOption = None,
    no_report: options.NoReportOption = False,
    json: options.JsonOption = None,
    one_process: Annotated[
        bool,
        typer.Option(
            "--one-process",
            help="Run all participants in this process, each with its own connection, instead of one process per "
            "participant.",
            rich_help_panel="Broker",
        ),
    ] = False,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    certificates: options.CertificatesOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
) -> None:
    """Run a day as a swarm: **one process per device**, over MQTT.

    Starts the broker, a twin for every charger, battery, inverter and meter, the network twin with the PCC meter,
    the EMS, the recorder, the forecast, the tariff and the clock. Shows the progress of the day. Prints cost, savings,
    peak shaving, energy balance and messages, and writes a report.

    Ctrl-C ends all of it; the history up to then can be read. Logs and checkpoints of the processes are in
    `runs/RUN`, beside the history.

    Examples:
        twinswarm up  the default site's day, case 6
        twinswarm up --case 3 --storage bess --report out
        twinswarm up --speed 60 --for 2h  two hours in two minutes
        twinswarm up --speed 600 --when-late stop  ends when the machine is too slow for it
        twinswarm up --from 10:00 --for 2h
        twinswarm up --scenario events.yaml  scripted events: docs/scenario.md
        twinswarm up --now --speed 1 --port 1883  until Ctrl-C
        twinswarm up --speed 60 --start-at 2026-11-29T05:00:00Z  beside another run, one clock for both
        twinswarm up --attach ev1 --broker mqtt://127.0.0.1:1883  with a charger of your own
        twinswarm up --attach ems --port 1883  with an EMS of your own
    """
    output = Output.to(json)
    parse_broker(broker)
    credentials = Credentials(cafile, cert, key, username, password_file)
    options.check_certificates(certificates, credentials, broker)
    factor = options.parse_speed(speed)
    if port is not None and not 0 < port < 2**16:
        raise InputError.one("--port", "1 to 65535 is allowed", port, code=Code.RANGE)
    if port is not None and broker not in tuple(LocalBroker):
        what = "is of a broker that is started: the port of another is in --broker"
        raise InputError.one("--port", what, port, code=Code.CONFLICT)
    if from_now:
        _check_now(factor, speed, {"--date": date, "--from": begin})
    start = options.start_at(start_at, factor, from_now=from_now, now=datetime.now(UTC))
    late = options.when_late(when_late, start)
    order = _order(site, case, storage, reference, date, length, history, begin, scenario, from_now=from_now)
    _prepare(order.history, report, wants_report=not no_report, embedded=broker == LocalBroker.EMBEDDED)

    def conduct(order: "Order", show: "Show") -> "RunResult":
        from twinswarm.deploy.up import How, conduct_swarm

        attached = frozenset(attach or ())
        how = How(
            broker,
            credentials,
            order.history.parent,
            factor,
            attached,
            one_process,
            certificates,
            port=port or 0,
            from_now=from_now,
            start_at=start,
            endless=from_now and length is None,
            when_late=late,
        )
        return conduct_swarm(order, how, show.on_message, show.on_news, show.on_broker)

    task = _Task(order, _title(order, case, f"{broker}, {speed}"), output, not no_report, report)
    _live_through(task, conduct)


def run(
    site: options.SiteOption = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    date: options.DateOption = None,
    begin: options.FromOption = None,
    length: options.ForOption = None,
    history: options.HistoryOption = options.HISTORY,
    scenario: options.ScenarioOption = None,
    report: options.ReportOption = None,
    no_report: options.NoReportOption = False,
    json: options.JsonOption = None,
) -> None:
    """Run the same day **in memory**: one process, no broker, the same numbers to the last bit.

    For studies: a day takes seconds instead of half a minute.

    Examples:
        twinswarm run --case 1
        twinswarm run --site carpark --for 3d --no-report --json result.json
        twinswarm run --json - | jq .savings_eur
    """
    output = Output.to(json)
    order = _order(site, case, storage, reference, date, length, history, begin, scenario)
    _prepare(order.history, report, wants_report=not no_report)

    def conduct(order: "Order", show: "Show") -> "RunResult":
        from twinswarm.simulation.pipeline import conduct_in_memory

        return conduct_in_memory(order, show.on_phase, show.on_message)

    _live_through(_Task(order, _title(order, case, "in memory"), output, not no_report, report), conduct)


@dataclass(frozen=True)
class _Task:
    """What is to be run, and where its result goes. ``report`` None: beside the history, in a folder of the run."""

    order: "Order"
    title: str
    output: Output
    wants_report: bool
    report: Path | None


def _order(
    site: str,
    case: str | None,
    storage: StorageChoice,
    reference: Reference,
    date: str | None,
    length: str | None,
    history: str,
    begin: str | None = None,
    scenario: Path | None = None,
    *,
    from_now: bool = False,
) -> "Order":
    from twinswarm.simulation.pipeline import Order

    file = options.history_file(history)
    chosen = options.variant(site, case, storage, reference)
    course = _from_now(chosen.site, length) if from_now else options.course(chosen.site, date, length, begin)
    described = chosen.site
    if scenario is not None:
        from twinswarm.simulation.scripted import with_scenario

        described = with_scenario(described, scenario, course)
    return Order(described, course, storage, reference, file)


def _check_now(factor: float | None, speed: str, others: Mapping[str, object]) -> None:
    """Raises InputError for what cannot stand beside ``--now``."""
    options.refuse_beside("--now", others)
    if factor is None:
        what = "a number is needed beside --now: lock-step knows no machine time"
        raise InputError.one("--speed", what, speed, code=Code.CONFLICT)


def _from_now(site: "Site", length: str | None) -> Course:
    """From now on; without a length as long as a run may be. Raises InputError."""
    from twinswarm.simulation.coverage import check_profiles
    from twinswarm.simulation.runs import MOST, parse_duration

    t0 = datetime.now(UTC)
    t_end = t0 + (MOST if length is None else parse_duration(length))
    check_profiles(site, t0, None if length is None else t_end)
    return Course(t0, t_end, site.time.step_s)


def _prepare(history: Path, report: Path | None, *, wants_report: bool, embedded: bool = False) -> None:
    """Raises InputError now for what could not be written when the day is over."""
    from services.history.store import HistoryStore
    from twinswarm.extras import require

    needed = ["highspy", "power_grid_model"] + ["amqtt"] * embedded + ["jinja2", "matplotlib"] * wants_report
    require(*needed)
    HistoryStore(history).close()
    if report is not None:
        try:
            report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError.one(
                "--report", f"cannot be made: {error.strerror}", str(report), code=Code.UNWRITABLE
            ) from None


def _title(order: "Order", case: str | None, how: str) -> str:
    under = "" if case is None else f"case {case}, "
    return f"{order.site.site}: {under}storage {order.storage}, baseline {order.reference}, {how}"


def _live_through(task: _Task, conduct: _Conduct) -> None:
    """Conducts the run, shows it, and reports its result."""
    from services.monitor.progress import View
    from twinswarm.cli.live import Show
    from twinswarm.cli.results import tell_result

    show = Show(View(task.order.taking_part, task.order.course), task.output.console, task.title)
    history = task.order.history
    with stoppable(f"the history is readable: twinswarm report --history sqlite:{history}"):
        with show.running():
            result = conduct(task.order, show)
        folder = (task.report or history.parent / result.run) if task.wants_report else None
        tell_result(result, f"sqlite:{history}", folder, task.output)
