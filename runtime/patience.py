"""Waiting for what comes back without hands: a broker that is away, room on a disk, the connection of one's name."""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from broker.transport import Transport
from schemas.errors import BrokerAwayError

LOG = logging.getLogger(__name__)

FIRST_S, MOST_S = 0.5, 15.0
"""Between two tries: twice as long after each."""
STAND_BY_FIRST_S, STAND_BY_MOST_S = 8.0, 60.0
"""Between two looks whether the other process of this name is gone. A look takes the connection for a moment; three
quarters of the first are more than `broker.rivalry.STEADY_S`, or looks would look like a fight to who acts."""
FOUGHT_FOR_S = 4.0
"""Who has a connection and loses it is back in this time, on a busy machine, too. Less than `broker.rivalry.STEADY_S`:
who looks does not hold it."""
LOOK_S = 0.05
"""Less than `broker.mqtt.RETRY_FIRST_S`: a connection that was taken back is not made anew."""
ROOM_BYTES = 2**20
"""There is room on a disk again when a file of this size can be written."""


def connected(connect: Callable[[], None], stop: threading.Event) -> bool:
    """Connects, however long no broker answers. False: ``stop`` was set before.

    Raises BrokerUnreachableError when a broker refuses this client: waiting would not change that.
    """
    wait_s = FIRST_S
    while not stop.is_set():
        try:
            connect()
        except BrokerAwayError as error:
            LOG.warning("%s; tried again in %g s", error, wait_s)
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, MOST_S)
        else:
            return True
    return False


class StandBy:
    """Waits while another process of this name acts."""

    def __init__(self) -> None:
        self._wait_s = STAND_BY_FIRST_S

    def until_free(self, look: Callable[[], Transport], stop: threading.Event, acted_s: float) -> None:
        """Returns when a connection that ``look`` makes is not taken back, or ``stop`` is set.

        ``acted_s``: how long [s] this process has acted before. Raises BrokerUnreachableError when a broker refuses
        this client.
        """
        if acted_s >= STAND_BY_MOST_S:
            self._wait_s = STAND_BY_FIRST_S
        while not stop.is_set():
            wait_s = self._wait_s * (75 + secrets.randbelow(26)) / 100  # two that wait must not come together
            LOG.warning("another process has this name and acts: this one stands by, and looks again in %.0f s", wait_s)
            stop.wait(wait_s)
            self._wait_s = min(2 * self._wait_s, STAND_BY_MOST_S)
            if not stop.is_set() and _is_left(look, stop):
                LOG.warning("the other process of this name is gone: this one takes over")
                return


def _is_left(look: Callable[[], Transport], stop: threading.Event) -> bool:
    """Whether nobody takes the connection back. Nothing is published, and nothing acknowledged."""
    transport = look()
    try:
        if not connected(lambda: transport.connect(()), stop):
            return False
        until = time.monotonic() + FOUGHT_FOR_S
        while transport.connected and time.monotonic() < until:
            transport.receive(LOOK_S)
        return transport.connected
    finally:
        transport.close()


def room(folder: Path, stop: threading.Event) -> None:
    """Returns when there is room in the folder, or ``stop`` is set."""
    wait_s = FIRST_S
    while not (stop.is_set() or _takes_more(folder)):
        LOG.warning("%s takes no more; nothing is written until there is room for %d bytes", folder, ROOM_BYTES)
        stop.wait(wait_s)
        wait_s = min(2 * wait_s, MOST_S)


def _takes_more(folder: Path) -> bool:
    trial = folder / f".room-{os.getpid()}-{threading.get_ident()}"
    try:
        with trial.open("wb") as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        LOG.debug("%s: %s", folder, error)
        return False
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()
    return True
