"""`twinswarm up`: a broker, one process per participant, the clock; a day in lock-step; then the result."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from broker.address import BrokerAddress, Credentials, LocalBroker, parse_broker
from broker.mqtt import MqttTransport
from broker.servers.embedded import HOST, EmbeddedBroker
from broker.servers.mosquitto import LocalMosquitto
from runtime.wall import LINGER_S
from schemas.errors import Code, InputError, RemoteMessageError
from schemas.messages import Run, TimeMode
from schemas.participant import Received
from schemas.roles import OBSERVER
from schemas.site import Site
from schemas.topics import Channel, Topic, client_id, topic_filter
from schemas.wire import decode
from services.analysis.result import RunResult
from services.clock.lateness import WhenLate
from services.clock.lockstep import CLOCK
from services.clock.refusal import check_site_is_free
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.process import Connection, utc_now
from twinswarm.deploy.processes import ProcessSwarm
from twinswarm.deploy.running import announced
from twinswarm.deploy.supervisor import Death
from twinswarm.deploy.threads import ThreadedSwarm
from twinswarm.extras import require
from twinswarm.simulation.compose import members
from twinswarm.simulation.pipeline import OnMessage, Order, settle
from twinswarm.simulation.runs import new_run_id

RECORDER_LISTENS_S = LINGER_S + 1.0
"""In wall time no barrier says that the recorder has everything: so long after the end it may still listen."""
_WATCHED = (Channel.RUN, Channel.TICK, Channel.TELEMETRY, Channel.SERIES, Channel.PLAN, Channel.RECEIPT, Channel.ALARM)


@dataclass(frozen=True)
class How:
    """How the swarm is to run. ``broker``: embedded, mosquitto, or the address of one that runs."""

    broker: str
    credentials: Credentials
    workdir: Path
    """Its run's logs, checkpoints and resolved site go to a folder below."""
    speed: float | None = None
    """None: lock-step, as fast as the machine goes; else wall time, so many times faster."""
    attach: frozenset[str] = frozenset()
    """Devices that the user runs: no twin is started for them."""
    one_process: bool = False
    """All participants as threads of this process, each with its connection; else a process each."""
    certificates: Path | None = None
    """Folder that ``twinswarm provision`` made: everybody proves by a certificate who it is. None: `credentials`."""
    port: int = 0
    """Port of the broker that is started; 0: a free one."""
    from_now: bool = False
    """The run begins when its clock does, at the machine's time then; needs ``speed``."""
    start_at: datetime | None = None
    """The machine's time at which the run begins; needs ``speed``. None: as soon as everybody is there."""
    endless: bool = False
    """Until it is stopped; needs ``speed``."""
    when_late: WhenLate = WhenLate.GO_ON
    """What the clock does when set-points come too late at this ``speed``."""

    @property
    def mode(self) -> TimeMode:
        return TimeMode.LOCKSTEP if self.speed is None else TimeMode.WALL

    @property
    def external(self) -> bool:
        """Whether the broker runs already, and may have others on it."""
        return isinstance(parse_broker(self.broker), BrokerAddress)


@contextmanager
def broker_for(how: How, logs: Path) -> Iterator[Connection]:
    """Starts a local broker if one is asked for. Raises InputError, BrokerUnreachableError."""
    address = parse_broker(how.broker)
    if isinstance(address, LocalBroker) and how.port:
        _check_port(how.port)
    with ExitStack() as stack:
        if address is LocalBroker.EMBEDDED:
            require("amqtt")  # it is loaded by another process
            address = stack.enter_context(EmbeddedBroker(port=how.port, log=logs / "broker.log")).address
        elif address is LocalBroker.MOSQUITTO:
            address = stack.enter_context(LocalMosquitto(port=how.port, directory=logs / "mosquitto")).address
        assert isinstance(address, BrokerAddress)
        connection = Connection(address, how.credentials, how.certificates)
        connection.credentials_of(OBSERVER).check_for(address)
        yield connection


def _check_port(port: int) -> None:
    """Raises InputError when another program listens there, or this one may not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was closed a moment ago is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            what = f"no broker can listen there: {error.strerror}; leave it out for a free one"
            raise InputError.one("--port", what, port, code=Code.IN_USE) from None


@dataclass
class StartedRun:
    """A run whose broker is there. ``start`` brings up the participants; `prepared` ends all of it."""

    run: str
    site: Site
    connection: Connection
    participants: "Swarm"
    attach: frozenset[str]

    def start(self) -> None:
        """Starts everybody but those that the user runs, the clock last."""
        for device in members(self.site):
            if device not in self.attach:
                self.participants.start(device)
        self.participants.start(CLOCK)

    @property
    def finished(self) -> bool:
        """Whether the clock has carried the run to its end."""
        return self.participants.finished(CLOCK)

    def observer(self) -> MqttTransport:
        """A connection, not connected yet, in the name of those who only look."""
        name = client_id(self.site.site, OBSERVER)
        return MqttTransport(self.connection.address, name, self.connection.credentials_of(OBSERVER))


@contextmanager
def prepared(order: Order, how: How) -> Iterator[StartedRun]:
    """A run with its broker, not started yet. While this lasts other commands on this machine find the broker.

    Raises TwinswarmError; whatever happens, no process is left behind.
    """
    site = order.taking_part
    _check_attached(site, how.attach)
    run = new_run_id(utc_now())
    folder = how.workdir / run
    folder.mkdir(parents=True, exist_ok=True)
    with broker_for(how, folder / "logs") as connection, announced(site.site, run, connection.address):
        length = None if how.endless else order.course.t_end - order.course.t0
        t0 = None if how.from_now else order.course.t0
        clock = ClockOrder(
            run=run,
            t0=t0,
            length=length,
            allowed=None,
            speed=how.speed,
            wall0=how.start_at,
            when_late=how.when_late,
        )
        swarm: Swarm
        if how.one_process:
            swarm = ThreadedSwarm(site, clock, connection, order.history, order.algorithm)
        else:
            swarm = ProcessSwarm(site, clock, connection, order.history, folder, order.algorithm)
        started = StartedRun(run, site, connection, swarm, how.attach)
        if how.external:
            check_site_is_free(started.observer(), site.site, how.mode, how.attach)
        try:
            yield started
        finally:
            swarm.stop()


def conduct_swarm(
    order: Order,
    how: How,
    on_message: OnMessage | None = None,
    on_news: Callable[[str], None] | None = None,
    on_broker: Callable[[BrokerAddress], None] | None = None,
) -> RunResult:
    """Runs a day as a swarm of processes, records it, and compares it with its reference.

    ``on_news`` is told of processes that died, ``on_broker`` where the broker is, once it is there. Raises
    TwinswarmError; whatever happens, no process is left behind.
    """
    began = time.perf_counter()
    with prepared(order, how) as started:
        if on_broker is not None:
            on_broker(started.connection.address)
        slowed = _Slowed(how.speed, on_news)
        observer = started.observer()
        observer.connect([topic_filter(started.site.site, channel=channel) for channel in _WATCHED])
        try:
            started.start()
            while not started.finished:
                for death in started.participants.watch():
                    if on_news is not None:
                        on_news(str(death))
                _observe(observer, on_message, slowed)
            if how.mode is TimeMode.WALL:
                _linger(observer, on_message)
        finally:
            # Everybody first: what they say as they end is still taken.
            started.participants.stop()
            observer.close()
    return settle(order.history, started.run, order.reference, time.perf_counter() - began)


class Swarm(Protocol):
    """Participants that run by themselves, in processes or threads."""

    def start(self, device: str) -> None: ...

    def watch(self) -> list[Death]:
        """Who died since the last call and was started again. Raises TwinswarmError when the run cannot go on."""
        ...

    def finished(self, device: str) -> bool: ...

    def stop(self) -> None: ...


def _check_attached(site: Site, attach: frozenset[str]) -> None:
    if unknown := sorted(attach - set(members(site))):
        raise InputError.one(
            "--attach", f"the site has {', '.join(members(site))}", ", ".join(unknown), code=Code.UNKNOWN
        )


def _linger(observer: MqttTransport, on_message: OnMessage | None) -> None:
    """Observes on while the recorder may still listen."""
    until = time.monotonic() + RECORDER_LISTENS_S
    while time.monotonic() < until:
        _observe(observer, on_message)


class _Slowed:
    """Reports that the clock announced the run again with a lower speed."""

    def __init__(self, speed: float | None, on_news: Callable[[str], None] | None) -> None:
        self._speed, self._on_news = speed, on_news

    def hear(self, body: object) -> None:
        if not isinstance(body, Run) or body.speed is None or self._speed is None or body.speed >= self._speed:
            return
        self._speed = body.speed
        if self._on_news is not None:
            what = "set-points came too late, time ran too fast for this machine"
            self._on_news(f"{what}: the clock goes on at {body.speed:g} times real time")


def _observe(observer: MqttTransport, on_message: OnMessage | None, slowed: _Slowed | None = None) -> None:
    """Takes what came since the last call, waiting a little for the first."""
    delivery = observer.receive(0.1)
    while delivery is not None:
        if on_message is not None:
            try:
                topic = Topic.parse(delivery.topic)
                stamp, body = decode(topic, delivery.payload)
            except RemoteMessageError:
                pass  # the recorder keeps it as a dead letter
            else:
                if slowed is not None:
                    slowed.hear(body)
                on_message(Received(topic, stamp, body))
        observer.acknowledge(delivery)
        delivery = observer.receive(0.0)
