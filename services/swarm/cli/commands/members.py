"""The services alone: each command is one process of the swarm, in this process."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import InputError
from schemas.site import FEEDER, Site
from services.swarm.cli import options
from services.swarm.process import Connection, Life, run_member, utc_now
from services.swarm.variants import Reference, StorageChoice

CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        metavar="DIR",
        help="Folder of its checkpoint, from which it goes on after a restart in the middle of a run.",
        show_default="none: a restart begins a new life",
        rich_help_panel="Results",
    ),
]
OnceOption = Annotated[
    bool,
    typer.Option("--once", help="End with the session that it took part in.", rich_help_panel="Time"),
]


def twin(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A device of the site, such as ev1.")],
    site: options.SiteOption = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    broker: options.BrokerOption = options.BROKER,
    checkpoints: CheckpointsOption = None,
    once: OnceOption = False,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Run the twin of **one device**: charger, battery, PV inverter or meter.

    It shows itself on the broker, publishes telemetry and obeys set-points, in the time of whatever session the
    clock opens. Case, storage and reference have to be those of the clock's run.

    Examples:
        twinswarm twin ev1 --site fit_g2v --broker mqtt://127.0.0.1:1883 --checkpoints state
    """
    chosen = options.variant(site, case, storage, reference).taking_part
    if device not in chosen.devices:
        raise InputError.one("DEVICE", f"the site {chosen.site} has {', '.join(chosen.devices)}", device)
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    _serve(chosen, device, connection, checkpoints, Life(once=once, heartbeat=heartbeat))


def _service(device: str, told: str, example: str) -> Callable[..., None]:
    """The command of a participant that needs nothing but the site and the broker."""

    def serve(
        site: options.SiteOption = options.SITE,
        case: options.CaseOption = None,
        storage: options.StorageOption = StorageChoice.BOTH,
        reference: options.ReferenceOption = Reference.SMART,
        broker: options.BrokerOption = options.BROKER,
        checkpoints: CheckpointsOption = None,
        once: OnceOption = False,
        cafile: options.CafileOption = None,
        cert: options.CertOption = None,
        key: options.KeyOption = None,
        username: options.UsernameOption = None,
        password_file: options.PasswordFileOption = None,
        heartbeat: options.HeartbeatOption = None,
    ) -> None:
        chosen = options.variant(site, case, storage, reference).taking_part
        connection = options.connection(broker, cafile, cert, key, username, password_file)
        _serve(chosen, device, connection, checkpoints, Life(once=once, heartbeat=heartbeat))

    serve.__doc__ = f"{told}\n\nExamples:\n    {example}"
    return serve


ems = _service(
    "ems",
    "Run the **EMS**: learns devices from their births, plans every step, sends set-points.\n\n"
    "Its mode is the site's: control, observe (plans, commands nobody) or hold.",
    "twinswarm ems --site fit_g2v --broker mqtt://127.0.0.1:1883",
)
grid = _service(
    FEEDER,
    "Run the **network twin**: solves the network, measures PCC power, losses and voltages.",
    "twinswarm grid --site fit_g2v --broker mqtt://127.0.0.1:1883",
)
forecast = _service(
    "forecast",
    "Run the **forecast**: load, PV and expected sessions as retained series.",
    "twinswarm forecast --site fit_g2v --broker mqtt://127.0.0.1:1883",
)
tariff = _service(
    "tariff",
    "Run the **tariff**: purchase and sale prices in €/kWh as retained series.",
    "twinswarm tariff --site fit_g2v --case 3 --broker mqtt://127.0.0.1:1883",
)


def recorder(
    history: options.HistoryOption = options.HISTORY,
    disk_low: Annotated[
        float,
        typer.Option(
            "--disk-low",
            metavar="GIB",
            help="Raise the alarm disk_low while less is free on the history's disk. Not in lock-step.",
            rich_help_panel="Results",
        ),
    ] = 1.0,
    site: options.SiteOption = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    broker: options.BrokerOption = options.BROKER,
    checkpoints: CheckpointsOption = None,
    once: OnceOption = False,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Run the **recorder**: everything on the topics goes to disk, then it is acknowledged.

    Examples:
        twinswarm recorder --history sqlite:site.sqlite --broker mqtt://127.0.0.1:1883
    """
    chosen = options.variant(site, case, storage, reference).taking_part
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    if not 0 <= disk_low <= 1e6:
        raise InputError.one("--disk-low", "0 (never) to 1000000 GiB", disk_low)
    life, file = Life(once=once, heartbeat=heartbeat), options.history_file(history)
    _log("recorder", chosen, connection)
    run_member(chosen, "recorder", connection, checkpoints, file, life, round(disk_low * 2**30))


def clock(
    site: options.SiteOption = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    date: options.DateOption = None,
    length: options.ForOption = None,
    speed: options.SpeedOption = "lockstep",
    broker: options.BrokerOption = options.BROKER,
    checkpoints: CheckpointsOption = None,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Run the **clock**: opens a session, carries it to its end, ends with it.

    In lock-step it waits for every device and service of the site, then ticks. It refuses a site that lives: whose
    session is open, or on which a device is online that is not the site's or does not follow this time.

    Examples:
        twinswarm clock --site fit_g2v --for 24h --broker mqtt://127.0.0.1:1883
        twinswarm clock --site fit_g2v --speed 60
    """
    from services.swarm.clock_process import ClockOrder, run_clock
    from services.swarm.compose import members
    from services.swarm.runs import new_run_id

    chosen = options.variant(site, case, storage, reference).taking_part
    course = options.course(chosen, date, length)
    order = ClockOrder(
        run=new_run_id(utc_now()),
        t0=course.t0,
        t_end=course.t_end,
        speed=options.parse_speed(speed),
        allowed=frozenset(members(chosen)),
    )
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    _log("clock", chosen, connection)
    run_clock(chosen, order, connection, checkpoints, Life(heartbeat=heartbeat))


def _serve(site: Site, device: str, connection: Connection, checkpoints: Path | None, life: Life) -> None:
    _log(device, site, connection)
    run_member(site, device, connection, checkpoints, None, life)


def _log(device: str, site: Site, connection: Connection) -> None:
    """A service tells of its work on standard error, times in UTC."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.Formatter.converter = time.gmtime
    for ours in ("twinswarm", "broker", "services", "twin_devices"):
        logging.getLogger(ours).setLevel(logging.INFO)
    logging.getLogger("twinswarm").info("%s of site %s, on %s; Ctrl-C ends it", device, site.site, connection.address)
