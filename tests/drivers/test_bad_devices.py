"""Bad devices behind Modbus, SunSpec and mapped MQTT: what is wrong is said, goes no further, and is over by itself."""

import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.messages import Alarm, BessTelemetry
from schemas.topics import Kind
from services.drivers import complaints, polled_link, standing_alarms
from services.drivers.link import Measured
from services.drivers.participant import SILENT, TROUBLE
from tests.broker.half_open import HalfOpenProxy
from tests.drivers import raw_modbus as raw
from tests.drivers import sunspec_device as lab
from tests.drivers.modbus_device import Device
from tests.drivers.raw_modbus import RawModbus
from tests.drivers.sunspec_device import SunspecDevice
from tests.drivers.test_modbus import Bench, of
from tests.drivers.turned import TELEMETRY_S, Turned, described, turned
from tests.ems.test_presence import BESS, Bus, plan_of
from tests.parts import skip_without

POWER, IMPORTED, SOC, COMMAND = 0, 2, 4, 20
"""Registers of the battery behind a map."""
MAPPED: dict[str, Any] = {
    "type": "modbus",
    "host": "127.0.0.1",
    "poll_s": 0.1,
    "timeout_s": 0.5,
    "max_age_s": 1.5,
    "power_kw": {"address": POWER, "type": "float32", "factor": 0.001},
    "energy_import_kwh": {"address": IMPORTED, "type": "uint32", "factor": 0.0001},
    "soc_frac": {"address": SOC, "type": "int16", "factor": 0.01},
    "command": {"address": COMMAND, "type": "int16", "factor": 1000},
}


def floats(value: float) -> tuple[int, ...]:
    return struct.unpack(">HH", struct.pack(">f", value))


def wide(value: int) -> tuple[int, int]:
    return value >> 16, value & 0xFFFF


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled_link, "RETRY_S", 0.1)
    monkeypatch.setattr(polled_link, "MOST_RETRY_S", 0.2)


def mapped_battery() -> Device:
    device = Device()
    device.put(POWER, *floats(3000.0))
    device.put(IMPORTED, *wide(5_000_000))
    device.put(SOC, 50)
    return device


@contextmanager
def mapped(folder: Path, port: int, **changes: Any) -> Iterator[Turned]:
    with turned(described(folder, "bess", {**MAPPED, "port": port, **changes}), "bess") as found:
        yield found


# ---- nonsense values

OF_REGISTERS: dict[str, tuple[int, tuple[int, ...], str]] = {
    "power is NaN": (POWER, floats(float("nan")), "power_kw: the device has none now"),
    "power of 1e30": (
        POWER,
        floats(1e30),
        "power_kw: 1.0000000150474662e+27: Input should be less than or equal to 10",
    ),
    "W for kW": (POWER, floats(3e6), "power_kw: 3000 kW is beyond -41 to 41 kW, 2 times its rating; is W given as kW?"),
    "negative SOC": (SOC, (-5 & 0xFFFF,), "soc_frac: -0.05: Input should be greater than or equal to 0"),
    "SOC of 140 %": (SOC, (140,), "soc_frac: 1.4000000000000001: Input should be less than or equal to 1"),
    "SOC that leaps": (SOC, (2,), "soc_frac: SOC went from 0.500 to 0.020"),
}


@pytest.mark.parametrize(("address", "registers", "says"), OF_REGISTERS.values(), ids=OF_REGISTERS.keys())
def test_a_register_with_nonsense_is_said_and_goes_no_further(
    tmp_path: Path, address: int, registers: tuple[int, ...], says: str
) -> None:
    device = mapped_battery()
    sound = [device.register(address + i) for i in range(len(registers))]
    with device.serving() as port, mapped(tmp_path, port) as driver:
        driver.until(lambda: driver.last is not None and driver.is_well, "the first telemetry")
        device.put(address, *registers)
        driver.until(lambda: any(says in alarm.text for alarm in driver.alarms(TROUBLE)), says)
        device.put(address, *sound)
        driver.until(lambda: driver.is_well, "that it is over")
        count = len(driver.sent)
        driver.until(lambda: len(driver.sent) > count + 2, "telemetry")
        assert {told.power_kw for told in driver.bodies(type(driver.last))} == {3.0}
        assert {told.soc_frac for told in driver.bodies(type(driver.last))} == {0.5}
        driver.is_sound()


def test_a_soc_that_can_be_read_no_more_is_not_sent_for_ever_beside_a_good_power(tmp_path: Path) -> None:
    device = mapped_battery()
    with device.serving() as port, mapped(tmp_path, port) as driver:
        driver.until(lambda: driver.last is not None, "the first telemetry")
        device.put(SOC, 999)
        driver.until(lambda: "has said no soc_frac for more than 1.5 s" in driver.stands(SILENT), "that it is silent")
        assert "soc_frac: 9.99: Input should be less than or equal to 1" in driver.stands(SILENT)
        count = len(driver.bodies(type(driver.last)))
        device.put(POWER, *floats(4000.0))
        begun = time.monotonic()
        driver.until(lambda: time.monotonic() - begun > 5 * TELEMETRY_S, "a while")
        assert len(driver.bodies(type(driver.last))) == count, "no telemetry with a SOC that nobody knows"
        device.put(SOC, 51)
        driver.until(lambda: driver.is_well and driver.last.power_kw == 4.0, "that it is back")
        assert driver.last.soc_frac == 0.51


PV = {1: lab.COMMON, 103: lab.INVERTER | {"W": 400, "W_SF": 1}, 124: lab.STORAGE}
OF_SUNSPEC: dict[str, tuple[int, str, int, str]] = {
    "power not implemented": (103, "W", 0x8000, "power_kw: the device has none now"),
    "scale factor of 10^9": (103, "W_SF", 9, "power_kw: -400000000.0: Input should be greater than or equal to -10"),
    "scale factor of 10^4": (103, "W_SF", 4, "power_kw: -4000 kW is beyond -41 to 41 kW, 2 times its rating; is W giv"),
    "scale factor of 77": (103, "W_SF", 77, "model 103: W cannot be scaled, for W_SF is 77"),
    "scale factor not there": (103, "W_SF", 0x8000, "W cannot be scaled, for W_SF is not implemented"),
    "SOC of 300 %": (124, "ChaState", 3000, "soc_frac: 3.0: Input should be less than or equal to 1"),
}


@pytest.mark.parametrize(("model", "point", "register", "says"), OF_SUNSPEC.values(), ids=OF_SUNSPEC.keys())
def test_a_sunspec_point_with_nonsense_is_said_and_goes_no_further(
    tmp_path: Path, model: int, point: str, register: int, says: str
) -> None:
    device = SunspecDevice(PV)
    sound = device.has(model, point)
    with device.serving() as port:
        fields = {"type": "sunspec", "host": "127.0.0.1", "port": port, "poll_s": 0.1, "max_age_s": 1.5}
        with turned(described(tmp_path, "bess", fields), "bess") as driver:
            driver.until(lambda: driver.last is not None and driver.is_well, "the first telemetry")
            device.set(model, point, register)
            driver.until(lambda: any(says in alarm.text for alarm in driver.alarms(TROUBLE)), says)
            device.set(model, point, sound)
            driver.until(lambda: driver.is_well, "that it is over")
            assert {told.power_kw for told in driver.bodies(type(driver.last))} == {-4.0}
            driver.is_sound()


# ---- a counter that goes back

BACK: dict[str, tuple[list[int], float]] = {
    "to nothing and on": ([0, 0, 100, 200], 0.02),
    "to nothing once": ([0, 5_000_100], 0.01),
    "to nothing and back": ([0, 0, 5_000_100, 5_000_200], 0.02),
    "all ones": ([0xFFFF_FFFF, 0xFFFF_FFFF, 5_000_100, 5_000_200], 0.02),
    "an older one, then the newest": ([4_999_000, 4_999_100, 5_000_300], 0.03),
}


@pytest.mark.parametrize(("counts", "grown_kwh"), BACK.values(), ids=BACK.keys())
def test_a_counter_that_goes_back_is_counted_once_and_no_register_goes_down(
    tmp_path: Path, counts: list[int], grown_kwh: float
) -> None:
    """Within what flows by the measured 3 kW in the test's own time."""
    device = mapped_battery()
    with device.serving() as port, mapped(tmp_path, port) as driver:
        driver.until(lambda: driver.last is not None, "the first telemetry")
        assert driver.last.energy_import_kwh == 500.0
        begun = time.monotonic()
        for count in counts:
            device.put(IMPORTED, *wide(count))
            polled = driver.polls
            driver.until(lambda polled=polled: driver.polls >= polled + 2, "two readings")
        count = len(driver.bodies(type(driver.last)))
        driver.until(lambda: len(driver.bodies(type(driver.last))) > count, "telemetry")
        flowed_kwh = 3.0 * (time.monotonic() - begun) / 3600
        assert grown_kwh - 0.0101 <= driver.last.energy_import_kwh - 500.0 <= grown_kwh + flowed_kwh
        driver.is_sound()


# ---- frames that are none

SPOILT: dict[str, tuple[raw.Answer, str]] = {
    "wrong transaction": (raw.wrong_transaction, "read power_kw at 0"),
    "wrong unit": (raw.wrong_unit, "read power_kw at 0"),
    "another function": (raw.another_function, "read power_kw at 0: function 3 was asked for, and 4 came"),
    "too few registers": (raw.too_few_registers, "read power_kw at 0: 2 were asked for, and 1 came"),
    "garbage": (raw.garbage, "read power_kw at 0"),
    "half a frame": (raw.half_a_frame, "read power_kw at 0"),
    "an exception": (raw.an_exception, "read power_kw at 0: refused"),
    "gone": (raw.gone, "read power_kw at 0"),
    "nothing": (raw.nothing, "read power_kw at 0"),
    "five seconds late": (raw.five_seconds_late, "read power_kw at 0"),
}


@pytest.mark.parametrize(("answer", "says"), SPOILT.values(), ids=SPOILT.keys())
def test_a_device_that_speaks_no_modbus_is_said_stalls_nobody_and_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: raw.Answer, says: str
) -> None:
    device, beside = RawModbus(), mapped_battery()
    device.put_float(POWER, 2500.0)
    device.registers[SOC] = 40
    with (
        device.serving() as port,
        beside.serving() as other,
        mapped(tmp_path / "bad", port, command=None) as driver,
        mapped(tmp_path / "good", other) as good,
    ):
        driver.until(lambda: driver.last is not None, "the first telemetry")
        good.until(lambda: good.last is not None, "the other's")
        device.answer = answer
        driver.until(lambda: says in driver.stands(SILENT), says)
        seen = good.polls
        good.until(lambda: good.polls >= seen + 5, "the one beside it", 20.0)
        device.answer = raw.frame
        driver.until(lambda: driver.is_well, "that it is over")
        assert {told.power_kw for told in driver.bodies(type(driver.last))} == {2.5}
        assert {told.soc_frac for told in driver.bodies(type(driver.last))} == {0.4}
        driver.is_sound()
    assert "Traceback" not in caplog.text


def test_a_device_that_is_gone_in_a_write_is_given_the_newest_command_when_it_is_back(tmp_path: Path) -> None:
    device = RawModbus()
    device.registers[SOC] = 40
    with device.serving() as port, mapped(tmp_path, port) as driver:
        driver.until(lambda: device.registers[COMMAND] == 0 and driver.last is not None, "rest")
        device.answer = raw.gone_in_a_write
        driver.ask("lost", 4.0)
        driver.until(lambda: driver.says("write 4000 at 20"), "that it is gone")
        device.registers[COMMAND] = 0
        driver.ask("newest", -2.0)
        driver.until(lambda: driver.acked("newest"), "the ack")
        device.written.clear()
        device.answer = raw.frame
        driver.until(lambda: driver.is_well, "that it is over")
        driver.until(lambda: device.registers[COMMAND] == -2000 & 0xFFFF, "the newest")
        assert (COMMAND, [4000]) not in device.written[1:], "the older is not made up for"


def test_a_device_that_answers_when_its_set_point_has_expired_rests_afterwards(tmp_path: Path) -> None:
    device = RawModbus()
    device.registers[SOC] = 40

    def late(transaction: int, unit: int, function: int, body: bytes) -> bytes:
        if function == raw.WRITE:
            time.sleep(1.5)
        return raw.frame(transaction, unit, function, body)

    with device.serving() as port, mapped(tmp_path, port, timeout_s=3.0) as driver:
        driver.until(lambda: bool(device.written) and driver.last is not None, "rest")
        device.answer = late
        driver.ask("short", 5.0, seconds=0.7)
        driver.until(lambda: (COMMAND, [5000]) in device.written, "the command")
        driver.until(lambda: device.written[-1] == (COMMAND, [0]), "rest, at once after the late answer", 20.0)
        device.answer = raw.frame


# ---- MQTT

WALLBOX = {
    "type": "mqtt",
    "power_kw": {"topic": "box/state", "path": "power", "factor": 0.001},
    "energy_import_kwh": {"topic": "box/state", "path": "wh", "factor": 0.001},
    "soc_frac": {"topic": "box/soc", "factor": 0.01},
    "plugged": {"topic": "box/state", "path": "iec", "is": ["B", "C"]},
    "online": {"topic": "box/lwt", "is": ["online"]},
    "command": {"topic": "box/set", "factor": 1000, "decimals": 0},
    "max_age_s": 1.5,
}


@pytest.fixture(scope="module")
def home() -> Iterator[LocalMosquitto]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as found:
        yield found


class Box:
    """A wallbox by the test's hand, on the broker of its own."""

    def __init__(self, home: LocalMosquitto, driver: Turned) -> None:
        self._driver = driver
        self.wh = 1000.0
        self._bus = MqttTransport(home.address, "box")
        self._bus.connect(["box/set"])

    def say(self, **changes: Any) -> None:
        state = {"power": 7400, "wh": self.wh, "iec": "C", **changes}
        self._bus.publish("box/state", json.dumps(state).encode())

    def raw(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._bus.publish(topic, payload, retain=retain)

    def saying(self, condition: Callable[[], Any], what: str, say: Callable[[], None] | None = None) -> None:
        """Says the same again and again, until it is so."""

        def said() -> Any:
            (say or self.say)()
            return condition()

        self._driver.until(said, what)

    def asked(self) -> list[float]:
        found = []
        while (delivery := self._bus.receive(0.01)) is not None:
            self._bus.acknowledge(delivery)
            found.append(float(delivery.payload))
        return found

    def close(self) -> None:
        self._bus.close()


@contextmanager
def boxed(folder: Path, home: LocalMosquitto, address: BrokerAddress | None = None) -> Iterator[tuple[Turned, Box]]:
    at = address or home.address
    site = described(folder, "ev1", {**WALLBOX, "broker": f"mqtt://{at.host}:{at.port}"})
    with turned(site, "ev1") as driver:
        box = Box(home, driver)
        try:
            box.saying(lambda: driver.last is not None and driver.last.power_kw == 7.4, "the first telemetry")
            yield driver, box
        finally:
            box.close()


NOT_KNOWN = "Input should be less than or equal to 1000000"
OF_MESSAGES: dict[str, tuple[str, bytes, str]] = {
    "text": ("box/state", b'{"power": "lots", "iec": "C"}', "power_kw, topic box/state: 'lots' is no number"),
    "truncated": (
        "box/state",
        b'{"power": 7400, "wh": 10',
        'power_kw, topic box/state: is no JSON: \'{"power": 7400, ',
    ),
    "NaN": ("box/state", b'{"power": NaN}', "power_kw: nan: Input should be a finite number"),
    "1e30": ("box/state", b'{"power": 1e30}', f"power_kw: 1e+27: {NOT_KNOWN}"),
    "an integer of 400 digits": (
        "box/state",
        b'{"power": 1%s}' % (b"0" * 400),
        "an integer of more than 308 digits is no",
    ),
    "W for kW": ("box/state", b'{"power": 7400000}', "power_kw: 7400 kW is beyond -45.1 to 45.1 kW"),
    "a list": ("box/state", b'{"power": [1]}', "power_kw, topic box/state: [1] is no number"),
    "no UTF-8": ("box/state", b"\xff\xfe\x00", "is no JSON"),
    "negative SOC": ("box/soc", b"-5", "soc_frac: -0.05: Input should be greater than or equal to 0"),
    "SOC of 140 %": ("box/soc", b"140", "Input should be less than or equal to 1, topic box/soc"),
    "SOC in words": ("box/soc", b"half", "soc_frac, topic box/soc: 'half' is no number"),
}


@pytest.mark.parametrize(("topic", "payload", "says"), OF_MESSAGES.values(), ids=OF_MESSAGES.keys())
def test_a_message_with_nonsense_is_said_and_goes_no_further(
    tmp_path: Path, home: LocalMosquitto, topic: str, payload: bytes, says: str
) -> None:
    with boxed(tmp_path, home) as (driver, box):
        box.saying(lambda: driver.says(says), says, lambda: box.raw(topic, payload))
        box.raw("box/soc", b"55")
        box.saying(lambda: driver.is_well, "that it is over")
        assert {told.power_kw for told in driver.bodies(type(driver.last))} == {7.4}
        vehicles = [told.vehicle for told in driver.bodies(type(driver.last))]
        assert {vehicle.soc_frac for vehicle in vehicles} <= {None, 0.55}
        driver.is_sound()


def test_what_is_good_of_a_message_is_taken_beside_what_is_not(tmp_path: Path, home: LocalMosquitto) -> None:
    with boxed(tmp_path, home) as (driver, box):
        box.wh = 1250.0
        box.saying(lambda: driver.says("'lots' is no number"), "the trouble", lambda: box.say(power="lots"))
        driver.until(lambda: driver.last.energy_import_kwh == 1.25, "its counter")
        assert driver.last.vehicle is not None


def test_a_trouble_stands_while_another_topic_of_the_device_goes_on(tmp_path: Path, home: LocalMosquitto) -> None:
    with boxed(tmp_path, home) as (driver, box):
        box.raw("box/soc", b"250")
        box.saying(lambda: driver.says("soc_frac: 2.5"), "the trouble")
        count = len(driver.bodies(type(driver.last)))
        box.saying(lambda: len(driver.bodies(type(driver.last))) > count + 5, "telemetry")
        assert [alarm.active for alarm in driver.alarms(TROUBLE)] == [True], "one alarm, and no end of it"


def test_a_hundred_messages_a_second_and_nonsense_between_them(
    tmp_path: Path, home: LocalMosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    with boxed(tmp_path, home) as (driver, box):
        begun, told = time.monotonic(), len(driver.bodies(type(driver.last)))
        box.asked()
        driver.ask("meanwhile", 5.0)
        asked: list[float] = []
        sent = 0
        while sent < 300:
            box.wh += 0.01
            for _ in range(3):
                box.say(power="lots" if sent % 2 else 7400)
                sent += 1
            driver.turn()
            asked += box.asked()
            time.sleep(max(0.0, begun + sent / 100 - time.monotonic()))
        lasted_s = time.monotonic() - begun
        assert len(driver.bodies(type(driver.last))) - told <= lasted_s / TELEMETRY_S + 2, (
            "telemetry keeps its own pace"
        )
        assert (asked[-1], asked.count(5000.0)) == (5000.0, 1)
        box.saying(lambda: driver.last.energy_import_kwh == pytest.approx(box.wh / 1000), "every message is counted")
        written = [each for each in caplog.records if each.name == complaints.__name__]
        assert 1 <= len(written) <= complaints.BURST, "150 of the same are no 150 lines"
        assert len(driver.alarms(TROUBLE)) <= 2 * standing_alarms.BEGINNINGS
        driver.is_sound()


def test_a_device_that_comes_and_goes_is_one_alarm_that_says_so(
    tmp_path: Path, home: LocalMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_alarms, "CALM", 5 * standing_alarms.CALM / 50)
    with boxed(tmp_path, home) as (driver, box):
        before = len(driver.alarms(SILENT))
        for _ in range(10):
            for word in (b"offline", b"online"):
                seen = driver.polls
                box.raw("box/lwt", word)
                driver.until(lambda seen=seen: driver.polls > seen, "that it was heard")
                driver.turn()
        assert len(driver.alarms(SILENT)) - before <= 2 * standing_alarms.BEGINNINGS - 1
        assert "; it comes and goes" in driver.stands(SILENT)
        box.saying(lambda: driver.is_well, "that it is over")
        count = len(driver.sent)
        box.saying(lambda: len(driver.sent) > count + 3, "telemetry")
        driver.is_sound()


def test_a_wrong_clock_in_a_payload_moves_nothing(tmp_path: Path, home: LocalMosquitto) -> None:
    with boxed(tmp_path, home) as (driver, box):
        for clock in ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 1e300, None):
            box.say(Time=clock, timestamp=clock, ts=clock)
        count = len(driver.sent)
        box.saying(lambda: len(driver.sent) > count + 3, "telemetry")
        assert driver.is_well
        times = [at for at, _ in driver.sent]
        assert times == sorted(times)


def test_a_power_that_the_broker_has_kept_is_none_of_now(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as home:
        site = described(tmp_path, "ev1", {**WALLBOX, "broker": f"mqtt://{home.address.host}:{home.address.port}"})
        with turned(site, "ev1") as driver:
            box = Box(home, driver)
            box.raw("box/state", b'{"power": 9000, "wh": 900, "iec": "C"}', retain=True)
            box.raw("box/soc", b"44", retain=True)
            box.saying(lambda: driver.last is not None, "telemetry", lambda: box.raw("box/state", b'{"power": 7400}'))
            box.close()
        with turned(site, "ev1") as again:
            again.until(lambda: again.polls >= 2 and again.stands(SILENT), "what was kept")
            again.turn()
            assert again.last is None
            assert again.stands(SILENT) == "ev1 has not been heard yet"
            box = Box(home, again)
            box.saying(lambda: again.last is not None, "telemetry", lambda: box.raw("box/state", b'{"power": 7400}'))
            box.close()
        assert {told.power_kw for told in again.bodies(type(again.last))} == {7.4}
        assert again.last.energy_import_kwh == 0.9
        assert again.last.vehicle.soc_frac == 0.44


def test_a_vehicle_whose_wallbox_is_gone_in_mid_session_is_the_same_one_when_it_is_back(
    tmp_path: Path, home: LocalMosquitto
) -> None:
    with boxed(tmp_path, home) as (driver, box):
        box.say(iec="A")
        box.saying(lambda: driver.last.vehicle is not None and driver.last.vehicle.arrival is not None, "a vehicle")
        before = driver.last.vehicle
        driver.until(lambda: bool(driver.stands(SILENT)), "that it is gone")
        box.wh = 5.0  # it has restarted, and counts from nothing
        box.saying(lambda: driver.is_well, "that it is back")
        box.wh = 105.0
        box.saying(lambda: driver.last.vehicle.charged_kwh >= before.charged_kwh + 0.1, "what it charged since")
        assert driver.last.vehicle.arrival == before.arrival
        assert driver.last.vehicle.charged_kwh < 0.2, "and no more"
        driver.is_sound()


# ---- a cable that is pulled without a word


def test_a_modbus_device_behind_a_dead_connection_is_said_and_comes_back(tmp_path: Path) -> None:
    device = mapped_battery()
    with (
        device.serving() as port,
        HalfOpenProxy(BrokerAddress("127.0.0.1", port)) as proxy,
        mapped(tmp_path, proxy.address.port) as driver,
    ):
        driver.until(lambda: driver.last is not None, "the first telemetry")
        proxy.fall_silent()
        begun = time.monotonic()
        driver.until(lambda: "s old, and 1.5 are allowed" in driver.stands(SILENT), "that it is silent")
        noticed_s = time.monotonic() - begun
        driver.ask("meanwhile", 6.0)
        driver.until(lambda: driver.says("read power_kw at 0") or driver.says("write"), "why")
        assert noticed_s < 10.0
        proxy.pass_on()
        driver.until(lambda: driver.is_well and device.register(COMMAND) == 6000, "that it is back, and commanded")
        driver.is_sound()


def test_an_mqtt_device_behind_a_dead_connection_is_said_and_comes_back(
    tmp_path: Path, home: LocalMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.mqtt.KEEPALIVE_S", 4)
    monkeypatch.setattr("services.drivers.listening_link.RETRY_S", 0.2)
    with HalfOpenProxy(home.address) as proxy, boxed(tmp_path, home, proxy.address) as (driver, box):
        proxy.fall_silent()
        box.saying(lambda: "s old, and 1.5 are allowed" in driver.stands(SILENT), "that it is silent")
        proxy.pass_on()
        driver.ask("meanwhile", 6.0)
        box.saying(lambda: driver.is_well, "that it is back")
        asked: list[float] = []
        box.saying(lambda: asked.extend(box.asked()) or 6000.0 in asked, "the newest command")
        driver.is_sound()


# ---- the EMS meanwhile


def test_the_ems_plans_without_a_device_of_nonsense_says_so_and_has_it_back(tmp_path: Path) -> None:
    """A quarter-hour each of 3 kW, of 3000 kW, which are W given as kW, and of 3 kW again."""
    bench, bus = Bench(described(tmp_path, "bess", {**MAPPED, "port": 502})), Bus()
    bus.meet(BESS)
    knowledge, alarms = [], []
    for period, power_kw in enumerate((3.0, 3000.0, 3.0)):
        for second in range(900 * period + 10, 900 * (period + 1), 20):
            sent = bench.act(second, Measured(power_kw=power_kw, soc_frac=0.6, trouble=""))
            alarms += of(sent, Alarm)
            for telemetry in of(sent, BessTelemetry):
                bus.send(Kind.BESS, "bess", telemetry, second)
        knowledge.append((plan_of(bus.turn(900 * (period + 1))).knowledge or {})["bess"])
    assert [each.in_plan for each in knowledge] == [True, False, True]
    assert knowledge[1].why_not == "no telemetry of bess for 890 s, allowed are 60 s"
    silences = [each for each in alarms if each.code == SILENT]
    assert [each.active for each in silences] == [True, False]
    assert "power_kw: 3000 kW is beyond -41 to 41 kW, 2 times its rating; is W given as kW?" in silences[0].text
