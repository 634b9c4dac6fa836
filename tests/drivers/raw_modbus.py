"""A Modbus TCP device by bare sockets, for what a proper server never does: wrong frames, silence, half a write."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

READ_HOLDING, READ_INPUT, WRITE = 3, 4, 16
Answer = Callable[[int, int, int, bytes], bytes | None]
"""Transaction, unit, function and the proper body to the bytes on the wire; None: the connection is closed."""


def frame(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    return struct.pack(">HHHBB", transaction, 0, len(body) + 2, unit, function) + body


def wrong_transaction(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    return frame((transaction + 77) & 0xFFFF, unit, function, body)


def wrong_unit(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    return frame(transaction, unit + 9, function, body)


def another_function(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    return frame(transaction, unit, READ_INPUT if function == READ_HOLDING else READ_HOLDING, body)


def too_few_registers(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    return frame(transaction, unit, function, bytes([2]) + body[1:3] if function != WRITE else body)


def garbage(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    del transaction, unit, function, body
    return bytes(range(256)) * 4


def half_a_frame(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    return frame(transaction, unit, function, body)[:7]


def an_exception(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    del body
    return frame(transaction, unit, function | 0x80, bytes([4]))


def gone(transaction: int, unit: int, function: int, body: bytes) -> None:
    del transaction, unit, function, body


def gone_in_a_write(transaction: int, unit: int, function: int, body: bytes) -> bytes | None:
    return None if function == WRITE else frame(transaction, unit, function, body)


def nothing(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    del transaction, unit, function, body
    return b""


def five_seconds_late(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    time.sleep(5.0)
    return frame(transaction, unit, function, body)


def twice(transaction: int, unit: int, function: int, body: bytes) -> bytes:
    """The second time when the next request waits for its own."""
    return 2 * frame(transaction, unit, function, body)


class RawModbus:
    """Holding registers, one thread a connection. ``answer`` decides how the proper answer is spoilt."""

    def __init__(self) -> None:
        self.registers = dict.fromkeys(range(100), 0)
        self.answer: Answer = frame
        self.written: list[tuple[int, list[int]]] = []

    def put_float(self, address: int, value: float) -> None:
        self.registers |= dict(zip((address, address + 1), struct.unpack(">HH", struct.pack(">f", value)), strict=True))

    @contextmanager
    def serving(self) -> Iterator[int]:
        server = socket.create_server(("127.0.0.1", 0))
        open_sockets: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = server.accept()
                    open_sockets.append(taken)
                    threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            for each in (server, *open_sockets):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _serve(self, taken: socket.socket) -> None:
        with suppress(OSError), taken, taken.makefile("rb") as stream:
            while len(head := stream.read(8)) == 8:
                transaction, _, length, unit, function = struct.unpack(">HHHBB", head)
                said = self.answer(transaction, unit, function, self._body(function, stream.read(length - 2)))
                if said is None:
                    taken.shutdown(socket.SHUT_RDWR)
                    return
                taken.sendall(said)

    def _body(self, function: int, request: bytes) -> bytes:
        address, count = struct.unpack(">HH", request[:4])
        if function == WRITE:
            values = list(struct.unpack(f">{count}H", request[5:]))
            self.written.append((address, values))
            self.registers |= {address + i: value for i, value in enumerate(values)}
            return request[:4]
        values = [self.registers[address + i] for i in range(count)]
        return bytes([2 * count]) + struct.pack(f">{count}H", *values)
