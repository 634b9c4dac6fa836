"""The log of a device that talks nonsense, a hundred times a second perhaps."""

import logging
import time

LOG = logging.getLogger(__name__)

BURST, WINDOW_S = 10, 60.0
"""So many lines in a row at most; then one that counts the others, when this time is over."""


class Complaints:
    """Writes warnings about one device. Those beyond ``BURST`` in ``WINDOW_S`` are counted instead."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun, self._written, self._left_out = -WINDOW_S, 0, 0

    def write(self, text: str, *, traced: bool = False) -> None:
        """``traced``: with the exception that is being handled, which is nobody's nonsense but a fault of ours."""
        now = time.monotonic()
        if now - self._begun >= WINDOW_S:
            if self._left_out:
                LOG.warning("%s: %d more complaints in %.0f s", self._name, self._left_out, now - self._begun)
            self._begun, self._written, self._left_out = now, 0, 0
        if self._written >= BURST:
            self._left_out += 1
            return
        self._written += 1
        LOG.warning("%s: %s", self._name, text, exc_info=traced)
