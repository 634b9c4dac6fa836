"""One charger at the central system, as the participant sees it: what is measured, and what is to be done."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from schemas.messages import Phases
from schemas.site.drivers import OcppDriver
from services.drivers.link import Measured
from services.ocpp.readings import Rated, Reading

SAID_EVERY_S = 0.2
"""Measurements are handed over so often at most, the newest of each; a hundred messages a second are five then."""
QUEUE_S = 3.0
"""After the last message of a queue."""
GRACE_S = 10.0
"""A connection that is lost for so long is offline; a shorter one is a disturbance."""
NOTHING_FLOWS = frozenset(
    {"Available", "Preparing", "SuspendedEV", "SuspendedEVSE", "Finishing", "Reserved", "Unavailable", "Occupied"}
)
"""States, and OCPP 2's beside a transaction, in which a charger's contactor is open."""
PLUGGED = frozenset({"Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing", "Occupied"})
IN_TRANSACTION = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE"})
OF_A_CONNECTION = ("message", "rate", "clock", "driver")
"""Subjects of troubles that are over with a new connection."""
UNPLUGGED = frozenset({"Available", "Reserved"})


@dataclass(frozen=True, slots=True)
class Command:
    """A power to be asked for [kW], and until when by `time.monotonic` it holds; None: without an end."""

    power_kw: float
    until: float | None
    phases: Phases | None = None
    """On which it is to charge; None: it does not switch them."""

    def same_as(self, other: "Command | None") -> bool:
        if other is None or (self.power_kw, self.phases) != (other.power_kw, other.phases):
            return False
        if (self.until is None) != (other.until is None):
            return False
        return self.until is None or other.until is None or abs(self.until - other.until) < 1.0


class Endpoint(Protocol):
    """The central system, for its links."""

    def attach(self, link: "OcppLink") -> None: ...

    def detach(self, link: "OcppLink") -> None: ...


class OcppLink:
    """A connector of a charge point. Everything but the four methods of a link is for the central system's thread."""

    value_type = Measured
    commanded = True

    def __init__(self, name: str, driver: OcppDriver, rated: Rated, safe_kw: float, endpoint: Endpoint) -> None:
        self.name, self.driver, self.rated = name, driver, rated
        self.safe_kw = safe_kw
        """What the charger draws without us: the device's fallback [kW]."""
        self._endpoint = endpoint
        self._put: Callable[[object], bool] | None = None
        self._lock = threading.Lock()
        self._wanted: Command | None = None
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._new: dict[str, Any] = {}
        self._later: asyncio.TimerHandle | None = None
        self._said_at = -math.inf
        self._held: dict[str, float] = {}
        self._release_later: asyncio.TimerHandle | None = None
        self._troubles: dict[str, str] = {}
        self.status: str | None = None
        self.transaction: str | None = None
        self.measured_at = -math.inf
        """When a power was measured last, by `time.monotonic`."""
        self.newest: datetime | None = None
        """The instant of the newest meter value, by the charger's clock."""

    # ---- the participant's side

    def command(self, value_kw: float, for_s: float | None = None, phases: Phases | None = None) -> None:
        wanted = Command(value_kw, None if for_s is None else time.monotonic() + for_s, phases)
        with self._lock:
            if wanted.same_as(self._wanted):
                return
            self._wanted, wake = wanted, self._wake
        if wake is not None:
            _call(wake[0], wake[1].set)

    def open(self, put: Callable[[object], bool]) -> None:
        self._put = put
        self._endpoint.attach(self)

    def close(self) -> None:
        self._endpoint.detach(self)
        self._put = None

    # ---- the central system's side

    @property
    def wanted(self) -> Command | None:
        with self._lock:
            return self._wanted

    def woken_by(self, event: asyncio.Event | None) -> None:
        """``event`` is set whenever another power is wanted."""
        with self._lock:
            self._wake = None if event is None else (asyncio.get_running_loop(), event)

    def connected(self) -> None:
        for about in ("connection", *OF_A_CONNECTION):
            self.trouble(about, None)
        self.say(online=True)

    def disconnected(self, why: str) -> None:
        """It is offline after a grace, if it has not come back."""
        self.trouble("connection", why)

    def is_offline(self) -> None:
        self.status = None
        self.say(online=False)

    def has_status(self, status: object, error: object) -> None:
        if not isinstance(status, str):
            self.trouble("status", f"a state that is none: {str(status)[:60]}")
            return
        self.status = status
        error = None if error in ("", "NoError") else error
        bad = status == "Faulted" or error is not None
        self.trouble(
            "status", f"it is {status[:40]}" + ("" if error is None else f", {str(error)[:60]}") if bad else None
        )
        if status in UNPLUGGED:
            self.transaction = None
        if status in PLUGGED or status in UNPLUGGED:
            self.say(plugged=status in PLUGGED)
        if self.nothing_flows:
            self.say(power_kw=0.0)
        if status in IN_TRANSACTION and self.transaction is None:
            self.wake()  # one that began while we were away

    @property
    def nothing_flows(self) -> bool:
        """Whether its state alone says that nothing does."""
        return self.status in NOTHING_FLOWS

    def begins(self, transaction: str) -> None:
        self.transaction = transaction
        self.say(plugged=True)
        self.wake()

    def ends(self, transaction: str | None) -> None:
        if transaction is None or transaction == self.transaction:
            self.transaction = None
            self.say(power_kw=0.0)

    def wake(self) -> None:
        with self._lock:
            wake = self._wake
        if wake is not None:
            wake[1].set()

    def takes(self, reading: Reading, measured: datetime, *, now: bool) -> None:
        """``now``: it is of now; else it was queued, and only its registers matter, unless newer ones are known."""
        self.trouble("reading", "; ".join(reading.faults[:3]) or None)
        newer = self.newest is None or measured > self.newest
        if not now and not newer:
            return
        self.newest = measured
        registers = {"energy_import_kwh": reading.energy_import_kwh, "energy_export_kwh": reading.energy_export_kwh}
        known: dict[str, Any] = {name: kwh for name, kwh in registers.items() if kwh is not None}
        if not now:
            self._hold(known)
            return
        self._release()
        if reading.power_kw is not None:
            self.measured_at = time.monotonic()
            known["power_kw"] = reading.power_kw
            known |= {} if reading.phases is None else {"phases": reading.phases}
        if reading.soc_frac is not None:
            known["soc_frac"] = reading.soc_frac
        self.say(**known)

    def _hold(self, registers: dict[str, float]) -> None:
        """Of a queue the last registers count: between two of them, handed in at once, nothing can have flowed."""
        self._held |= registers
        if self._release_later is not None:
            self._release_later.cancel()
        self._release_later = asyncio.get_running_loop().call_later(QUEUE_S, self._release)

    def _release(self) -> None:
        if self._release_later is not None:
            self._release_later.cancel()
            self._release_later = None
        held, self._held = self._held, {}
        if held:
            self.say(**held)

    def trouble(self, about: str, text: str | None) -> None:
        """States or ends a trouble of a subject; they are said together."""
        if text == self._troubles.get(about):
            return
        if text is None:
            del self._troubles[about]
        else:
            self._troubles[about] = text
        self.say(trouble="; ".join(self._troubles.values())[:300])

    def say(self, **values: Any) -> None:
        """Hands values over, at once if the last time is long enough ago."""
        if "plugged" in values and self._new.get("plugged", values["plugged"]) != values["plugged"]:
            self._hand_over()
        self._new.update(values)
        wait_s = self._said_at + SAID_EVERY_S - time.monotonic()
        if wait_s <= 0:
            self._hand_over()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(wait_s, self._hand_over)

    def _hand_over(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        new, self._new = self._new, {}
        self._said_at = time.monotonic()
        put = self._put
        if put is not None and new:
            put(Measured(**new))


def _call(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        return  # the loop has ended; the next connection asks what is wanted
