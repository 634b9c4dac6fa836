"""A battery behind S2: its resource manager is built with s2-python, and connects to the driver's endpoint."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from s2python.common import ControlType
from s2python.connection.async_.control_type.class_based import NoControlControlType
from s2python.frbc import FRBCTimerStatus

from broker.servers.mosquitto import find_mosquitto
from schemas.errors import InputError
from schemas.messages import Ack, Alarm, BessTelemetry
from schemas.site import Site
from schemas.site.drivers import S2Driver
from services.drivers.s2.link import S2Link
from sites.loader import load_site
from sites.loader.template import write_template
from tests.drivers.modbus_device import Reader
from tests.drivers.s2_rm import Battery, ResourceManager, free_port
from tests.parts import skip_without
from tests.wall_swarm import living
from twinswarm.deploy.drivers import driven


@contextmanager
def linked(battery: Battery, **changes: Any) -> Iterator[tuple[Reader, ResourceManager]]:
    link = S2Link("lab/bess", S2Driver.model_validate({"port": 0, **changes}), safe_kw=0.0)
    with Reader(link) as reader:
        reader.until(lambda: link.port is not None, "the endpoint")
        with ResourceManager(f"ws://127.0.0.1:{link.port}", battery) as manager:
            yield reader, manager


def last(reader: Reader, name: str) -> Any:
    return next((value for each in reversed(reader.found) if (value := getattr(each, name)) is not None), None)


def watts(battery: Battery) -> float | None:
    return battery.instructed[-1][1] if battery.instructed else None


def test_what_its_resource_manager_measures_and_says_is_read() -> None:
    battery = Battery()
    with linked(battery) as (reader, manager):
        reader.until(lambda: last(reader, "power_kw") == 0.0 and last(reader, "soc_frac") == 0.55, "a reading")
        battery.wrong["power"] = -3210.0
        manager.level(40.0)
        reader.until(lambda: last(reader, "power_kw") == -3.21 and last(reader, "soc_frac") == 0.4, "other values")
        assert last(reader, "online") is True
        assert last(reader, "trouble") == ""


def test_an_soc_has_the_levels_that_the_site_states() -> None:
    with linked(Battery(), empty_level=10.0, full_level=100.0) as (reader, _):
        reader.until(lambda: last(reader, "soc_frac") == pytest.approx(0.5), "(55 - 10) / 90")


def test_a_battery_that_measures_no_power_has_that_of_its_operation_mode() -> None:
    battery = Battery(measures=False)
    with linked(battery) as (reader, _):
        reader.link.command(-2.0)
        reader.until(lambda: last(reader, "power_kw") == pytest.approx(-2.0), "the power that is stated")


def test_powers_become_operation_modes_with_their_factors() -> None:
    battery = Battery()
    with linked(battery) as (reader, _):
        for power_kw, mode, factor in ((3.0, "charge", 2.5 / 7.5), (-2.0, "discharge", 0.75), (0.0, "discharge", 1.0)):
            reader.link.command(power_kw)
            reader.until(lambda: watts(battery) == pytest.approx(power_kw * 1000), f"{power_kw} kW")  # noqa: B023
            assert (battery.mode, battery.factor) == (mode, pytest.approx(factor))
            reader.until(lambda: last(reader, "power_kw") == pytest.approx(power_kw), "its measurement")  # noqa: B023


def test_a_power_that_is_not_there_is_never_exceeded_and_is_named() -> None:
    battery = Battery()
    with linked(battery) as (reader, _):
        reader.link.command(0.3)  # charging begins at 0.5 kW
        reader.until(
            lambda: "0.3 kW is asked, and 0 kW is what it can do now" in (last(reader, "trouble") or ""), "the trouble"
        )
        assert watts(battery) == 0.0
        reader.link.command(11.0)
        reader.until(lambda: watts(battery) == 8000.0, "its most")
        reader.until(lambda: "11 kW is asked, and 8 kW" in (last(reader, "trouble") or ""), "the trouble")
        count = len(battery.instructed)
        time.sleep(2.5)
        assert len(battery.instructed) == count, "it is not asked again and again"


def test_a_mode_that_is_reached_by_another_one_is_reached_in_two_steps() -> None:
    battery = Battery(direct=False)
    with linked(battery) as (reader, _):
        reader.link.command(4.0)
        reader.until(lambda: watts(battery) == pytest.approx(4000.0), "charging")
        reader.link.command(-4.0)
        reader.until(lambda: watts(battery) == pytest.approx(-4000.0), "discharging, by idling")
        assert [each for _, each in battery.instructed[-2:]] == pytest.approx([0.0, -4000.0])


def test_a_set_point_is_ended_by_the_resource_manager_when_nobody_else_does() -> None:
    battery = Battery()
    with linked(battery) as (reader, manager):
        until = datetime.now(UTC) + timedelta(seconds=3)
        reader.link.command(5.0, 3.0)
        reader.until(lambda: watts(battery) == 5000.0, "the power")
        manager.hang_up()  # neither driver nor EMS any more
        reader.until(lambda: watts(battery) == 0.0, "its end")
        late = battery.instructed[-1][0] - until
        assert timedelta(seconds=1.5) < late < timedelta(seconds=3.5)


def test_a_set_point_that_is_renewed_takes_the_end_of_the_one_before_back() -> None:
    battery = Battery()
    with linked(battery) as (reader, _):
        reader.link.command(5.0, 1.5)
        reader.until(lambda: watts(battery) == 5000.0, "the power")
        reader.link.command(5.0, 60.0)
        time.sleep(4.5)
        assert {each for _, each in battery.instructed} == {5000.0}


def test_a_manager_that_comes_again_is_commanded_anew() -> None:
    battery = Battery()
    with linked(battery) as (reader, manager):
        reader.link.command(2.0)
        reader.until(lambda: watts(battery) == pytest.approx(2000.0), "the power")
        manager.hang_up()
        reader.link.command(1.0)
        reader.until(lambda: watts(battery) == pytest.approx(1000.0) and manager.sessions > 1, "it is commanded anew")
        # It may be back before anybody has noticed that it was gone.
        reader.until(lambda: last(reader, "online") is not False, "that it is there")


def test_a_rejected_instruction_a_missed_target_and_a_timer_are_named() -> None:
    battery = Battery()
    with linked(battery) as (reader, manager):
        reader.until(lambda: last(reader, "soc_frac") is not None, "a reading")
        battery.rejects = True
        reader.link.command(3.0)
        reader.until(
            lambda: "its resource manager has rejected 3 kW" in (last(reader, "trouble") or ""), "the rejection"
        )
        battery.rejects = False
        reader.link.command(2.0)
        reader.until(lambda: last(reader, "trouble") == "", "that it is over")
        manager.target(80.0, 100.0)
        reader.until(lambda: "the fill level is 55" in (last(reader, "trouble") or ""), "the target")
        manager.level(90.0)
        reader.until(lambda: last(reader, "trouble") == "", "that it is met")


def test_what_is_no_message_of_s2_is_refused_and_ends_nothing() -> None:
    battery = Battery()
    with linked(battery) as (reader, manager):
        reader.until(lambda: last(reader, "soc_frac") is not None, "a reading")
        for text in ("{", "[]", '{"message_type": "FRBC.StorageStatus", "message_id": "x"}', '{"message_type": 7}'):
            manager.raw(text)
        manager.level(60.0)
        reader.until(lambda: last(reader, "soc_frac") == 0.6, "the next good one")
        assert manager.sessions == 1
        manager.say(
            lambda: FRBCTimerStatus(
                message_id=uuid.uuid4(),
                timer_id=battery.ids["timer"],
                actuator_id=battery.ids["actuator"],
                finished_at=datetime.now(UTC),
            )
        )


def test_values_that_no_battery_has_are_named_and_the_others_count() -> None:
    battery = Battery()
    with linked(battery) as (reader, manager):
        reader.until(lambda: last(reader, "soc_frac") == 0.55, "a reading")
        manager.level(130.0)
        reader.until(lambda: "soc_frac: 1.3" in (last(reader, "trouble") or ""), "the trouble")
        assert last(reader, "soc_frac") == 0.55
        message = f'"message_type": "FRBC.StorageStatus", "message_id": "{uuid.uuid4()}"'
        manager.raw(f'{{{message}, "present_fill_level": NaN}}')
        manager.level(56.0)
        reader.until(lambda: last(reader, "soc_frac") == 0.56, "the next good one")
        assert all(each.soc_frac in (None, 0.55, 0.56) for each in reader.found)
        manager.level(101.0)
        reader.until(lambda: last(reader, "soc_frac") == 1.0, "a level that is a little too high")


def test_a_driver_that_ends_gives_the_battery_back() -> None:
    with linked(Battery()) as (reader, manager):
        reader.until(lambda: last(reader, "soc_frac") is not None and manager.control.active, "control")
        reader.link.close()
        reader.until(lambda: not manager.control.active, "that its resource manager has it back")


class OnlyWatched(NoControlControlType):
    async def activate(self, connection: Any) -> None: ...

    async def deactivate(self, connection: Any) -> None: ...


def test_a_manager_without_frbc_and_one_without_the_token_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("right\n")
    link = S2Link("lab/bess", S2Driver(port=0, token_file=str(secret)), safe_kw=0.0)
    with Reader(link) as reader:
        reader.until(lambda: link.port is not None, "the endpoint")
        url = f"ws://127.0.0.1:{link.port}"
        with ResourceManager(url, Battery(), "wrong") as stranger:
            time.sleep(1.0)
            assert stranger.sessions == 0
        with ResourceManager(url, Battery(), "right", [OnlyWatched()]):
            why = "it offers NOT_CONTROLABLE, and FILL_RATE_BASED_CONTROL is needed"
            reader.until(lambda: why in (last(reader, "trouble") or ""), "the refusal")
    assert ControlType.NOT_CONTROLABLE.value in why


def described(folder: Path, **changes: Any) -> Site:
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    driver = {"type": "s2", "port": 0, "max_age_s": 2.0, **changes}
    limits = {"max_charge_kw": 8.0, "max_discharge_kw": 8.0}
    parts["devices"]["bess"] |= {**limits, "telemetry_period_s": 0.2, "driver": driver}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"certificate": "a.pem"}, "certificate and key belong together"),
        ({"empty_level": 5, "full_level": 5}, "full_level 5 is not above empty_level 5"),
        ({"port": -1}, "greater than or equal to 0"),
    ],
)
def test_a_description_that_cannot_be_meant_is_a_fault(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=what):
        described(tmp_path, **changes)


def test_s2_is_for_a_battery(tmp_path: Path) -> None:
    described(tmp_path)
    file = tmp_path / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["devices"]["pv"]["driver"] = {"type": "s2"}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    with pytest.raises(InputError, match="s2 is for a bess"):
        load_site(file)


def test_in_a_swarm_it_is_a_battery_like_any_other(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    port, battery = free_port(), Battery()
    site = described(tmp_path, port=port)
    with (
        ResourceManager(f"ws://127.0.0.1:{port}", battery) as manager,
        living(site, "bess", driven(site, "bess")()) as swarm,
    ):
        assert swarm.all(BessTelemetry)[0].soc_frac == 0.55
        swarm.ask("one", seconds=3.0, power_kw=2.0)
        until = datetime.now(UTC) + timedelta(seconds=3.0)
        swarm.until(lambda: watts(battery) == pytest.approx(2000.0), "the instruction")
        swarm.until(lambda: any(ack.id == "one" and ack.applied_kw == 2.0 for ack in swarm.all(Ack)), "the ack")
        swarm.until(lambda: swarm.power_kw() == pytest.approx(2.0), "the telemetry")
        swarm.until(lambda: watts(battery) == 0.0, "its end, with the EMS dead")
        late = battery.instructed[-1][0] - until
        assert timedelta(seconds=-0.1) < late < timedelta(seconds=1.0), "by the driver's own clock"
        manager.quiet = True
        silent = "hardware_silent"
        swarm.until(lambda: any(alarm.code == silent and alarm.active for alarm in swarm.all(Alarm)), "silence")
        manager.quiet = False
        swarm.until(lambda: any(alarm.code == silent and not alarm.active for alarm in swarm.all(Alarm)), "its end")
        swarm.ask("two", seconds=3.0, power_kw=-4.0)
        swarm.until(lambda: watts(battery) == pytest.approx(-4000.0), "the instruction")
        swarm.broker.stop()
        deadline = time.monotonic() + 20
        while watts(battery) != 0.0:
            assert time.monotonic() < deadline, "its end, with the broker dead"
            time.sleep(0.01)
        swarm.broker.start()
