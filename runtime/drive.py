"""The thin loop around a participant or the clock in wall time: it waits for messages and for what is due."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from broker.transport import Delivery, Transport
from runtime.steady_clock import SteadyClock
from schemas.errors import IdentityTakenError

BURST = 512
"""Messages handled before the phases that are due are looked at again."""
PATIENCE_S = 0.5
"""Longest wait, so that a request to stop is noticed."""


class Loop(Protocol):
    """The loops that `drive` drives: `WallLoop` and the wall clock."""

    @property
    def finished(self) -> bool: ...

    def start(self, now: datetime) -> None: ...

    def handle(self, delivery: Delivery, now: datetime) -> None: ...

    def run_due(self, now: datetime) -> datetime | None: ...

    def finish(self, now: datetime) -> None: ...

    def fail(self, reason: str, now: datetime) -> None: ...

    def step_aside(self) -> None: ...


def drive(loop: Loop, transport: Transport, stop: threading.Event, now: Callable[[], datetime] | None = None) -> None:
    """Runs until the loop has finished or ``stop`` is set, then says goodbye.

    ``now``: a clock that does not step, such as that of the `SteadyClock` that the loop has; by default one of its
    own. An error ends it, too: the state it leaves says ``fault`` and why, and the error is raised. Of two processes of
    one name one gives way (IdentityTakenError), and leaves the state of the other.
    """
    now = now or SteadyClock().now
    try:
        loop.start(now())
        while not (stop.is_set() or loop.finished):
            due = loop.run_due(now())
            wait_s = PATIENCE_S if due is None else (due - now()).total_seconds()
            delivery = transport.receive(min(max(wait_s, 0.0), PATIENCE_S))
            for _ in range(BURST):
                if delivery is None:
                    break
                loop.handle(delivery, now())
                delivery = transport.receive(0.0)
            if delivery is not None:
                loop.handle(delivery, now())
        loop.finish(now())
    except IdentityTakenError:
        loop.step_aside()
        raise
    except Exception as error:
        loop.fail(last_words(error), now())
        raise
    finally:
        transport.close()


def last_words(error: Exception) -> str:
    """The reason in the state ``fault`` of a participant that ends with this error."""
    return f"{type(error).__name__}: {error}"[:500]
