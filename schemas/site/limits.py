"""Sources of limits from outside: who demands that less is imported or exported, and how it is heard.

A source is a participant of its own at a live site. It publishes the channel `limit`.
"""

from itertools import product
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.messages.stamp import DeviceId
from schemas.site.base import SitePart
from schemas.site.drivers import ModbusTcp, MqttConnection, MqttState
from schemas.site.openadr import Vtn
from schemas.units import PositiveKw

MOST_INPUTS = 8
"""Contacts of a relay: 256 combinations."""
InputName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,30}$")]


class LimitSource(SitePart):
    """What every source has. While it is not heard its limit is not repeated, so that the failsafe holds."""

    source: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Who demands it, in words; None: the source's identifier."""
    group: DeviceId | None = None
    """A group of ``ems.cable_limits`` that is limited; None: the PCC."""
    heartbeat_s: Annotated[float, Field(ge=1, le=86_400)] = 10.0
    """Period at which the limit is repeated; after two without it the failsafe holds."""
    failsafe_import_kw: PositiveKw | None = None
    failsafe_export_kw: PositiveKw | None = None


class RelayRule(SitePart):
    """What a combination of contacts demands. Without a limit: nothing."""

    when: dict[InputName, bool] = Field(default_factory=dict)
    """Contacts and how they have to be, closed being true; those that are not named may be either."""
    import_kw: PositiveKw | None = None
    export_kw: PositiveKw | None = None

    def holds(self, closed: dict[str, bool]) -> bool:
        return all(closed[name] is wanted for name, wanted in self.when.items())


def _check_rules(inputs: frozenset[str], rules: tuple[RelayRule, ...]) -> None:
    """Raises ValueError for a rule that names a contact which there is not, or that never counts."""
    if len(inputs) > MOST_INPUTS:
        raise ValueError(f"{len(inputs)} inputs, and at most {MOST_INPUTS} are taken")
    for number, rule in enumerate(rules):
        if unknown := sorted(set(rule.when) - inputs):
            raise ValueError(f"rule {number} names {', '.join(unknown)}; the inputs are {', '.join(sorted(inputs))}")
    names = sorted(inputs)
    combinations = [dict(zip(names, each, strict=True)) for each in product((False, True), repeat=len(names))]
    counting = {next((i for i, rule in enumerate(rules) if rule.holds(each)), None) for each in combinations}
    if idle := [i for i in range(len(rules)) if i not in counting]:
        raise ValueError(f"rule {idle[0]} never counts: those before it hold whenever it does")


class ModbusInput(SitePart):
    """A contact that a Modbus device reads."""

    address: Annotated[int, Field(ge=0, le=65_535)]
    """As it is on the wire, from 0 on."""
    table: Literal["coil", "discrete"] = "discrete"
    invert: bool = False
    """For a contact that is read as 1 when it is open."""


class ModbusRelay(ModbusTcp, LimitSource):
    """Contacts of a relay, such as a ripple control receiver's, at the inputs of a Modbus device."""

    type: Literal["modbus_relay"] = "modbus_relay"
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    inputs: Annotated[dict[InputName, ModbusInput], Field(min_length=1)]
    rules: Annotated[tuple[RelayRule, ...], Field(min_length=1, max_length=256)]
    """The first that holds counts. A combination without one is a fault of the wiring: the failsafe holds."""

    @model_validator(mode="after")
    def _rules_count(self) -> Self:
        _check_rules(frozenset(self.inputs), self.rules)
        return self


class MqttRelay(MqttConnection, LimitSource):
    """Contacts that a device reports by MQTT, in JSON or as they are."""

    type: Literal["mqtt_relay"] = "mqtt_relay"
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """A contact that was not reported for so long is not known; the device has to repeat itself."""
    inputs: Annotated[dict[InputName, MqttState], Field(min_length=1)]
    """``is``: the values that mean a closed contact."""
    rules: Annotated[tuple[RelayRule, ...], Field(min_length=1, max_length=256)]
    """As those of a ``modbus_relay``."""

    @model_validator(mode="after")
    def _rules_count(self) -> Self:
        _check_rules(frozenset(self.inputs), self.rules)
        return self


class OpenAdrLimit(Vtn, LimitSource):
    """Events of an OpenADR 3 server with the payloads IMPORT_CAPACITY_LIMIT and EXPORT_CAPACITY_LIMIT."""

    type: Literal["openadr"] = "openadr"
    poll_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    ven_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Under which the site enrols; None: ``twinswarm-`` and the site's identifier."""


Relay = ModbusRelay | MqttRelay
AnyLimitSource = Annotated[ModbusRelay | MqttRelay | OpenAdrLimit, Field(discriminator="type")]
