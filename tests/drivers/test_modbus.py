"""A battery and a charger behind Modbus TCP: a real server on loopback, its registers, its refusals and its silence."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from schemas.messages import Ack, Alarm, BessTelemetry, Fallback, Phase, Setpoint, Stamp, TimeMode
from schemas.participant import Input, Outgoing, Received, Turn
from schemas.site import Site
from schemas.site.drivers import ModbusDriver
from schemas.topics import Channel, Kind, Topic
from services.drivers.link import Measured
from services.drivers.modbus_link import ModbusLink
from services.drivers.participant import Driver
from services.drivers.presets import resolved
from sites.loader import load_site
from sites.loader.template import write_template
from tests.drivers.modbus_device import Device, Reader

BESS: dict[str, Any] = {
    "type": "modbus",
    "host": "127.0.0.1",
    "poll_s": 0.1,
    "timeout_s": 1.0,
    "power_kw": {"address": 0, "type": "int32", "factor": -0.001},  # the device counts discharging as positive
    "energy_import_kwh": {"address": 4, "type": "uint32", "word_order": "little", "factor": 0.1},
    "energy_export_kwh": {"address": 6, "type": "float32"},
    "soc_frac": {"address": 10, "table": "input", "type": "uint16", "factor": 0.01, "absent": 65535},
    "command": {"address": 20, "type": "int16", "factor": -1000, "before": {30: 2}},
}


def driver(port: int, **changes: Any) -> ModbusDriver:
    return ModbusDriver.model_validate({**BESS, "port": port, **changes})


def reader_of(described: ModbusDriver) -> Reader:
    return Reader(ModbusLink("lab/bess", described))


def test_every_type_word_order_and_sign_is_read() -> None:
    device = Device()
    device.put(0, *divmod(-7_400 & 0xFFFFFFFF, 0x10000))
    device.put(4, 0x0002, 0x0001)  # 0x00010002 = 65538 tenths, low word first
    device.put(6, 0x42F6, 0xE979)  # IEEE 754: 123.456
    device.put(10, 55)
    with device.serving() as port, reader_of(driver(port)) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        read = reader.found[0]
        assert (read.power_kw, read.energy_import_kwh, read.soc_frac) == pytest.approx((7.4, 6553.8, 0.55))
        assert read.energy_export_kwh == pytest.approx(123.456, rel=1e-6)
        device.put(10, 65535)
        reader.until(lambda: reader.found[-1].soc_frac is None, "no SOC")
        device.put(10, 300)
        reader.until(lambda: "soc_frac: 3.0" in (reader.found[-1].trouble or ""), "a SOC of 300 %")


def test_a_command_is_written_with_what_comes_before_it_and_read_back() -> None:
    device = Device()
    with device.serving() as port, reader_of(driver(port)) as reader:
        reader.link.command(5.25)
        reader.until(lambda: len(device.written) >= 2, "the command")
        assert device.written == [(30, [2]), (20, [-5250 & 0xFFFF])]
        device.keeps = False
        reader.link.command(1.0)
        reader.until(lambda: bool(reader.found and reader.found[-1].trouble), "what was read back")
        assert reader.found[-1].trouble == "-1000 was written at 20 and -5250 stands there"
        assert reader.found[-1].power_kw is not None


def test_a_command_is_repeated_where_the_device_asks_for_it() -> None:
    device = Device()
    repeating = {**BESS["command"], "repeat_s": 0.5, "before": {}}
    with device.serving() as port, reader_of(driver(port, command=repeating)) as reader:
        reader.link.command(2.0)
        reader.until(lambda: len(device.written) >= 3, "repetitions")


def test_a_device_that_goes_and_comes_back_is_commanded_again() -> None:
    device = Device()
    with reader_of(driver(1, poll_s=0.1)) as nobody:
        nobody.until(lambda: bool(nobody.found), "the trouble")
        assert nobody.found[0].trouble == "127.0.0.1:1 cannot be reached"
    with device.serving() as port:
        reader = reader_of(driver(port))
        reader.link.command(3.0)
        reader.until(lambda: bool(device.written), "the command")
    reader.until(lambda: bool(reader.found[-1].trouble), "the trouble")
    device.written.clear()
    with device.serving(port):
        reader.until(lambda: bool(device.written), "the command again")
        reader.until(lambda: reader.found[-1].power_kw is not None, "measurements")
        reader.link.close()


def test_a_register_that_the_device_does_not_have_is_named() -> None:
    device = Device()
    with device.serving() as port, reader_of(driver(port, power_kw={"address": 60_000})) as reader:
        reader.until(lambda: bool(reader.found), "the trouble")
        assert (reader.found[0].trouble or "").startswith("read power_kw at 60000: refused")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    write_template(tmp_path)
    file = tmp_path / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["devices"]["bess"]["driver"] = {**BESS, "port": 502}
    file.write_text(yaml.safe_dump(parts))
    return load_site(file)


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Told:
    """A link without hardware: notes what it is told."""

    name, value_type, commanded = "bench", Measured, True

    def __init__(self) -> None:
        self.kw: list[float] = []

    def open(self, put: Callable[[object], bool]) -> None:
        """Nothing to be opened."""

    def close(self) -> None:
        """Nothing to be closed."""

    def command(self, value_kw: float, for_s: float | None = None) -> None:
        self.kw.append(value_kw)


class Bench:
    """The participant of the battery, given turns by hand."""

    def __init__(self, site: Site) -> None:
        self.link = Told()
        self.driver = Driver(site, "bess", self.link, max_age_s=30.0)

    def act(
        self,
        seconds: float,
        *given: Measured,
        setpoint: Setpoint | None = None,
        pace: float = 1.0,
        phase: Phase = Phase.SENSE,
    ) -> list[Outgoing]:
        at = NOW + timedelta(seconds=seconds)
        inputs = tuple(Input("bench", at, each) for each in given)
        topic = Topic(self.driver.site, Kind.BESS, "bess", Channel.SETPOINT)
        inbox = [] if setpoint is None else [Received(topic, Stamp(ts=at, boot="ems", seq=1), setpoint)]
        return self.driver.act(Turn(phase, at, NOW, None, 900, TimeMode.WALL, inputs=inputs, pace=pace), inbox)


def of(sent: list[Outgoing], kind: type[Any]) -> list[Any]:
    return [each.body for each in sent if isinstance(each.body, kind)]


def test_a_battery_is_not_told_of_before_its_soc_is_known(site: Site) -> None:
    bench = Bench(site)
    first = bench.act(0, Measured(power_kw=1.0))
    assert not of(first, BessTelemetry)
    assert of(first, Alarm)[0].text == "bess has not said its soc_frac yet"
    between = bench.act(0.5, Measured(soc_frac=0.4), phase=Phase.APPLY)
    assert of(between, BessTelemetry), "at once, not with the next period"
    assert not of(bench.act(0.6, Measured(soc_frac=0.4), phase=Phase.APPLY), BessTelemetry)
    then = bench.act(1, Measured(soc_frac=0.5))
    assert of(then, BessTelemetry)[0].soc_frac == 0.5
    assert [alarm.active for alarm in of(between, Alarm)] == [False]


def test_in_a_run_that_is_faster_a_device_is_given_as_much_of_the_machines_time(site: Site) -> None:
    bench = Bench(site)
    measured = Measured(power_kw=1.0, soc_frac=0.5)
    assert of(bench.act(0, measured, pace=60.0), BessTelemetry)
    assert of(bench.act(30 * 60, pace=60.0), BessTelemetry), "30 s are allowed"
    (alarm,) = of(bench.act(31 * 60, pace=60.0), Alarm)
    assert (alarm.code, alarm.active) == ("hardware_silent", True)
    assert alarm.text == "the power of bess is 31 s old, and 30 are allowed"
    # It was asked for nothing, and draws 1 kW: said after 20 s, when it was measured twice.
    bench.act(0, measured, pace=60.0)
    assert not of(bench.act(19 * 60, measured, pace=60.0), Alarm)


def test_a_device_that_does_not_keep_its_command_raises_an_alarm_and_is_measured_on(site: Site) -> None:
    bench = Bench(site)
    told = Measured(power_kw=1.0, soc_frac=0.5, trouble="-1000 was written at 20 and 0 stands there")
    sent = bench.act(0, told)
    assert [(alarm.code, alarm.active) for alarm in of(sent, Alarm)] == [("hardware_trouble", True)]
    assert of(sent, BessTelemetry)
    over = bench.act(1, Measured(power_kw=1.0, trouble=""))
    assert [(alarm.code, alarm.active) for alarm in of(over, Alarm)] == [("hardware_trouble", False)]


def test_set_points_are_clipped_obeyed_and_expire_and_the_state_survives_a_restart(site: Site) -> None:
    bench = Bench(site)
    until = NOW + timedelta(seconds=60)
    asked = Setpoint(id="a", epoch=1, valid_from=NOW, valid_until=until, power_kw=-500.0, fallback=Fallback.IDLE)
    (ack,) = of(bench.act(0, Measured(power_kw=0.0, soc_frac=0.5, energy_import_kwh=9.0), setpoint=asked), Ack)
    assert ack.accepted
    most_kw = bench.driver._spec.nameplate.gives_kw
    assert bench.link.kw[-1] == ack.applied_kw == -most_kw
    assert bench.driver.wake_at(NOW) == until
    again = Bench(site)
    again.driver.restore(bench.driver.snapshot())
    again.act(30)
    assert again.link.kw[-1] == -most_kw
    again.act(60)
    assert again.link.kw[-1] == 0.0
    assert again.driver.registers["energy_import_kwh"] == 9.0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"power_kw": {"address": -1}}, "greater than or equal to 0"),
        ({"power_kw": {"address": 0, "type": "int8"}}, "Input should be 'int16'"),
        ({"power_kw": {"address": 0, "factor": 0}}, "factor 0"),
        ({"command": {"address": 0, "factor": 0}}, "factor 0"),
        ({"port": 70_000}, "less than or equal to 65535"),
        ({"plugged": {"address": 1}}, "Field required"),
        ({"preset": "toaster"}, "Input should be 'wallbox_quasar'"),
        ({"power_kw": None}, "power_kw is missing"),
    ],
)
def test_a_faulty_map_says_what_is_wrong(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ModbusDriver.model_validate({**BESS, **given})


def test_a_bidirectional_charger_is_a_preset_and_its_own_fields_go_before() -> None:
    described = ModbusDriver.model_validate({"type": "modbus", "host": "127.0.0.1", "preset": "wallbox_quasar"})
    device = Device(count=700)
    device.put(526, -3_700)
    device.put(537, 11)
    device.put(538, 64)
    with device.serving() as port:
        filled = resolved(described.model_copy(update={"port": port, "poll_s": 0.1}))
        assert isinstance(filled, ModbusDriver)
        with reader_of(filled) as reader:
            reader.until(lambda: bool(reader.found), "a reading")
            read = reader.found[0]
            assert (read.power_kw, read.soc_frac, read.plugged) == pytest.approx((-3.7, 0.64, True))
            reader.link.command(-5.0)
            reader.until(lambda: len(device.written) >= 4, "the command")
            assert device.written == [(81, [1]), (83, [1]), (257, [1]), (260, [-5_000 & 0xFFFF])]
            device.put(537, 0)
            device.put(538, 0)
            reader.until(lambda: reader.found[-1].plugged is False, "no vehicle")
            assert reader.found[-1].soc_frac is None
    own = {"command": {"address": 300}, "soc_frac": {"address": 1}}
    filled = resolved(ModbusDriver.model_validate({"host": "h", "preset": "wallbox_quasar", **own}))
    assert filled.command is not None
    assert (filled.command.address, filled.soc_frac.address, filled.power_kw.address) == (300, 1, 526)  # type: ignore[union-attr]
