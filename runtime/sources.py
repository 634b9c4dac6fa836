"""Input that is not MQTT: an OCPP connection, a Modbus poll, a weather or price feed, a test.

A source runs wherever it likes, in a thread of its own or in none, and puts values into its inlet. The inlet validates
each, keeps it, and wakes the run loop, which hands it to the participant as one of the turn's ``inputs``. So a
participant stays free of sockets and threads, and is tested by handing it turns.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from schemas.errors import shorten
from schemas.participant import Source

LOG = logging.getLogger(__name__)

KEPT_MOST = 1000
"""Values of one source that wait for the participant; beyond, the oldest is given up and counted."""


class Inlet:
    """Takes the values of one source, from any thread."""

    def __init__(self, source: Source, wake: Callable[[], None], now: Callable[[], datetime]) -> None:
        """``wake`` ends the run loop's waiting; ``now`` is the machine's clock."""
        self._source = source
        self._type: TypeAdapter[object] = TypeAdapter(source.value_type)
        self._wake = wake
        self._now = now
        self._lock = threading.Lock()
        self._kept: deque[tuple[datetime, object]] = deque()
        self.refused = 0
        """Values that were not of the source's type."""
        self.dropped = 0
        """Values that were given up because the participant did not take them in time."""

    def put(self, value: object) -> bool:
        """Takes a value, and wakes the run loop. False, with a line in the log: it is not of the source's type."""
        try:
            valid = self._type.validate_python(value)
        except ValidationError as error:
            self.refused += 1
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "value"
            LOG.warning(
                "source %s: %s: %s, received %s",
                self._source.name,
                place,
                first["msg"],
                shorten(first["input"]),
            )
            return False
        with self._lock:
            self._kept.append((self._now(), valid))
            if len(self._kept) > KEPT_MOST:
                self._kept.popleft()
                self.dropped += 1
        self._wake()
        return True

    def take(self) -> list[tuple[datetime, object]]:
        """All that waits, each with the machine time at which it came, in this order."""
        with self._lock:
            taken, self._kept = list(self._kept), deque()
        return taken

    @property
    def waiting(self) -> bool:
        return bool(self._kept)


class Inlets:
    """The inlets of all sources of one participant. The sources are open from `open` to `close`."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._inlets: dict[str, Inlet] = {}
        self._open: list[Source] = []

    def open(self, wake: Callable[[], Callable[[], None]], now: Callable[[], datetime]) -> None:
        """Opens each source with an inlet of its own. ``wake`` makes the function that ends the run loop's waiting.

        Raises what a source raises that cannot be opened; those before it are closed then.
        """
        if not self._sources:
            return
        wake_loop = wake()
        try:
            for source in self._sources:
                inlet = self._inlets[source.name] = Inlet(source, wake_loop, now)
                source.open(inlet.put)
                self._open.append(source)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the sources, in the reverse order. Safe to call twice."""
        while self._open:
            self._open.pop().close()

    @property
    def waiting(self) -> bool:
        return any(inlet.waiting for inlet in self._inlets.values())

    def take(self) -> list[tuple[str, datetime, object]]:
        """What waits: source, machine time of its arrival, value; sorted by time."""
        taken = [(name, at, value) for name, inlet in self._inlets.items() for at, value in inlet.take()]
        return sorted(taken, key=lambda item: item[1])

    @property
    def metrics(self) -> dict[str, float]:
        """``inputs_refused`` and ``inputs_dropped`` of all sources; none for a participant without sources."""
        if not self._inlets:
            return {}
        return {
            "inputs_refused": float(sum(inlet.refused for inlet in self._inlets.values())),
            "inputs_dropped": float(sum(inlet.dropped for inlet in self._inlets.values())),
        }
