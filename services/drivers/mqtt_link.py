"""A device with an MQTT interface of its own: topics and JSON paths in place of a program."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from broker.transport import Transport
from schemas.messages import Phases
from schemas.site.drivers import MqttCommand, MqttDriver, MqttState, MqttValue
from services.drivers.link import Measured
from services.drivers.listening_link import PATIENCE_S, ListeningLink, UnreadableError

VALUES = ("power_kw", "energy_import_kwh", "energy_export_kwh", "soc_frac", "available_kw")
STATES = ("plugged", "online")


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
    try:
        return found * mapped.factor
    except OverflowError:  # JSON has integers of any length
        raise UnreadableError("an integer of more than 308 digits is no number of a device") from None


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
    """What a message says of the device; None: nothing. What cannot be read of it is in ``trouble`` and ``unread``,
    with field, topic and value."""
    found: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name in (*VALUES, *STATES):
        mapped = getattr(driver, name)
        if mapped is None or mapped.topic != topic:
            continue
        try:
            value = read_value(mapped, payload) if name in VALUES else read_state(mapped, payload)
            if value is not None:
                Measured.model_validate({name: value})
        except UnreadableError as error:
            wrong[name] = f"{name}, topic {topic}: {error}"
        except ValidationError as error:
            wrong[name] = f"{name}: {value}: {error.errors()[0]['msg']}, topic {topic}"
        else:
            if value is not None:
                found[name] = value
    if not found and not wrong:
        return None
    return Measured(**found, trouble="; ".join(wrong.values())[:300] or None, unread=frozenset(wrong))


def payload_of(command: MqttCommand, value_kw: float, phases: Phases | None = None) -> bytes:
    value = round(value_kw * command.factor, command.decimals)
    text = str(int(value)) if command.decimals == 0 else f"{value:.{command.decimals}f}"
    payload = command.payload.replace("{value}", text)
    return (payload if phases is None else payload.replace("{phases}", str(phases))).encode()


class MqttLink(ListeningLink):
    """Listens to the topics that the site's description names, and commands."""

    def __init__(self, name: str, driver: MqttDriver, connect: Callable[[], Transport]) -> None:
        mapped = (getattr(driver, each) for each in (*VALUES, *STATES))
        super().__init__(name, [each.topic for each in mapped if each is not None], connect)
        self._driver = driver
        self._lock = threading.Lock()
        self._wanted: tuple[float, Phases | None] | None = None
        self._sent: bytes | None = None
        self._again = float("inf")
        """When the command is sent again, by the monotonic clock."""
        self._troubles: dict[str, str] = {}
        """What the newest message of each topic could not be read for."""

    @property
    def commanded(self) -> bool:
        return self._driver.command is not None

    def command(self, value_kw: float, for_s: float | None = None, phases: Phases | None = None) -> None:
        del for_s
        with self._lock:
            if (value_kw, phases) == self._wanted:
                return
            self._wanted = (value_kw, phases)
        self._wake()

    def _begin(self) -> None:
        self._sent, self._again = None, float("inf")
        self._troubles.clear()

    def _say(self, transport: Transport) -> float:
        command, wanted = self._driver.command, self._wanted
        if command is not None and wanted is not None:
            payload = payload_of(command, *wanted)
            if payload != self._sent or time.monotonic() >= self._again:
                transport.publish(command.topic, payload, retain=command.retain)
                self._sent = payload
                self._again = time.monotonic() + (command.repeat_s or float("inf"))
        return min(PATIENCE_S, max(0.0, self._again - time.monotonic()))

    def _kept(self, found: BaseModel) -> BaseModel:
        """States and counters; a power of then is none of now."""
        return found.model_copy(update={"power_kw": None})

    def _heard(self, topic: str, payload: bytes) -> BaseModel | None:
        found = measured(self._driver, topic, payload)
        if found is None:
            return None
        self._troubles[topic] = found.trouble or ""
        if found.trouble:
            self._complaints.write(found.trouble)
        standing = "; ".join(each for each in self._troubles.values() if each)
        return found.model_copy(update={"trouble": standing[:300]})
