"""The embedded broker: amqtt in a process of its own, on the loopback interface, with nothing to install.

Known of amqtt 0.12: MQTT 3.1.1 only; it gives up a message that its subscriber does not acknowledge within 5 s, and
loses what was under way when a connection drops. It therefore promises no durability outside lock-step, which
repairs. A real site runs on Mosquitto.

``python -m broker.servers.embedded`` is the process; it prints its port when it accepts connections, and ends when its
standard input does, so that it cannot outlive whoever started it.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from broker.address import BrokerAddress
from schemas.errors import BrokerUnreachableError

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 2.0


class EmbeddedBroker:
    """Context manager: a running broker. ``address`` is where it listens.

    ``port`` 0 lets the system choose a free one. ``log``: the file that its log is appended to; None: it is dropped.
    """

    def __init__(self, *, port: int = 0, log: Path | None = None) -> None:
        self._port = port
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._address: BrokerAddress | None = None

    @property
    def address(self) -> BrokerAddress:
        assert self._address is not None, "the broker is not running"
        return self._address

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> BrokerAddress:
        """Returns when it accepts connections. Raises BrokerUnreachableError, with the end of its log, if it fails."""
        with contextlib.ExitStack() as files:
            log: IO[bytes] | int = subprocess.DEVNULL
            if self._log is not None:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                log = files.enter_context(self._log.open("ab"))
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "broker.servers.embedded", "--port", str(self._port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us: the others still want to say goodbye
            )
        port = self._announced_port()
        if port is None:
            self.stop()
            where = "its log was dropped" if self._log is None else f"see {self._log}"
            raise BrokerUnreachableError(f"the embedded broker did not start on {HOST}:{self._port}; {where}")
        self._address = BrokerAddress(HOST, port)
        return self._address

    def _announced_port(self) -> int | None:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT_S)
        line = self._process.stdout.readline() if ready else b""
        return int(line) if line.strip().isdigit() else None

    def stop(self) -> None:
        """Ends it, within 2 s and a little. Safe to call twice."""
        process, self._process, self._address = self._process, None, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def serve(port: int) -> None:
    """Runs the broker until standard input ends or SIGTERM comes."""
    from broker.servers.loopback import LoopbackBroker

    broker = LoopbackBroker.on(HOST, port)
    await broker.start()
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else done.set())
    print(broker.port, flush=True)
    await done.wait()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(broker.shutdown(), STOP_TIMEOUT_S / 2)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m broker.servers.embedded", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.Formatter.converter = time.gmtime
    asyncio.run(serve(arguments.port))


if __name__ == "__main__":
    main()
