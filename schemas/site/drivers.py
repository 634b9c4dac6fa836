"""Drivers: how a real device is reached that does not speak this project's messages.

A driver takes the place of the device's twin in wall time. The device's own description says what it is; its
``driver`` says where its measurements come from and how it is commanded.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.site.base import SitePart

MqttUrl = Annotated[str, Field(pattern=r"^mqtts?://\S+$", max_length=500)]
NativeTopic = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^#+\x00]+$")]
"""One topic, without wildcards."""
JmesPath = Annotated[str, Field(min_length=1, max_length=500)]
Factor = Annotated[float, Field(ge=-1e6, le=1e6)]


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("factor 0 makes every value 0")
    return value


ValueFactor = Annotated[Factor, AfterValidator(_not_zero)]


class MqttValue(SitePart):
    """A number in the messages of a topic."""

    topic: NativeTopic
    path: JmesPath | None = None
    """JMESPath expression in a JSON payload; None: the payload is the number."""
    factor: ValueFactor = 1.0
    """To the unit and the sign of the contract: 0.001 from W to kW, -0.001 where the device counts production as
    positive."""


class MqttState(SitePart):
    """Whether something holds, by the messages of a topic."""

    topic: NativeTopic
    path: JmesPath | None = None
    is_: Annotated[tuple[str | bool | int, ...], Field(min_length=1, max_length=20, alias="is")]
    """Values that mean yes, such as ``[B, C, D]`` of IEC 61851, ``[true]`` or ``[Online]``."""


class MqttCommand(SitePart):
    """How a power is commanded: a message for each change."""

    topic: NativeTopic
    payload: Annotated[str, Field(min_length=1, max_length=2000)] = "{value}"
    """``{value}`` is replaced by the power in the device's unit and sign, ``{phases}`` by 1 or 3, of a charger that
    switches its phases; JSON's braces stay as they are."""
    factor: Factor = 1.0
    """From kW to the device's unit and sign: 1000 to W."""
    decimals: Annotated[int, Field(ge=0, le=6)] = 3
    retain: bool = False
    repeat_s: Annotated[float, Field(ge=0.5, le=3600)] | None = None
    """Sends the command again and again, for a device that falls back by itself without one."""

    @model_validator(mode="after")
    def _has_a_value(self) -> Self:
        if "{value}" not in self.payload:
            raise ValueError("the payload has no {value}")
        if self.factor == 0:
            raise ValueError("factor 0 makes every command 0")
        return self


Preset = Literal["shelly_pro_3em", "shelly_plus_pm", "tasmota_energy", "zigbee2mqtt_plug", "evcc_loadpoint"]


class MqttConnection(SitePart):
    """The broker of a device with an MQTT interface of its own."""

    broker: MqttUrl
    """Where the device's messages are; it may be another broker than the swarm's."""
    username: Annotated[str, Field(max_length=100)] | None = None
    password_file: Annotated[str, Field(max_length=500)] | None = None
    cafile: Annotated[str, Field(max_length=500)] | None = None
    """Of the authority that signed the certificate of a broker at ``mqtts://``; None: those of the machine."""


class MqttDriver(MqttConnection):
    """A device with an MQTT interface of its own: declared topics, no program."""

    type: Literal["mqtt"] = "mqtt"
    preset: Preset | None = None
    """A ready mapping; what is given besides goes before it."""
    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^#+\x00]+$")] | None = None
    """The device's name in its topics, for the preset."""
    power_kw: MqttValue | None = None
    """Positive: drawn from the building's bus; at the PCC: import."""
    energy_import_kwh: MqttValue | None = None
    """Without counters the driver integrates the power."""
    energy_export_kwh: MqttValue | None = None
    soc_frac: MqttValue | None = None
    available_kw: MqttValue | None = None
    """PV: what it could produce; without it, what it produces."""
    plugged: MqttState | None = None
    online: MqttState | None = None
    """Without it the device is there as long as its power is fresh."""
    command: MqttCommand | None = None
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """A power that is older is no longer the device's."""

    @model_validator(mode="after")
    def _preset_has_its_device(self) -> Self:
        if (self.preset is None) != (self.id is None):
            raise ValueError("preset and id belong together: give both or none")
        if self.preset is None and self.power_kw is None:
            raise ValueError("power_kw is missing: a device without a measured power cannot be planned with")
        return self


class RegisterType(StrEnum):
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class ModbusRegister(SitePart):
    """A number in one or more registers."""

    address: Annotated[int, Field(ge=0, le=65_535)]
    """As it is on the wire, from 0 on: 40001 of a manual is often 0 here."""
    table: Literal["holding", "input"] = "holding"
    type: RegisterType = RegisterType.INT16
    word_order: Literal["big", "little"] = "big"
    """Of the registers of a longer number; bytes within one are big-endian."""
    factor: ValueFactor = 1.0
    """To the unit and sign of the contract."""
    absent: Annotated[float, Field(ge=-1e20, le=1e20)] | None = None
    """The number that means that there is none, such as 32768 for SunSpec's uint16; None: every number is one."""


class ModbusState(ModbusRegister):
    """Whether something holds, by a number."""

    is_: Annotated[tuple[int, ...], Field(min_length=1, max_length=50, alias="is")]


class ModbusCommand(SitePart):
    """A power or a limit, written to registers and read back."""

    address: Annotated[int, Field(ge=0, le=65_535)]
    type: RegisterType = RegisterType.INT16
    word_order: Literal["big", "little"] = "big"
    factor: Factor = 1.0
    """From kW to the device's unit and sign: 1000 to W."""
    repeat_s: Annotated[float, Field(ge=0.5, le=3600)] | None = None
    """Writes it again and again, for a device whose watchdog ends it."""
    read_back: bool = True
    """Whether what was written is read, and a difference named."""
    before: dict[Annotated[int, Field(ge=0, le=65_535)], Annotated[int, Field(ge=0, le=65_535)]] = Field(
        default_factory=dict
    )
    """Registers that are written before each command, such as a mode that allows it: address and value."""

    @model_validator(mode="after")
    def _has_a_factor(self) -> Self:
        if self.factor == 0:
            raise ValueError("factor 0 makes every command 0")
        return self


ModbusPreset = Literal["wallbox_quasar"]


class ModbusTcp(SitePart):
    """A device with Modbus TCP that is polled."""

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    poll_s: Annotated[float, Field(ge=0.1, le=600)] = 1.0
    timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 3.0
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """A power that is older is no longer the device's."""


class ModbusDriver(ModbusTcp):
    """A device with Modbus TCP, by a map of its registers."""

    type: Literal["modbus"] = "modbus"
    preset: ModbusPreset | None = None
    """Ready registers; what is given besides goes before them."""
    power_kw: ModbusRegister | None = None
    energy_import_kwh: ModbusRegister | None = None
    energy_export_kwh: ModbusRegister | None = None
    soc_frac: ModbusRegister | None = None
    available_kw: ModbusRegister | None = None
    plugged: ModbusState | None = None
    command: ModbusCommand | None = None

    @model_validator(mode="after")
    def _has_a_power(self) -> Self:
        if self.preset is None and self.power_kw is None:
            raise ValueError("power_kw is missing: a device without a measured power cannot be planned with")
        return self


class SunspecDriver(ModbusTcp):
    """A PV inverter, battery or meter with SunSpec Modbus: it says by itself where its measurements are."""

    type: Literal["sunspec"] = "sunspec"
    base: Annotated[int, Field(ge=0, le=65_000)] | None = None
    """Register where 'SunS' stands; None: 40000, 50000 or 0."""
    invert_power: bool = False
    """For a device that counts its power the other way round than SunSpec does, as some meters."""
    command: bool = True
    """Whether it is limited or commanded at all."""
    revert_s: Annotated[int, Field(ge=0, le=65_534)] = 60
    """The device's own time-out, where it has one: without a driver it goes back to its own rule after so long; 0: a
    command stands for ever."""


class OcppDriver(SitePart):
    """A charger with OCPP, which connects to the site's central system."""

    type: Literal["ocpp"] = "ocpp"
    charge_point: Annotated[str, Field(pattern=r"^[A-Za-z0-9._=:@-]{1,48}$")]
    """The identity with which it connects: the last part of the address that is set at the charger."""
    connector: Annotated[int, Field(ge=1, le=100)] = 1
    """In OCPP 2: the EVSE."""
    profile: Literal["auto", "tx", "tx_default", "charge_point_max"] = "auto"
    """How a power is commanded: TxProfile, TxDefaultProfile, or the station's maximum; auto: the first it takes."""
    rate_unit: Literal["auto", "W", "A"] = "auto"
    """Of the limits; auto: W if the charger says that it knows it, else A."""
    voltage_v: Annotated[float, Field(ge=50, le=1500)] = 230.0
    """Of a phase to neutral: between A and kW. Of a DC charger: of its output."""
    power_unit: Literal["W", "kW"] | None = None
    """Of its measured powers, whatever it says; None: as it says."""
    energy_unit: Literal["Wh", "kWh"] | None = None
    sample_s: Annotated[int, Field(ge=1, le=900)] = 10
    """Between its measurements in a transaction, as it is asked for."""
    clock_aligned_s: Annotated[int, Field(ge=0, le=86_400)] = 0
    """Between measurements at all times, at multiples of it since midnight; 0: none."""
    start_id_tag: Annotated[str, Field(min_length=1, max_length=20)] | None = None
    """A transaction is begun with it as soon as a vehicle is plugged; None: the charger begins them."""
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] = 90.0
    """A power that is older is no longer the device's."""


class S2Driver(SitePart):
    """A battery whose resource manager speaks S2 (EN 50491-12-2) and connects to this endpoint, as to a CEM."""

    type: Literal["s2"] = "s2"
    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    """The address that is listened at; 0.0.0.0 is all of the machine's."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8003
    """0: any that is free, for tests."""
    token_file: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """With the bearer token that a resource manager has to show; None: whoever connects."""
    certificate: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """The endpoint's own, PEM; None: no TLS."""
    key: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    empty_level: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    """Fill level of SOC 0, in the resource manager's unit; None: the beginning of the range that it describes."""
    full_level: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    """Fill level of SOC 1; None: the end of the range that it describes."""
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """A power that is older is no longer the device's."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or none")
        if self.empty_level is not None and self.full_level is not None and self.full_level <= self.empty_level:
            raise ValueError(f"full_level {self.full_level:g} is not above empty_level {self.empty_level:g}")
        return self


Driver = Annotated[MqttDriver | ModbusDriver | SunspecDriver | OcppDriver | S2Driver, Field(discriminator="type")]
