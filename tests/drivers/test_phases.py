"""A driver of a charger that switches its phases: what it asks of the hardware, and makes of what is measured."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.messages import Ack, Alarm, ChargerTelemetry, Phase, Phases, TimeMode
from schemas.participant import Input, Received, Turn
from schemas.site import Charger
from schemas.site.drivers import MqttCommand
from schemas.topics import Channel, Kind, Topic
from services.drivers.link import Measured
from services.drivers.mqtt_link import payload_of
from services.drivers.participant import Driver
from tests.drivers.ocpp.running import described
from tests.twins.builders import received, setpoint

T0 = datetime(2026, 11, 2, 9, tzinfo=UTC)
SWITCH = {
    "current": "ac",
    "max_charge_kw": 11.04,
    "min_power_kw": 4.14,
    "phase_switch": {"pause_s": 5, "hold_s": 300},
}


class Hardware:
    """A link that remembers what it was asked."""

    name, value_type, commanded = "hardware", Measured, True

    def __init__(self) -> None:
        self.asked: list[tuple[float, Phases | None]] = []

    def command(self, value_kw: float, for_s: float | None = None, phases: Phases | None = None) -> None:
        del for_s
        if not self.asked or self.asked[-1] != (value_kw, phases):
            self.asked.append((value_kw, phases))

    def open(self, put: Any) -> None: ...

    def close(self) -> None: ...


class Bench:
    def __init__(self, folder: Path) -> None:
        self.hardware = Hardware()
        self.driver = Driver(described(folder, charger=SWITCH), "ev1", self.hardware, max_age_s=3600.0)
        self.n = 0

    def turn(self, second: float, *bodies: Any, phase: Phase = Phase.SENSE, **measured: Any) -> list[Any]:
        """What it sends when these set-points and measurements have come."""
        at, self.n = T0 + timedelta(seconds=second), self.n + 1
        topic = Topic(self.driver.site, Kind.CHARGER, "ev1", Channel.SETPOINT)
        inbox: list[Received] = [received(topic, at, i, body) for i, body in enumerate(bodies)]
        inputs = (Input("hardware", at, Measured(**measured)),) if measured else ()
        turn = Turn(phase, at, T0, None, 900, TimeMode.WALL, self.n, inputs=inputs)
        return [sent.body for sent in self.driver.act(turn, inbox)]

    def telemetry(self, second: float, **measured: Any) -> ChargerTelemetry:
        (found,) = [body for body in self.turn(second, **measured) if isinstance(body, ChargerTelemetry)]
        return found

    def ask(self, second: float, kw: float, **changes: Any) -> Ack:
        at = T0 + timedelta(seconds=second)
        (ack,) = [
            body for body in self.turn(second, setpoint(at, kw, **changes), phase=Phase.APPLY) if isinstance(body, Ack)
        ]
        return ack


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.turn(0, plugged=True, power_kw=0.0)
    return found


def test_phases_are_asked_for_with_the_power_and_held(bench: Bench) -> None:
    """On one phase from 1 s on, held until 301 s: 11 kW asked at 60 s come as 3.68 kW, and on three at 400 s."""
    ack = bench.ask(1, 2.0)
    assert (ack.applied_kw, ack.phases) == (2.0, 1)
    told = bench.telemetry(2, power_kw=2.0)
    assert told.phases == 1
    assert told.phases_held_until == T0 + timedelta(seconds=301)
    assert told.phases_switched is not None
    ack = bench.ask(60, 11.0)
    assert ack.applied_kw == pytest.approx(3.68)
    assert ack.phases == 1
    assert ack.reason is not None
    assert "phases are held until" in ack.reason
    assert bench.ask(400, 11.0).phases == 3
    assert [(pytest.approx(kw), phases) for kw, phases in bench.hardware.asked] == [
        (0.0, 3),
        (2.0, 1),
        (3.68, 1),
        (11.0, 3),
    ]


def test_a_vehicle_that_charges_on_one_phase_where_three_were_asked_has_one(bench: Bench) -> None:
    bench.ask(1, 11.0, valid_until=T0 + timedelta(hours=2))
    assert bench.telemetry(10, power_kw=3.6, phases=1).vehicle is not None
    told = bench.telemetry(60, power_kw=3.6, phases=1)
    assert told.vehicle is not None
    assert (told.phases, told.vehicle.phases) == (1, 1)
    bench.turn(70, plugged=False, power_kw=0.0)
    told = bench.telemetry(80, plugged=True, power_kw=0.0)
    assert told.vehicle is not None
    assert told.vehicle.phases is None


def test_three_phases_where_one_was_asked_are_an_alarm(bench: Bench) -> None:
    bench.ask(1, 2.0, valid_until=T0 + timedelta(hours=2))
    assert not [body for body in bench.turn(10, power_kw=2.0, phases=3) if isinstance(body, Alarm)]
    alarms = [body for body in bench.turn(60, power_kw=2.0, phases=3) if isinstance(body, Alarm)]
    assert [(alarm.code, alarm.text) for alarm in alarms] == [
        ("hardware_trouble", "one phase was asked, and three have current")
    ]
    alarms = [body for body in bench.turn(70, power_kw=2.0, phases=1) if isinstance(body, Alarm)]
    assert [alarm.active for alarm in alarms] == [False]


def test_a_mapped_command_has_the_phases_in_its_payload() -> None:
    command = MqttCommand(topic="box/set", payload='{"watt": {value}, "phases": {phases}}', factor=1000, decimals=0)
    assert payload_of(command, 2.0, 1) == b'{"watt": 2000, "phases": 1}'


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (
            {
                "type": "mqtt",
                "broker": "mqtt://127.0.0.1:1883",
                "power_kw": {"topic": "box/power"},
                "command": {"topic": "box/set"},
            },
            "the payload of driver.command has no {phases}",
        ),
        (
            {"type": "modbus", "host": "127.0.0.1", "power_kw": {"address": 1}},
            "a driver of type modbus commands no phases",
        ),
    ],
)
def test_a_driver_that_cannot_ask_for_phases_is_refused(driver: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Charger.model_validate({"kind": "charger", **SWITCH, "driver": driver})
