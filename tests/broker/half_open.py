"""A TCP proxy that can fall silent: connections stand at both ends, and nothing passes, neither FIN nor RST."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from broker.address import BrokerAddress

HOST = "127.0.0.1"
READ_BYTES = 65_536


class _Connection:
    """``broker`` None: it was taken while the proxy was silent, and leads nowhere."""

    def __init__(self, client: socket.socket, broker: socket.socket | None) -> None:
        self.dead = broker is None
        """For good: what a firewall has forgotten it does not know again."""
        self._client, self._broker = client, broker
        pairs = [(client, broker)] if broker is None else [(client, broker), (broker, client)]
        for pair in pairs:
            threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(READ_BYTES):
                if not self.dead and sink is not None:
                    sink.sendall(data)
        if not self.dead:
            self.close()

    def close(self) -> None:
        for end in (self._client, self._broker):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


class HalfOpenProxy:
    """Context manager: passes on what comes to ``address``, until it falls silent."""

    def __init__(self, broker: BrokerAddress) -> None:
        self._broker = broker
        self._server = socket.create_server((HOST, 0))
        self.address = BrokerAddress(HOST, self._server.getsockname()[1])
        self._connections: list[_Connection] = []
        self._silent = threading.Event()
        self.swallowed = 0
        """Connections that were taken while it was silent."""
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        self._silent.set()
        for connection in list(self._connections):
            connection.dead = True

    def pass_on(self) -> None:
        """New connections are passed on again; the others stay dead."""
        self._silent.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                broker = None
                if self._silent.is_set():
                    self.swallowed += 1
                else:
                    broker = socket.create_connection((self._broker.host, self._broker.port))
                self._connections.append(_Connection(client, broker))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._server.close()
        for connection in self._connections:
            connection.close()
