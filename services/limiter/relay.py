"""Contacts of a relay as a source of limits: read by Modbus, or reported by MQTT."""

import time
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from broker.transport import Transport
from schemas.site.limits import ModbusRelay, MqttRelay, Relay
from services.drivers.listening_link import ListeningLink, UnreadableError
from services.drivers.mqtt_link import read_state
from services.drivers.polled_link import PolledLink
from services.limiter.window import Heard, Window


def heard_of(relay: Relay, closed: dict[str, bool]) -> Heard:
    """What a combination of contacts demands; one that has no rule is a fault of the wiring, and nothing is heard."""
    for rule in relay.rules:
        if rule.holds(closed):
            return Heard(windows=(Window(import_kw=rule.import_kw, export_kw=rule.export_kw),))
    names = ", ".join(f"{name} {'closed' if is_closed else 'open'}" for name, is_closed in sorted(closed.items()))
    return Heard(trouble=f"no rule is for {names}; is a wire broken?")


class ModbusRelayLink(PolledLink):
    """Reads all contacts in each round."""

    value_type = Heard

    def __init__(self, name: str, relay: ModbusRelay) -> None:
        super().__init__(name, relay)
        self._relay = relay

    @property
    def commanded(self) -> bool:
        return False

    @property
    def _repeat_s(self) -> float | None:
        return None

    def _read(self, client: Any) -> BaseModel:
        closed = {}
        for name, contact in self._relay.inputs.items():
            read = client.read_coils if contact.table == "coil" else client.read_discrete_inputs
            answer = self._asked(f"read {name} at {contact.address}", read, contact.address, count=1)
            closed[name] = bool(answer.bits[0]) is not contact.invert
        return heard_of(self._relay, closed)

    def _write(self, client: Any, wanted_kw: float) -> None:
        raise NotImplementedError("contacts are read only")

    def _troubled(self, why: str) -> BaseModel:
        return Heard(trouble=why[:300])


class MqttRelayLink(ListeningLink):
    """Knows the contacts when each was reported within ``max_age_s``."""

    value_type = Heard

    def __init__(self, name: str, relay: MqttRelay, connect: Callable[[], Transport]) -> None:
        super().__init__(name, [each.topic for each in relay.inputs.values()], connect)
        self._relay = relay
        self._reported: dict[str, tuple[bool, float]] = {}
        """Whether a contact is closed, and when that was said, by the monotonic clock."""

    def _begin(self) -> None:
        self._reported = {}

    def _heard(self, topic: str, payload: bytes) -> BaseModel | None:
        now = time.monotonic()
        for name, mapped in self._relay.inputs.items():
            if mapped.topic != topic:
                continue
            try:
                closed = read_state(mapped, payload)
            except UnreadableError as error:
                raise UnreadableError(f"{name}, topic {topic}: {error}") from None
            if closed is not None:
                self._reported[name] = (closed, now)
        unknown = [
            name
            for name in self._relay.inputs
            if name not in self._reported or now - self._reported[name][1] > self._relay.max_age_s
        ]
        if unknown:
            return Heard(trouble=f"{', '.join(unknown)} was not reported within {self._relay.max_age_s:g} s")
        return heard_of(self._relay, {name: closed for name, (closed, _) in self._reported.items()})

    def _troubled(self, why: str) -> BaseModel:
        return Heard(trouble=why[:300])
