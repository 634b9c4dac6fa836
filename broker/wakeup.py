"""Ends a thread's waiting for a socket from another thread: a pipe that is polled beside the socket."""

import os
import select
import threading


class Wakeup:
    """``set`` may be called by any thread, the other methods by the one that waits."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._lock = threading.Lock()
        self._is_set = False

    def fileno(self) -> int:
        """Readable while it is set."""
        return self._read

    def set(self) -> None:
        with self._lock:
            if not self._is_set:
                self._is_set = True
                os.write(self._write, b"!")

    def clear(self) -> bool:
        """Returns whether it was set."""
        with self._lock:
            was_set, self._is_set = self._is_set, False
            if was_set:
                os.read(self._read, 1)
        return was_set

    def wait(self, timeout_s: float) -> None:
        """Returns when it is set, or after so long. It stays set."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.poll(1000 * timeout_s)

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)
