"""Two processes under one client identifier: which of them keeps the connection.

A broker lets one client of a name be connected: whoever comes takes the connection from who was there. MQTT 3.1.1 does
not say so to the loser, and under certificates the name cannot be varied, so a process that stands by has no connection
from which it could watch. Each of them decides alone, by what it can see:

* Its connection ended soon after it stood, and the broker was never away in between: it is **taken**.
* Under its own last will's topic it finds, on a later connection, what it never sent: somebody **else** speaks there.

With both, who has never had the connection for `STEADY_S` gives way at once: it has come later. Who had it fights back,
which is what makes the other one give way, and gives way itself after `FIGHTS`: so does a process that was frozen, or
cut off, while another one took its place, since it is the one that begins. No clock is compared with another one.
"""

import time
from collections import deque
from collections.abc import Callable

STEADY_S = 5.0
"""Who has had the connection for so long [s] holds it."""
FIGHTS = 5
"""So often in a row who holds it takes it back. Who starts connects twice before it gives way, see `runtime.host`."""
_REMEMBERED = 16


class Rivalry:
    """Of one client, from its first connection on. ``topic``: of its last will; None: it has none, and no rival."""

    def __init__(self, topic: str | None, will: bytes = b"", clock: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._clock = clock
        self._own: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._will = will
        self._connections = 0
        self._since: float | None = None
        """Since when the connection stands."""
        self._holds = False
        self._taken = 0
        """How often in a row."""
        self._else = False

    def stands(self) -> None:
        """The connection stands."""
        self._connections += 1
        self._since = self._clock()

    def ended(self) -> None:
        """The connection ended, whether it stood or not."""
        if self._since is None:
            return
        lasted, self._since = self._clock() - self._since, None
        if lasted >= STEADY_S:
            self._holds, self._taken, self._else = True, 0, False
        else:
            self._taken += 1

    def broker_is_away(self) -> None:
        """It was the broker that ended the connection."""
        self._taken, self._else = 0, False

    def sends(self, topic: str, payload: bytes) -> None:
        if topic == self._topic:
            self._own.append(payload)

    def hears(self, topic: str, payload: bytes) -> None:
        """On its first connection it finds what an earlier process left there."""
        if (
            topic == self._topic
            and self._connections > 1
            and payload
            and payload != self._will
            and payload not in self._own
        ):
            self._else = True

    @property
    def gives_way(self) -> bool:
        return self._else and self._taken >= (FIGHTS if self._holds else 1)
