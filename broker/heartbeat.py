"""A sign of life for whoever supervises a process: a file whose modification time is renewed.

The loop that does the work renews it; no thread stands in for it. A loop that is stuck, or that has lost its broker,
lets the file grow old.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from schemas.errors import Code, InputError, LocalStateError

PERIOD_S = 2.0
"""A loop that waits comes by so often. Supervisors are promised 5 s."""
LEAST_S = 1.0
"""Between renewals: a lock-step loop turns a thousand times a second."""


class Heartbeat:
    """``path`` None: nobody looks, and nothing is written. ``now``: a monotonic clock [s].

    Raises InputError when the file cannot be written. A file that a process before this one left is removed: it does
    not vouch for this one.
    """

    def __init__(self, path: Path | None, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._renewed: float | None = None
        if path is not None:
            try:
                path.touch()
                path.unlink()
            except OSError as error:
                raise InputError.one(
                    "--heartbeat", f"cannot be written: {error.strerror}", str(path), code=Code.UNWRITABLE
                ) from None

    def beat(self) -> None:
        """To be called by the loop in every turn. Raises LocalStateError when the file can no longer be written."""
        if self._path is None:
            return
        now = self._now()
        if self._renewed is not None and now - self._renewed < LEAST_S:
            return
        try:
            self._path.touch()
        except OSError as error:
            raise LocalStateError(f"the heartbeat {self._path} can no longer be written: {error.strerror}") from None
        self._renewed = now

    def wait(self, stop: threading.Event, timeout_s: float | None = None) -> bool:
        """`threading.Event.wait`, alive meanwhile: for a loop whose work is to wait. Returns whether ``stop`` is set.

        ``timeout_s`` None: until it is set.
        """
        until = None if timeout_s is None else self._now() + timeout_s
        while True:
            self.beat()
            left = PERIOD_S if until is None else min(until - self._now(), PERIOD_S)
            if stop.wait(max(left, 0.0)):
                return True
            if until is not None and self._now() >= until:
                return False


NOBODY_LOOKS = Heartbeat(None)
