"""Waiting for what comes back without hands: a broker that is away, and room on a disk."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from schemas.errors import BrokerAwayError

LOG = logging.getLogger(__name__)

FIRST_S, MOST_S = 0.5, 15.0
"""Between two tries: twice as long after each."""
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
