"""An examination of one device on a broker that runs: who is who there, and the run in which it takes place."""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.mqtt import MqttTransport
from schemas.errors import Code, InputError, RunFailedError, SiteBusyError
from schemas.messages import Run, Stamp, TimeMode
from schemas.topics import OBSERVER, Channel, Kind, Topic, client_id, topic_filter
from schemas.wire import encode
from services.conformance.bench import Bench, filters
from services.conformance.examination import conduct
from services.conformance.proxy import CuttableWay
from services.conformance.verdicts import Verdicts
from services.conformance.wishes import Wishes
from services.monitor.live_site import LiveSite, look_around
from twinswarm.deploy.process import Connection
from twinswarm.simulation.runs import new_run_id


@dataclass(frozen=True, slots=True)
class Moment:
    """When the run begins: ``begin`` None is now, with real devices; else it is simulated, ``speed`` times faster."""

    begin: datetime | None = None
    speed: float = 1.0


def examine(
    connection: Connection,
    site: str,
    device: str,
    wishes: Wishes,
    way: CuttableWay | None,
    moment: Moment,
    say: Callable[[str], None],
) -> tuple[Kind, Verdicts]:
    """Examines it in the run that goes on, else in one of its own, which it ends.

    On a broker with an access list set-points are written by the EMS's certificate, the run by the clock's.
    Raises SiteBusyError while an EMS leads, RunFailedError when no birth comes or in a lock-step run, InputError when
    ``moment`` contradicts the run that goes on, BrokerUnreachableError.
    """
    with ExitStack() as stack:

        def client(name: str, *subscriptions: str) -> MqttTransport:
            made = _client(connection, site, name)
            stack.enter_context(closing(made))
            made.connect(subscriptions)
            return made

        live = _look(connection, site)
        if live.leading_ems is not None:
            what = f"{live.leading_ems} leads site {site}: stop it, or start it with --mode observe"
            raise SiteBusyError(f"a device is examined by set-points, and {what}")
        run, time_base = _going_on(live)
        if time_base is not None and moment.begin is not None:
            what = f"run {run} goes on at site {site}, and its time holds"
            raise InputError.one("--at", what, moment.begin.isoformat(), code=Code.CONFLICT)
        kind = _kind(connection, site, device, wishes.join_s)
        ear = client(OBSERVER, *filters(site, kind, device))
        if time_base is None:
            run, time_base = new_run_id(datetime.now(UTC)), _time_base(moment)
            clock = client("clock") if connection.certificates else ear
            _announce(clock, site, run, time_base)
            stack.callback(_end, clock, site, run, time_base)
        hand = client("ems") if connection.certificates else ear
        bench = Bench(site, kind, device, run, time_base, hand, ear, time.monotonic)
        return kind, conduct(bench, wishes, way, say)


def _client(connection: Connection, site: str, name: str) -> MqttTransport:
    """By the certificate in this name, where there are some; else under a name of its own."""
    logging.getLogger(MqttTransport.__module__).addHandler(logging.NullHandler())  # what it warns of is raised, too
    own = name if connection.certificates else f"conform-{secrets.token_hex(3)}"
    return MqttTransport(connection.address, client_id(site, own), connection.credentials_of(name))


def _look(connection: Connection, site: str) -> LiveSite:
    transport = _client(connection, site, OBSERVER)
    try:
        return look_around(transport, site, time.monotonic).get(site) or LiveSite(site)
    finally:
        transport.close()


def _kind(connection: Connection, site: str, device: str, wait_s: float) -> Kind:
    """The device's kind, by its first message. Raises RunFailedError when none came."""
    transport = _client(connection, site, OBSERVER)
    own = (Channel.BIRTH, Channel.STATE, Channel.TELEMETRY)
    transport.connect([topic_filter(site, device=device, channel=channel) for channel in own])
    deadline = time.monotonic() + wait_s
    try:
        while (left := deadline - time.monotonic()) > 0:
            delivery = transport.receive(left)
            if delivery is not None and delivery.payload:
                transport.acknowledge(delivery)
                return Topic.parse(delivery.topic).kind
    finally:
        transport.close()
    raise RunFailedError(f"nothing of {device} came at site {site} within {wait_s:g} s", code=Code.NO_ANSWER)


def _going_on(live: LiveSite) -> tuple[str, Run | None]:
    """The run in wall time that a clock conducts now; None: there is none. Raises RunFailedError in lock-step."""
    clocks = (live.device(name) for name, (topic, _, _) in live.births.items() if topic.kind is Kind.CLOCK)
    conducted = any(clock is not None and clock.online for clock in clocks)
    if not conducted or live.time_base is None or live.time_base.ended is not None:
        return "", None
    return live.wall_run()


def _time_base(moment: Moment) -> Run:
    now = datetime.now(UTC)
    simulated = moment.begin is not None
    t0 = moment.begin or now
    return Run(mode=TimeMode.WALL, step_s=900, t0=t0, wall0=now, speed=moment.speed, simulated=simulated)


def _announce(clock: MqttTransport, site: str, run: str, time_base: Run, seq: int = 1) -> None:
    now = time_base.time_from_t0(datetime.now(UTC))
    stamp = Stamp(ts=now, run=run, boot=f"conform-{run[-4:]}", seq=seq)
    clock.publish(str(Topic(site, Kind.CLOCK, "clock", Channel.RUN)), encode(stamp, time_base), retain=True)


def _end(clock: MqttTransport, site: str, run: str, time_base: Run) -> None:
    _announce(clock, site, run, time_base.model_copy(update={"ended": datetime.now(UTC)}), seq=2)
    clock.flush(5.0)
