"""`twinswarm up`: a broker, one process per participant, the clock; a day in lock-step; then the result."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.address import BrokerAddress, Credentials, LocalBroker, parse_broker
from broker.embedded import EmbeddedBroker
from broker.mosquitto import LocalMosquitto
from broker.mqtt import MqttTransport
from schemas.errors import InputError, RemoteMessageError
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel, Topic, topic_filter
from schemas.wire import decode
from services.analysis.result import RunResult
from services.clock.lockstep import CLOCK
from services.swarm.clock_process import ClockOrder
from services.swarm.compose import members
from services.swarm.pipeline import OnMessage, Order, settle
from services.swarm.process import Connection, utc_now
from services.swarm.runs import new_run_id
from services.swarm.supervisor import Supervisor

_WATCHED = (Channel.TICK, Channel.TELEMETRY, Channel.SERIES, Channel.PLAN, Channel.RECEIPT, Channel.ALARM)


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


@contextmanager
def broker_for(how: How, logs: Path) -> Iterator[Connection]:
    """Starts a local broker if one is asked for. Raises InputError, BrokerUnreachableError."""
    address = parse_broker(how.broker)
    with ExitStack() as stack:
        if address is LocalBroker.EMBEDDED:
            address = stack.enter_context(EmbeddedBroker(log=logs / "broker.log")).address
        elif address is LocalBroker.MOSQUITTO:
            address = stack.enter_context(LocalMosquitto(directory=logs / "mosquitto")).address
        assert isinstance(address, BrokerAddress)
        how.credentials.check_for(address)
        yield Connection(address, how.credentials)


def conduct_swarm(
    order: Order, how: How, on_message: OnMessage | None = None, on_news: Callable[[str], None] | None = None
) -> RunResult:
    """Runs a day as a swarm of processes, records it, and compares it with its reference.

    ``on_news`` is told of processes that died. Raises TwinswarmError; whatever happens, no process is left behind.
    """
    site = order.taking_part
    _check_attached(site, how.attach)
    began = time.perf_counter()
    run = new_run_id(utc_now())
    folder = how.workdir / run
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    site_file = folder / "site.json"
    site_file.write_text(site.model_dump_json(), encoding="utf-8")
    clock = ClockOrder(run=run, t0=order.course.t0, t_end=order.course.t_end, allowed=frozenset(members(site)))
    supervisor = Supervisor(logs)
    with broker_for(how, logs) as connection:
        command = _Command(site_file, connection, folder / "checkpoints", order.history)
        observer = MqttTransport(connection.address, f"{site.site}.observer", connection.credentials)
        observer.connect([topic_filter(site.site, channel=channel) for channel in _WATCHED])
        try:
            for device in members(site):
                if device not in how.attach:
                    supervisor.start(device, command.of(device))
            supervisor.start(CLOCK, [*command.of(CLOCK), "--course", clock.model_dump_json()])
            while not supervisor.finished(CLOCK):
                for death in supervisor.watch():
                    if on_news is not None:
                        on_news(str(death))
                _observe(observer, on_message)
        finally:
            supervisor.stop()
            observer.close()
    return settle(order.history, run, order.reference, time.perf_counter() - began)


def _check_attached(site: Site, attach: frozenset[str]) -> None:
    if unknown := sorted(attach - set(members(site))):
        raise InputError.one("--attach", f"the site has {', '.join(members(site))}", ", ".join(unknown))


@dataclass(frozen=True)
class _Command:
    """The command line of a process of the swarm."""

    site_file: Path
    connection: Connection
    checkpoints: Path
    history: Path

    def of(self, device: str) -> list[str]:
        options = {
            "--site": self.site_file,
            "--broker": self.connection.address,
            "--checkpoints": self.checkpoints,
            "--cafile": self.connection.credentials.cafile,
            "--cert": self.connection.credentials.cert,
            "--key": self.connection.credentials.key,
            "--username": self.connection.credentials.username,
            "--password-file": self.connection.credentials.password_file,
        }
        if device == "recorder":
            options["--history"] = self.history
        given = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
        return [sys.executable, "-m", "services.swarm.process", device, *given, "--lifeline"]


def _observe(observer: MqttTransport, on_message: OnMessage | None) -> None:
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
                on_message(Received(topic, stamp, body))
        observer.acknowledge(delivery)
        delivery = observer.receive(0.0)
