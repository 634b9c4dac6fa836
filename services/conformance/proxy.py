"""A way to the broker that can be cut: the device under examination connects here instead.

A broker drops a client only for who may administrate it, and no access list lets one take over another's identity. So
the cut is made in between, by bytes: encryption passes through, and the device must dial again by itself.
"""

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from schemas.errors import Code, InputError

_CHUNK = 65_536
_DIAL_S = 10.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: the connection ends by a reset, as a pulled cable's does after a while, not by a goodbye."""


class CuttableWay:
    """Passes connections on 127.0.0.1:``port`` (0: a free one) to ``host``:``to_port``. A context."""

    def __init__(self, port: int, host: str, to_port: int) -> None:
        """Raises InputError when the port is not free."""
        self._to = (host, to_port)
        self._open = True
        self._closed = False
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.connections = 0
        """How often somebody has come through."""
        try:
            self._door = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise InputError.one(
                "--through", f"cannot be listened on: {error.strerror}", port, code=Code.IN_USE
            ) from None
        self.port: int = self._door.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="way", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Ends every connection without a goodbye, and lets nobody in until `restore`."""
        with self._lock:
            self._open = False
            ends, self._ends = self._ends, set()
        for end in ends:
            _reset(end)

    def restore(self) -> None:
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.cut()
        self._thread.join(5.0)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            if not self._open:
                _reset(near)
                continue
            try:
                far = socket.create_connection(self._to, _DIAL_S)
            except OSError:
                _reset(near)
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._ends |= {near, far}
                self.connections += 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), name="way", daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                sink.sendall(data)
        with self._lock:
            ours = {source, sink} & self._ends
            self._ends -= ours
        for end in ours:  # the other side said goodbye, or was lost: what MQTT said of it has been passed on
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
