"""The services alone: each command is one process of the swarm, in this process."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from schemas.errors import Code, InputError
from schemas.messages import EmsMode
from schemas.site import NETWORK, Site
from twinswarm.cli import options
from twinswarm.deploy.logs import log_to_stderr
from twinswarm.deploy.process import Connection, Life, run_members, stop_event, utc_now
from twinswarm.deploy.process import serve as serve_participant
from twinswarm.simulation.compose import beside

CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        metavar="DIR",
        help="Folder of its checkpoint, with which it continues after a restart in the middle of a run.",
        show_default="none: a restart begins a new life",
        rich_help_panel="Results",
    ),
]
FeedsOption = Annotated[
    Path | None,
    typer.Option(
        "--feeds",
        metavar="DIR",
        help="Renew the site's profiles by its feeds; the last answers are kept in this folder.",
        show_default="the profiles of the site",
        rich_help_panel="Site",
    ),
]
Series = Literal["100", "700"]
OcppVersion = Literal["1.6", "2.0.1", "2.1"]
OnceOption = Annotated[
    bool,
    typer.Option("--once", help="End with the run that it took part in.", rich_help_panel="Time"),
]


def twin(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A device of the site, such as ev1.")],
    site: options.ResolvedSiteOption = options.SITE,
    broker: options.BrokerOption = options.BROKER,
    checkpoints: CheckpointsOption = None,
    once: OnceOption = False,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
    sunspec: Annotated[
        str | None,
        typer.Option(
            "--sunspec",
            metavar="HOST:PORT",
            help="Answer as a SunSpec Modbus device there, too: a battery, PV inverter or meter.",
            show_default="MQTT only",
            rich_help_panel="Another protocol",
        ),
    ] = None,
    models: Annotated[
        Series,
        typer.Option(
            "--models", help="SunSpec models of the 100 or the 700 series.", rich_help_panel="Another protocol"
        ),
    ] = "100",
    ocpp: Annotated[
        str | None,
        typer.Option(
            "--ocpp",
            metavar="URL",
            help="Connect as a charge point to a central system, too: ws://HOST:PORT/PATH/IDENTITY. A charger.",
            show_default="MQTT only",
            rich_help_panel="Another protocol",
        ),
    ] = None,
    ocpp_version: Annotated[
        OcppVersion, typer.Option("--ocpp-version", help="Of OCPP.", rich_help_panel="Another protocol")
    ] = "1.6",
    ocpp_password_file: Annotated[
        Path | None,
        typer.Option(
            "--ocpp-password-file",
            metavar="FILE",
            help="The charge point's password, for security profiles 1 and 2.",
            rich_help_panel="Another protocol",
        ),
    ] = None,
) -> None:
    """Run the twin of **one device**: charger, battery, PV inverter, heat pump or meter.

    It publishes its birth and telemetry and obeys set-points, in the time of the run that the clock opens. The site has
    to be that of the clock's run. With `--sunspec` it is a Modbus device, too, with `--ocpp` a charge point, in wall
    time only; while a master commands it there, set-points from MQTT are refused. `shadow-NAME` is the twin beside the
    device NAME that has `shadow: true`: it commands nothing, and says where the two part. `ghosts` are all devices of
    the site's section of that name: they do not exist, and say what they would have earned.

    Examples:
        twinswarm twin ev1 --site fit_g2v --broker mqtt://127.0.0.1:1883 --checkpoints state
        twinswarm twin bess --site fit_g2v --sunspec 127.0.0.1:5020
        twinswarm twin ev1 --site fit_g2v --ocpp ws://127.0.0.1:9000/CP1 --ocpp-version 2.1
        twinswarm twin shadow-bess --site mysite --broker mqtt://127.0.0.1:1883 --checkpoints state
        twinswarm twin ghosts --site mysite --broker mqtt://127.0.0.1:1883 --checkpoints state
    """
    chosen = options.resolved_site(site)
    aside = beside(chosen)
    if device not in chosen.devices and device not in aside:
        there = ", ".join((*chosen.devices, *aside))
        raise InputError.one("DEVICE", f"the site {chosen.site} has {there}", device, code=Code.UNKNOWN)
    if device in aside and (sunspec is not None or ocpp is not None):
        what = "who runs beside real devices answers nobody"
        raise InputError.one("--sunspec" if ocpp is None else "--ocpp", what, device, code=Code.CONFLICT)
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    life = Life(once=once, heartbeat=heartbeat)
    if sunspec is not None and ocpp is not None:
        raise InputError.one("--ocpp", "is one way to command it, and --sunspec another: give one", code=Code.CONFLICT)
    if ocpp is not None:
        from twinswarm.deploy.outward import ocpp_twin

        make = ocpp_twin(chosen, device, ocpp, ocpp_version, ocpp_password_file)
    elif sunspec is not None:
        from twinswarm.deploy.outward import sunspec_twin

        make = sunspec_twin(chosen, device, sunspec, models)
    else:
        _serve(chosen, device, connection, checkpoints, life)
        return
    log_start(device, chosen, connection)
    serve_participant(make, chosen, device, connection, checkpoints, life, stop_event(life))


def _service(device: str, summary: str, example: str) -> Callable[..., None]:
    """The command of a participant that needs nothing but the site and the broker."""

    def serve(
        site: options.ResolvedSiteOption = options.SITE,
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
        chosen = options.resolved_site(site)
        connection = options.connection(broker, cafile, cert, key, username, password_file)
        _serve(chosen, device, connection, checkpoints, Life(once=once, heartbeat=heartbeat))

    serve.__doc__ = f"{summary}\n\nExamples:\n    {example}"
    return serve


def _fed_service(device: str, summary: str, example: str) -> Callable[..., None]:
    """The command of a participant whose profiles feeds may renew."""

    def serve(
        site: options.ResolvedSiteOption = options.SITE,
        feeds: FeedsOption = None,
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
        chosen = options.resolved_site(site)
        connection = options.connection(broker, cafile, cert, key, username, password_file)
        life = Life(once=once, heartbeat=heartbeat)
        if feeds is None:
            _serve(chosen, device, connection, checkpoints, life)
            return
        from twinswarm.deploy.feeds import fed

        make = fed(chosen, device, feeds)
        log_start(device, chosen, connection)
        serve_participant(make, chosen, device, connection, checkpoints, life, stop_event(life))

    serve.__doc__ = (
        f"{summary}\n\nWith `--feeds` it fetches the profiles that the site has feeds for, in wall time only."
        f"\n\nExamples:\n    {example}\n    twinswarm {device} --site site.json --feeds cache  prices or weather of now"
    )
    return serve


def ems(
    site: options.ResolvedSiteOption = options.SITE,
    mode: Annotated[
        EmsMode | None,
        typer.Option(
            "--mode",
            help="control: plans and sends set-points. observe: plans only. hold: does neither, so devices follow "
            "their fallback.",
            show_default="the site's",
            rich_help_panel="Site",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            metavar="FILE.py:FUNCTION",
            help="A function of your own in place of the optimiser, see docs/own-ems.md.",
            show_default="the optimiser",
            rich_help_panel="Site",
        ),
    ] = None,
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
    """Run the **EMS**: learns devices from their births, plans every step, sends set-points.

    Examples:
        twinswarm ems --site fit_g2v --broker mqtt://127.0.0.1:1883
        twinswarm ems --site mysite --mode observe  to see what it would do with real devices
        twinswarm ems --algorithm examples/ems.py:charge_evenly  in the place of `up --attach ems`
    """
    chosen = options.resolved_site(site)
    if mode is not None:
        chosen = chosen.model_copy(update={"ems": chosen.ems.model_copy(update={"mode": mode})})
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    own = None
    if algorithm is not None:
        from twinswarm.deploy.algorithm_file import load_algorithm

        own = load_algorithm(algorithm)
    log_start("ems", chosen, connection)
    run_members(chosen, ["ems"], connection, checkpoints, None, Life(once=once, heartbeat=heartbeat), algorithm=own)


network = _service(
    NETWORK,
    "Run the **network twin**: solves the network, publishes PCC power, losses and voltages.",
    "twinswarm network --site fit_g2v --broker mqtt://127.0.0.1:1883",
)
forecast = _fed_service(
    "forecast",
    "Run the **forecast**: load, PV and expected charging sessions as retained series. "
    "`forecast evaluate SITE` measures it.",
    "twinswarm forecast --site fit_g2v --broker mqtt://127.0.0.1:1883",
)
tariff = _fed_service(
    "tariff",
    "Run the **tariff**: purchase and sale prices in €/kWh as retained series.",
    "twinswarm tariff --site site.json --broker mqtt://127.0.0.1:1883",
)


def recorder(
    history: options.HistoryOption = options.HISTORY,
    disk_low: Annotated[
        float,
        typer.Option(
            "--disk-low",
            metavar="GIB",
            help="Raise the alarm disk_low while less than this is free on the disk of the history. Not in lock-step.",
            rich_help_panel="Results",
        ),
    ] = 1.0,
    site: options.ResolvedSiteOption = options.SITE,
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
    """Run the **recorder**: writes every message to disk, then acknowledges it.

    Examples:
        twinswarm recorder --history sqlite:site.sqlite --broker mqtt://127.0.0.1:1883
    """
    chosen = options.resolved_site(site)
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    if not 0 <= disk_low <= 1e6:
        raise InputError.one("--disk-low", "0 (never) to 1000000 GiB", disk_low, code=Code.RANGE)
    life, file = Life(once=once, heartbeat=heartbeat), options.history_file(history)
    log_start("recorder", chosen, connection)
    run_members(chosen, ["recorder"], connection, checkpoints, file, life, round(disk_low * 2**30))


def clock(
    site: options.ResolvedSiteOption = options.SITE,
    date: options.DateOption = None,
    length: options.ForOption = None,
    speed: options.SpeedOption = options.LOCKSTEP,
    from_now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="The run begins at this moment of the machine's clock, and without --for it has no end.",
            rich_help_panel="Time",
        ),
    ] = False,
    start_at: options.StartAtOption = None,
    when_late: options.WhenLateOption = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Real devices: a run in wall time without an end. An open run is continued; when this process is "
            "stopped, the run stays open.",
            rich_help_panel="Time",
        ),
    ] = False,
    stay: Annotated[
        bool,
        typer.Option(
            "--stay",
            help="Do not exit after the end of the run, until stopped: for supervisors that would otherwise start the "
            "run again.",
            rich_help_panel="Time",
        ),
    ] = False,
    broker: options.BrokerOption = options.BROKER,
    checkpoints: CheckpointsOption = None,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Run the **clock**: opens a run, carries it to its end, and exits.

    In lock-step it waits for every device and service of the site, then ticks. It refuses a site that is in use: a run
    is open, or a device is online that does not belong to the site or does not follow this time. With --checkpoints a
    clock that was stopped or killed continues its run when the same command is started again; after the end of the run
    the command begins a new one.

    Examples:
        twinswarm clock --site fit_g2v --for 24h --broker mqtt://127.0.0.1:1883
        twinswarm clock --site fit_g2v --speed 60
        twinswarm clock --site fit_g2v --speed 1 --now  a site on MQTT to develop against
        twinswarm clock --site mysite --live            real devices
    """
    from twinswarm.deploy.clock_order import ClockOrder
    from twinswarm.deploy.clock_process import run_clock
    from twinswarm.simulation.compose import members
    from twinswarm.simulation.coverage import check_profiles
    from twinswarm.simulation.runs import new_run_id, parse_duration

    if live:
        others = {"--date": date, "--for": length, "--now": from_now or None, "--start-at": start_at}
        options.refuse_beside("--live", others)
        if speed != options.LOCKSTEP:
            raise InputError.one(
                "--speed", "cannot stand beside --live: real devices follow real time", speed, code=Code.CONFLICT
            )
    factor = 1.0 if live else options.parse_speed(speed)
    if from_now:
        options.refuse_beside("--now", {"--date": date})
        if factor is None:
            raise InputError.one(
                "--speed", "a number is needed beside --now: lock-step knows no machine time", speed, code=Code.MISSING
            )
    start = options.start_at(start_at, factor, from_now=from_now, now=utc_now())
    late = options.when_late(when_late, start)
    chosen = options.resolved_site(site)
    t0, span = None, None if length is None else parse_duration(length)
    if not (live or from_now):
        course = options.course(chosen, date, length)
        t0, span = course.t0, course.t_end - course.t0
    elif from_now:
        now = utc_now()
        check_profiles(chosen, now, None if span is None else now + span)
    order = ClockOrder(
        run=new_run_id(utc_now()),
        t0=t0,
        length=span,
        speed=factor,
        wall0=start,
        simulated=not live,
        allowed=frozenset(members(chosen)),
        end_when_stopped=not live and checkpoints is None,
        when_late=late,
        stay=stay,
    )
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    log_start("clock", chosen, connection)
    run_clock(chosen, order, connection, checkpoints, Life(heartbeat=heartbeat))


def _serve(site: Site, device: str, connection: Connection, checkpoints: Path | None, life: Life) -> None:
    log_start(device, site, connection)
    run_members(site, [device], connection, checkpoints, None, life)


def log_start(device: str, site: Site, connection: Connection) -> None:
    """Sets the log up, and says who is here: a participant that waits for a run says nothing else."""
    log_to_stderr(logging.INFO)
    logging.getLogger("twinswarm").info("%s of site %s, on %s; Ctrl-C ends it", device, site.site, connection.address)
