"""A Mosquitto of our own on the loopback interface, when its binary is there. The reference broker."""

import ctypes
import ctypes.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from broker.address import BrokerAddress
from schemas.errors import BrokerUnreachableError, Code, InputError
from schemas.wire import MAX_PAYLOAD_BYTES

HOST = "127.0.0.1"
BINARY_VARIABLE = "TWINSWARM_MOSQUITTO"
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 2.0
QUEUE_MOST_BYTES = 256 * 1024 * 1024
"""Kept for one client that is away or slow; messages beyond it are dropped for that client."""
IN_FLIGHT_MOST = 1000
"""Sent to one client and not yet acknowledged by it."""
MOSQUITTO_ERROR_LINES = 3
_PR_SET_PDEATHSIG = 1


def find_mosquitto() -> Path | None:
    """The binary: the environment variable TWINSWARM_MOSQUITTO, the PATH, then where Debian puts it."""
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        return Path(named) if os.access(named, os.X_OK) else None
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    return None if found is None else Path(found)


def configuration(
    port: int,
    directory: Path,
    *,
    nodelay: bool = True,
    persistence: bool = False,
    queue_most_bytes: int = QUEUE_MOST_BYTES,
) -> str:
    """The text of mosquitto.conf. No names, no passwords: whoever may use this machine's loopback may use it."""
    lines = [
        f"listener {port} {HOST}",
        "allow_anonymous true",
        f"set_tcp_nodelay {_bool(nodelay)}",
        f"message_size_limit {MAX_PAYLOAD_BYTES}",
        "max_queued_messages 0",
        f"max_queued_bytes {queue_most_bytes}",
        f"max_inflight_messages {IN_FLIGHT_MOST}",
        "sys_interval 1",  # what it says of itself, such as how many messages it dropped
        f"persistence {_bool(persistence)}",
        f"persistence_location {directory}/",
        "autosave_interval 1",
        "autosave_on_changes true" if persistence else "autosave_on_changes false",
        f"log_dest file {directory / 'mosquitto.log'}",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # it would drop to a user who may not write into our directory
    return "\n".join(lines) + "\n"


def _bool(value: bool) -> str:
    return "true" if value else "false"


class LocalMosquitto:
    """Context manager: a running Mosquitto. ``address`` is where it listens; `stop` and `start` again keep its port.

    ``directory`` holds its configuration, log and, with ``persistence``, its database of retained and queued
    messages, written on every change; None: a temporary one. Raises InputError when the binary is missing.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        persistence: bool = False,
        nodelay: bool = True,
        queue_most_bytes: int = QUEUE_MOST_BYTES,
    ) -> None:
        binary = find_mosquitto()
        if binary is None:
            named = os.environ.get(BINARY_VARIABLE)
            where = (
                f"{BINARY_VARIABLE}={named} is no program" if named else f"not on the PATH, {BINARY_VARIABLE} not set"
            )
            raise InputError.one(
                "--broker mosquitto", f"there is no Mosquitto ({where}); use --broker embedded", code=Code.NOT_INSTALLED
            )
        self._binary = binary
        self._temporary = tempfile.TemporaryDirectory(prefix="twinswarm-mosquitto-") if directory is None else None
        self._directory = Path(self._temporary.name) if self._temporary else directory
        self._persistence = persistence
        self._nodelay = nodelay
        self._queue_most_bytes = queue_most_bytes
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> BrokerAddress:
        assert self._port, "the broker was never started"
        return BrokerAddress(HOST, self._port)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> BrokerAddress:
        """Returns when it accepts connections. Raises BrokerUnreachableError, with its last words, if it fails.

        To be called by the main thread: the kernel ends the broker when the thread that started it ends.
        """
        assert self._directory is not None
        self._directory.mkdir(parents=True, exist_ok=True)
        self._port = self._port or _free_port()
        file = self._directory / "mosquitto.conf"
        text = configuration(
            self._port,
            self._directory,
            nodelay=self._nodelay,
            persistence=self._persistence,
            queue_most_bytes=self._queue_most_bytes,
        )
        file.write_text(text, encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603 - the binary that the user has or named
            [str(self._binary), "-c", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for us: the others still want to say goodbye
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one call of a C function that was loaded before the fork
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _accepts(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BrokerUnreachableError(f"Mosquitto did not start on {HOST}:{self._port}: {self._last_words()}")
            time.sleep(0.01)
        return self.address

    def _last_words(self) -> str:
        assert self._directory is not None
        log = self._directory / "mosquitto.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return " | ".join(lines[-MOSQUITTO_ERROR_LINES:]) or "it left no log"

    def stop(self) -> None:
        """Ends it. Safe to call twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a fault of the machine would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False


def _end_with_parent() -> Callable[[], None] | None:
    """For Linux: the kernel ends the child with us, so that a killed supervisor leaves no orphan."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return ask
