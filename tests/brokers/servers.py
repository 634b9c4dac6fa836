"""The brokers of others, each as a process of its own on the loopback interface, in a temporary folder.

A program is found by an environment variable, on the PATH, or where `tests/brokers/install` puts it.
"""

import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from broker.address import BrokerAddress
from broker.servers.mosquitto import find_mosquitto
from schemas.wire import MAX_PAYLOAD_BYTES
from tests.parts import skip_without

HOST = "127.0.0.1"
INSTALLED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twinswarm-brokers" / "bin"
"""As in `tests/brokers/install`."""
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
PACKET_BYTES = 2 * MAX_PAYLOAD_BYTES
"""What a broker has to take: the largest payload with its topic."""


class Server(ABC):
    """One broker that can be started. ``limit``: the largest message that it is to take [bytes]; None: its default."""

    name: str
    program: str
    """Its name on the PATH; TWINSWARM_BROKER_NAME is the path of another one."""

    @classmethod
    def found(cls) -> Path | None:
        named = os.environ.get(f"TWINSWARM_BROKER_{cls.name.upper()}")
        if named:
            return Path(named) if os.access(named, os.X_OK) else None
        found = shutil.which(cls.program) or shutil.which(cls.program, path=INSTALLED)
        return None if found is None else Path(found)

    @abstractmethod
    def command(self, program: Path, folder: Path, port: int, limit: int | None) -> Sequence[str | Path]:
        """Its command line; files that it needs are written into ``folder``."""

    @contextmanager
    def running(self, folder: Path, limit: int | None = PACKET_BYTES) -> Iterator[BrokerAddress]:
        """Skips the test where the program is missing. Ends the process and all that it started."""
        program = self.found()
        skip_without(f"the broker {self.name}", present=program is not None)
        assert program is not None
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        log = folder / "broker.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(program, folder, port, limit),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not accepts(port):
                assert process.poll() is None, f"{self.name} ended at once:\n{log.read_text()}"
                assert time.monotonic() < deadline, f"{self.name} does not listen:\n{log.read_text()}"
                time.sleep(0.05)
            yield BrokerAddress(HOST, port)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Mosquitto(Server):
    name = program = "mosquitto"

    @classmethod
    def found(cls) -> Path | None:
        return find_mosquitto()

    def command(self, program: Path, folder: Path, port: int, limit: int | None) -> Sequence[str | Path]:
        lines = [f"listener {port} {HOST}", "allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0"]
        lines.append("max_inflight_messages 1000")  # 20 by default
        if limit is not None:
            lines.append(f"max_packet_size {limit}")
        if os.geteuid() == 0:
            lines.append("user root")  # it would drop to a user who may not read here
        return program, "-c", written(folder / "mosquitto.conf", lines)


class Mochi(Server):
    """Its program has no option for its limits: it takes messages of any size."""

    name = program = "mochi"

    def command(self, program: Path, folder: Path, port: int, limit: int | None) -> Sequence[str | Path]:
        del folder, limit
        others = [f"{HOST}:{free_port()}" for _ in range(2)]
        return program, "-tcp", f"{HOST}:{port}", "-ws", others[0], "-info", others[1]


class Nats(Server):
    """MQTT lives on JetStream, which keeps what is retained and what is under way in files below ``store_dir``."""

    name, program = "nats", "nats-server"

    def command(self, program: Path, folder: Path, port: int, limit: int | None) -> Sequence[str | Path]:
        lines = [
            "server_name: twinswarm",
            f"listen: {HOST}:{free_port()}",
            f'jetstream {{ store_dir: "{folder / "jetstream"}" }}',
            # What was not acknowledged comes again after this time only, also to who connects anew; by default 30 s.
            f'mqtt {{ listen: {HOST}:{port}, ack_wait: "3s" }}',
        ]
        if limit is not None:
            lines.append(f"max_payload: {limit}")
        return program, "-c", written(folder / "nats.conf", lines)


class Aedes(Server):
    """In memory; messages of any size."""

    name = program = "aedes"

    def command(self, program: Path, folder: Path, port: int, limit: int | None) -> Sequence[str | Path]:
        del folder, limit
        return program, "--host", HOST, "--port", str(port), "--maxClientsIdLength", "64"


class Moquette(Server):
    """A Java virtual machine: the slowest to start."""

    name = program = "moquette"

    def command(self, program: Path, folder: Path, port: int, limit: int | None) -> Sequence[str | Path]:
        lines = [
            f"host {HOST}",
            f"port {port}",
            "websocket_port disabled",
            "allow_anonymous true",
            "persistence_enabled false",
            f"data_path {folder}/",
            "immediate_buffer_flush true",  # otherwise it gathers what it sends
            "netty.tcp_nodelay true",
            "telemetry_enabled false",  # it would report itself to its makers
        ]
        if limit is not None:
            lines.append(f"netty.mqtt.message_size {limit}")
        written(folder / "config" / "moquette.conf", lines)
        return program, "-Xmx256m", f"-Dmoquette.path={folder}"


SERVERS: dict[str, Server] = {one.name: one for one in (Mosquitto(), Mochi(), Nats(), Aedes(), Moquette())}


def written(file: Path, lines: Sequence[str]) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
