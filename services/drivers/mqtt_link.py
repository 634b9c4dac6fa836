"""A device with an MQTT interface of its own: topics and JSON paths in place of a program."""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from broker.transport import Delivery, Transport
from schemas.errors import BrokerUnreachableError, MessageRefusedError
from schemas.site.drivers import MqttCommand, MqttDriver, MqttState, MqttValue
from services.drivers.link import Measured

LOG = logging.getLogger(__name__)

RETRY_S = 5.0
"""Between attempts to reach the device's broker for the first time; afterwards the transport reconnects by itself."""
PATIENCE_S = 0.5
VALUES = ("power_kw", "energy_import_kwh", "energy_export_kwh", "soc_frac", "available_kw")
STATES = ("plugged", "online")


class UnreadableError(Exception):
    """A message in which a value is not what the mapping says; the text says why."""


def read_value(mapped: MqttValue, payload: bytes) -> float | None:
    """The number in the contract's unit; None where the JSON has none there. Raises UnreadableError."""
    found = _found(mapped.path, payload)
    if found is None:
        return None
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            raise UnreadableError(f"{found[:60]!r} is no number") from None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise UnreadableError(f"{str(found)[:60]} is no number")
    return found * mapped.factor


def read_state(mapped: MqttState, payload: bytes) -> bool | None:
    """Whether it holds; None where the JSON has nothing there. Raises UnreadableError."""
    found = _found(mapped.path, payload)
    if found is None:
        return None
    # 1 is not True here: a device that says 1 means the number.
    return any(type(found) is type(each) and found == each for each in mapped.is_) or (
        not isinstance(found, bool) and str(found) in [each for each in mapped.is_ if isinstance(each, str)]
    )


def _found(path: str | None, payload: bytes) -> Any:
    text = payload.decode("utf-8", "replace")
    if path is None:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text.strip()
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(path, json.loads(text))
    except (ValueError, RecursionError) as error:  # JSON's, and JMESPath's, which derive from ValueError
        what = f"{path!r} cannot be followed" if isinstance(error, JMESPathError) else "is no JSON"
        raise UnreadableError(f"{what}: {text[:60]!r}") from None


def measured(driver: MqttDriver, topic: str, payload: bytes) -> Measured | None:
    """What a message says of the device; None: nothing. Raises UnreadableError, naming the field."""
    found: dict[str, Any] = {}
    for name in (*VALUES, *STATES):
        mapped = getattr(driver, name)
        if mapped is None or mapped.topic != topic:
            continue
        try:
            value = read_value(mapped, payload) if name in VALUES else read_state(mapped, payload)
        except UnreadableError as error:
            raise UnreadableError(f"{name}, topic {topic}: {error}") from None
        if value is not None:
            found[name] = value
    try:
        return Measured(**found) if found else None
    except ValidationError as error:
        first = error.errors()[0]
        raise UnreadableError(f"{first['loc'][0]}: {first['input']}: {first['msg']}, topic {topic}") from None


def payload_of(command: MqttCommand, value_kw: float) -> bytes:
    value = round(value_kw * command.factor, command.decimals)
    text = str(int(value)) if command.decimals == 0 else f"{value:.{command.decimals}f}"
    return command.payload.replace("{value}", text).encode()


class MqttLink:
    """Listens and commands in a thread of its own. ``connect`` makes the connection to the device's broker."""

    value_type = Measured

    def __init__(self, name: str, driver: MqttDriver, connect: Callable[[], Transport]) -> None:
        self.name = name
        self._driver, self._connect = driver, connect
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._wanted_kw: float | None = None
        self._sent: bytes | None = None
        self._sent_for_s = 0.0
        self._wake: Callable[[], None] = lambda: None
        self.unreadable = 0

    @property
    def commanded(self) -> bool:
        return self._driver.command is not None

    def command(self, value_kw: float, for_s: float | None = None) -> None:
        del for_s
        with self._lock:
            if value_kw == self._wanted_kw:
                return
            self._wanted_kw = value_kw
        self._wake()

    def open(self, put: Callable[[object], bool]) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(put,), name=f"link {self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self, put: Callable[[object], bool]) -> None:
        while not self._stop.is_set():
            transport = self._connect()
            try:
                mapped = (getattr(self._driver, name) for name in (*VALUES, *STATES))
                transport.connect(tuple(dict.fromkeys(each.topic for each in mapped if each is not None)))
                self._wake = transport.waker()
                self._serve(transport, put)
            except (BrokerUnreachableError, MessageRefusedError) as error:
                LOG.warning("%s: %s", self.name, error)
                put(Measured(trouble=str(error)[:300]))
                self._stop.wait(RETRY_S)
            except Exception as error:  # a thread that ended would leave a device that nobody hears, and say nothing
                LOG.exception("%s", self.name)
                put(Measured(trouble=f"{type(error).__name__}: {error}"[:300]))
                self._stop.wait(RETRY_S)
            finally:
                transport.close()

    def _serve(self, transport: Transport, put: Callable[[object], bool]) -> None:
        self._sent, again = None, float("inf")
        while not self._stop.is_set():
            command, value_kw = self._driver.command, self._wanted_kw
            if command is not None and value_kw is not None:
                payload = payload_of(command, value_kw)
                if payload != self._sent or time.monotonic() >= again:
                    transport.publish(command.topic, payload, retain=command.retain)
                    self._sent = payload
                    again = time.monotonic() + (command.repeat_s or float("inf"))
            delivery = transport.receive(min(PATIENCE_S, max(0.0, again - time.monotonic())))
            if delivery is not None:
                self._take(delivery, put)
                transport.acknowledge(delivery)

    def _take(self, delivery: Delivery, put: Callable[[object], bool]) -> None:
        try:
            found = measured(self._driver, delivery.topic, delivery.payload)
        except UnreadableError as error:
            self.unreadable += 1
            LOG.warning("%s: %s", self.name, error)
            put(Measured(trouble=str(error)[:300]))
            return
        if found is not None:
            put(found.model_copy(update={"trouble": ""}))
