"""A real Mosquitto, as ``twinswarm provision`` configures it, and clients on it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.provision.layout import Folder
from broker.provision.mosquitto_conf import BrokerPlace
from broker.provision.workspace import provision_site
from broker.servers.mosquitto import _free_port, find_mosquitto
from broker.transport import Delivery, Will
from schemas.messages import Body, Metric, Stamp
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import encode
from sites.loader import load_site

HOST = "127.0.0.1"
SITE = "fit-g2v"
NOW = datetime.now(UTC).replace(microsecond=0)
PATIENCE_S = 10.0


def default_site() -> Site:
    return load_site("fit_g2v")


def place_of(root: Path, port: int = 8883) -> BrokerPlace:
    broker = root / "broker"
    return BrokerPlace(config=broker, data=broker / "data", port=port, user="root")


class Secured:
    """``folder``: what was provisioned. ``address``: where Mosquitto listens with it."""

    def __init__(self, root: Path, site: Site | None = None) -> None:
        port = _free_port()
        provision_site(site or default_site(), root, place_of(root, port), NOW)
        (root / "broker" / "data").mkdir()
        self.folder = Folder(root)
        self.address = BrokerAddress(HOST, port, tls=True)
        self._clients = ExitStack()

    @contextmanager
    def running(self) -> Iterator["Secured"]:
        binary = find_mosquitto()
        assert binary is not None
        log = self.folder.root / "mosquitto.log"
        talkative = self.folder.root / "talkative.conf"
        talkative.write_text(
            (self.folder.broker / "mosquitto.conf").read_text() + "log_type debug\nlog_type information\n"
        )
        with log.open("wb") as output:
            command = [str(binary), "-c", str(talkative)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.pid = process.pid
        try:
            deadline = time.monotonic() + PATIENCE_S
            # Not as soon as it accepts connections: it reads the list of the revoked after that.
            while b" running\n" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
            with self._clients:
                yield self
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    @property
    def denied(self) -> list[str]:
        """What the broker says that it forbade so far."""
        lines = (self.folder.root / "mosquitto.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if "Denied" in line]

    def client(self, name: str, *subscriptions: str, will: Will | None = None) -> MqttTransport:
        """Connected with the certificate of ``name`` until the broker ends."""
        # What it calls itself does not count; in its log lines it tells who it is.
        transport = MqttTransport(self.address, f"honest-{name}", self.folder.credentials(name))
        transport.connect(subscriptions, will)
        self._clients.callback(transport.close)
        return transport


def topic(kind: Kind, device: str, channel: Channel) -> str:
    return str(Topic(SITE, kind, device, channel))


def message(body: Body, boot: str = "b1", seq: int = 1) -> bytes:
    return encode(Stamp(ts=NOW, boot=boot, seq=seq), body)


def send_marker(transport: MqttTransport, kind: Kind, device: str) -> str:
    """A message that its sender may send, after those that it may not; returns its topic."""
    where = topic(kind, device, Channel.METRIC)
    transport.publish(where, message(Metric(values={"marker": 1.0})))
    assert transport.flush(PATIENCE_S)
    return where


def until(transport: MqttTransport, marker: str) -> list[Delivery]:
    """Everything that comes before the marker. A broker keeps the order of one sender's messages (4.6)."""
    found: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        delivery = transport.receive(deadline - time.monotonic())
        if delivery is None:
            break
        transport.acknowledge(delivery)
        if delivery.topic == marker:
            return found
        found.append(delivery)
    raise AssertionError(f"{marker} did not arrive, but {found}")


def arrives(sender: MqttTransport, reader: MqttTransport, device: str) -> bool:
    """Whether a message gets through as soon as the broker has read its list anew."""
    where = topic(Kind.CHARGER, device, Channel.METRIC)
    for seq in range(1, 50):
        sender.publish(where, message(Metric(values={}), seq=seq))
        assert sender.flush(5.0)
        delivery = reader.receive(0.2)
        if delivery is not None:
            return delivery.topic == where
    return False


ALL = everything(SITE)
