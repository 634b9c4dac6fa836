"""Chargers with OCPP 1.6J at the site's central system: set-points, expiry, transactions, interruptions, lies."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from broker.address import BrokerAddress
from broker.servers.mosquitto import find_mosquitto
from schemas.messages import Alarm, ChargerTelemetry
from services.drivers.link import Measured
from tests.broker.half_open import HalfOpenProxy
from tests.drivers.ocpp.evse import Evse16, iso
from tests.drivers.ocpp.running import Swarm, described, running
from tests.parts import skip_without
from twinswarm.deploy.drivers import links_of


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(described(tmp_path)) as found:
        yield found


def test_a_set_point_becomes_a_profile_is_measured_and_ends_by_itself(swarm: Swarm) -> None:
    evse = swarm.evse().connect()
    swarm.until(lambda: evse.limits("TxDefaultProfile") == [0.0], "the charger's own fallback")
    swarm.until(lambda: swarm.power_is(0.0), "nothing flows")
    assert swarm.telemetry().vehicle is None
    evse.plug()
    swarm.until(lambda: swarm.telemetry().vehicle is not None, "the vehicle")
    evse.begin()
    swarm.ask("one", 7.4, seconds=4.0)
    swarm.until(lambda: swarm.ack("one") is not None and swarm.ack("one").applied_kw == 7.4, "the ack")
    swarm.until(lambda: 7400.0 in evse.limits("TxProfile"), "the profile")
    heard, profile = next(
        (at, each)
        for at, each in evse.told
        if 7400.0 in evse.limits("TxProfile")
        and each["charging_schedule"]["charging_schedule_period"][0]["limit"] == 7400.0
    )
    schedule = profile["charging_schedule"]
    ends = datetime.fromisoformat(schedule["start_schedule"]) + timedelta(seconds=schedule["duration"])
    assert 0.5 < (ends - heard).total_seconds() <= 5.1, "it ends by itself, with the set-point"
    assert profile["transaction_id"] == evse.transaction
    swarm.until(lambda: swarm.power_is(7.4), "the measured power")
    assert swarm.telemetry().vehicle.soc_frac == 0.42
    swarm.until(lambda: evse.limits("TxProfile")[-1] == 0.0, "the fallback")
    late = evse.told[-1][0] - (heard + timedelta(seconds=4.0))
    assert late < timedelta(seconds=1.0)
    swarm.until(lambda: swarm.power_is(0.0), "the fallback, measured")
    evse.end()
    swarm.until(lambda: swarm.telemetry().vehicle is None, "the vehicle is gone")
    assert swarm.telemetry().energy_import_kwh == pytest.approx(evse.wh / 1000, abs=0.001)


def test_the_process_dies_and_the_charger_falls_back_by_itself(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(described(tmp_path)) as swarm:
        evse = swarm.evse().connect()
        evse.begin()
        swarm.ask("one", 6.0, seconds=2.0)
        swarm.until(lambda: 6000.0 in evse.limits("TxProfile"), "the profile")
        told = len(evse.told)
        evse.drop()
        deadline = time.monotonic() + 20
        while evse.limit_kw() != 0.0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(evse.told) == told, "nobody has said it: the profile has ended, and the charger's default holds"


def test_it_reconnects_in_a_transaction_and_is_given_the_set_point_that_came_meanwhile(swarm: Swarm) -> None:
    evse = swarm.evse().connect()
    evse.begin()
    swarm.until(lambda: swarm.telemetry() is not None and swarm.telemetry().vehicle is not None, "the vehicle")
    before = evse.transaction
    evse.drop()
    swarm.until(lambda: swarm.has("hardware_silent", "charge point CP1 is not connected"), "the alarm")
    swarm.ask("meanwhile", 4.0, seconds=120.0)
    swarm.until(lambda: swarm.ack("meanwhile") is not None, "the ack")
    evse.boots = False  # many do not, when only the network was away
    evse.connect()
    swarm.until(lambda: 4000.0 in evse.limits("TxProfile"), "the set-point")
    swarm.until(lambda: swarm.power_is(4.0), "telemetry again")
    assert swarm.last_profile(evse)["transaction_id"] == before
    assert swarm.telemetry().vehicle is not None


def test_behind_a_half_open_connection_it_is_silent_at_once_and_is_commanded_when_it_is_back(swarm: Swarm) -> None:
    """Nothing passes any more, neither FIN nor RST: the age of its values says it, not the connection."""
    with HalfOpenProxy(BrokerAddress("127.0.0.1", swarm.site.ocpp.port)) as cable:
        evse = swarm.evse().connect()  # which waits until somebody listens
        evse.drop()
        evse.url = f"ws://127.0.0.1:{cable.address.port}/CP1"
        evse.connect().begin()
        swarm.ask("one", 5.0, seconds=300.0)
        swarm.until(lambda: swarm.power_is(5.0), "the power")
        cable.fall_silent()
        swarm.until(lambda: swarm.alarm("hardware_silent").active, "the alarm")
        swarm.ask("two", 3.0, seconds=300.0)
        swarm.until(
            lambda: swarm.has("hardware_silent", "charge point CP1 is not connected"), "no answer to pings", 60.0
        )
        before = len(evse.told)
        assert 3000.0 not in evse.limits("TxProfile")
        evse.drop()
        cable.pass_on()
        evse.connect()
        swarm.until(lambda: 3000.0 in evse.limits("TxProfile"), "the newest set-point")
        swarm.until(lambda: swarm.power_is(3.0), "telemetry again")
        assert len(evse.told) > before


def test_a_transaction_of_two_hours_ago_is_handed_in_and_no_energy_is_lost(swarm: Swarm) -> None:
    evse = swarm.evse().connect()
    swarm.until(lambda: swarm.power_is(0.0), "telemetry")
    evse.drop()
    evse.connect()
    old = datetime.now(UTC) - timedelta(hours=2)

    def at(minutes: float) -> str:
        return iso(old + timedelta(minutes=minutes))

    start = call.StartTransaction(connector_id=1, id_tag="T", meter_start=1000, timestamp=at(0))
    number = evse.send(start).transaction_id
    for minutes, wh in ((15, 3000), (30, 6000)):
        sample = [{"value": str(wh)}, {"value": "9000", "measurand": "Power.Active.Import", "unit": "W"}]
        values = [{"timestamp": at(minutes), "sampledValue": sample}]
        evse.send(call.MeterValues(connector_id=1, meter_value=values, transaction_id=number))
    evse.send(call.StopTransaction(meter_stop=8125, timestamp=at(45), transaction_id=number))
    evse.do(evse.send_status())
    swarm.until(lambda: swarm.power_is(0.0) and swarm.telemetry().vehicle is None, "the state of now")
    swarm.until(lambda: swarm.telemetry().energy_import_kwh == pytest.approx(8.125), "the energy")
    assert all(b.power_kw < 1 for _, _, b in swarm.heard if isinstance(b, ChargerTelemetry)), "9 kW were two hours ago"


def test_a_start_that_is_sent_again_is_the_same_transaction(swarm: Swarm) -> None:
    evse = swarm.evse().connect()
    start = call.StartTransaction(connector_id=1, id_tag="T", meter_start=5, timestamp="2026-01-01T00:00:00Z")
    first, again = evse.send(start), evse.send(start)
    assert first.transaction_id == again.transaction_id
    other = call.StartTransaction(connector_id=1, id_tag="T", meter_start=6, timestamp="2026-01-01T01:00:00Z")
    assert evse.send(other).transaction_id != first.transaction_id


LIES = {
    "another schedule": ({"schedule_lies": True}, "it accepted 2 kW, and its schedule says 11 kW"),
    "refused": (
        {"refuses": {"TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"}},
        "2 kW is not accepted: SetChargingProfile with a ChargePointMaxProfile: Rejected",
    ),
    "W for kW": (
        {"sample": lambda: [{"value": "7400", "measurand": "Power.Active.Import", "unit": "kW"}]},
        "a power of 7400 kW is beyond a charger of 11 kW; W given as kW? See power_unit",
    ),
    "no number": (
        {"sample": lambda: [{"value": "lots", "measurand": "Power.Active.Import", "unit": "W"}]},
        "Power.Active.Import: 'lots' is no number",
    ),
    "wrong unit": (
        {"sample": lambda: [{"value": "1", "measurand": "Power.Active.Import", "unit": "Celsius"}]},
        "Power.Active.Import in 'Celsius': W was expected",
    ),
    "wrong clock": ({"clock_error": timedelta(hours=-3)}, "its clock is 10800 s behind"),
}


@pytest.mark.parametrize(("changes", "said"), LIES.values(), ids=LIES.keys())
def test_firmware_that_lies_is_said(swarm: Swarm, changes: dict[str, Any], said: str) -> None:
    evse = swarm.evse(**changes).connect()
    evse.begin()
    swarm.ask("two", 2.0, seconds=120.0)
    swarm.until(lambda: swarm.says(said), said, 60.0)


def test_a_wrong_clock_does_not_keep_it_from_being_read_and_commanded(swarm: Swarm) -> None:
    evse = swarm.evse(clock_error=timedelta(days=-400), sample_every_s=1.1).connect()
    evse.begin()
    swarm.ask("five", 5.0, seconds=120.0)
    swarm.until(lambda: swarm.power_is(5.0), "the power, by a schedule in the charger's own time", 40.0)
    assert swarm.telemetry().vehicle.charged_kwh < 0.1, "what the counter had before is not the vehicle's"


def test_without_soc_and_power_the_currents_are_taken(swarm: Swarm) -> None:
    amps = [{"value": "10", "measurand": "Current.Import", "unit": "A", "phase": f"L{n}"} for n in (1, 2, 3)]
    evse = swarm.evse(sample=lambda: amps).connect()
    evse.begin()
    swarm.until(lambda: swarm.power_is(6.9), "10 A on three phases of 230 V")
    assert swarm.telemetry().vehicle.soc_frac is None


def test_a_charger_that_knows_amperes_alone_gets_those(swarm: Swarm) -> None:
    evse = swarm.evse(units="Current", refuses={"TxProfile"}).connect()
    evse.begin()
    swarm.ask("one", 7.0, seconds=60.0)
    swarm.until(lambda: 10.1 in evse.limits("TxDefaultProfile"), "7 kW are 10.14 A of three phases, rounded down")


def test_a_register_that_jumps_and_comes_back_counts_nothing(swarm: Swarm) -> None:
    evse = swarm.evse(sample_every_s=0.1).connect()
    evse.begin()
    swarm.until(lambda: swarm.telemetry() is not None and swarm.telemetry().energy_import_kwh >= 1.0, "telemetry")
    for wh in ("0", "9e9", "0", "9e9"):
        values = [{"timestamp": evse.now(), "sampledValue": [{"value": wh}]}]
        evse.send(call.MeterValues(connector_id=1, meter_value=values))
        time.sleep(0.3)
    assert swarm.telemetry().energy_import_kwh < 1.1
    evse.end()
    swarm.until(lambda: swarm.telemetry().vehicle is None, "the end")
    assert swarm.telemetry().energy_import_kwh == pytest.approx(evse.wh / 1000, abs=0.01)


NONSENSE = ("{", "[]", "[9]", '[2,"x"]', '[2,"x",[],{}]', '[2,"y","MeterValues",[]]', '[2,"z","Nope",{}]', "7", "[[]]")


def test_a_hundred_messages_a_second_and_nonsense_between_them_stall_nobody(swarm: Swarm) -> None:
    evse = swarm.evse(sample_every_s=0.01).connect()
    evse.begin()
    for text in NONSENSE:
        evse.send_raw(text)
    swarm.until(lambda: swarm.says("a message cannot be read"), "what it says")
    swarm.ask("one", 3.0, seconds=60.0)
    swarm.until(lambda: swarm.power_is(3.0), "the power")
    begun = time.monotonic()
    count = sum(isinstance(body, ChargerTelemetry) for _, _, body in swarm.heard)
    swarm.until(lambda: time.monotonic() - begun > 1.0, "a second")
    rate = sum(isinstance(body, ChargerTelemetry) for _, _, body in swarm.heard) - count
    assert rate <= 20, "telemetry keeps its own pace"


def test_flapping_is_no_storm_of_alarms(swarm: Swarm) -> None:
    evse = swarm.evse().connect()
    for _ in range(5):
        evse.drop()
        evse.connect()
    swarm.until(lambda: swarm.power_is(0.0), "telemetry")
    silent = [b for _, _, b in swarm.heard if isinstance(b, Alarm) and b.code == "hardware_silent" and b.active]
    assert len(silent) <= 2, "that it has not been heard yet, and why"


def test_who_may_charge_who_may_connect_and_how(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    (tmp_path / "passwords").write_text("# the chargers'\nCP1:right\n")
    ocpp = {"security_profile": 1, "password_file": str(tmp_path / "passwords"), "id_tags": ["Tag1"]}
    with running(described(tmp_path, ocpp=ocpp)) as swarm:

        def basic(text: str) -> dict[str, str]:
            return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

        evse = swarm.evse(headers=basic("CP1:right")).connect()
        assert evse.send(call.Authorize(id_tag="TAG1")).id_tag_info["status"] == "Accepted"
        assert evse.send(call.Authorize(id_tag="TAG2")).id_tag_info["status"] == "Invalid"
        for headers, status in ((None, 401), (basic("CP1:wrong"), 401), (basic("CP2:right"), 401), (basic("x"), 401)):
            with pytest.raises(InvalidStatus) as refused:
                swarm.evse(headers=headers).connect()
            assert refused.value.response.status_code == status
        stranger = swarm.evse(headers=basic("CP1:right"), url=swarm.url.replace("CP1", "CP9"))
        with pytest.raises(InvalidStatus):
            stranger.connect()


def test_an_unknown_identity_and_a_foreign_protocol_are_refused(swarm: Swarm) -> None:
    swarm.evse().connect()
    with pytest.raises(InvalidStatus) as refused:
        swarm.evse(url=swarm.url.replace("CP1", "CP9")).connect()
    assert refused.value.response.status_code == 404
    with connect(swarm.url, subprotocols=["mqtt"]) as foreign, pytest.raises(ConnectionClosed) as closed:
        foreign.recv(timeout=10)
    assert closed.value.rcvd.code == 1002


def test_a_plugged_vehicle_begins_to_charge_with_the_sites_own_token(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(described(tmp_path, start_id_tag="SITE")) as swarm:
        evse = swarm.evse().connect()
        swarm.ask("one", 6.0, seconds=120.0)
        evse.plug()
        swarm.until(lambda: swarm.power_is(6.0), "it charges, as it was asked before")


def test_a_transaction_that_nobody_here_has_seen_begin_is_commanded(swarm: Swarm) -> None:
    evse = swarm.evse(status="SuspendedEVSE", transaction=77, sample=list).connect()
    swarm.ask("one", 6.0, seconds=120.0)
    swarm.until(lambda: evse.limit_kw() == 6.0, "by its default or, as soon as its number is known, by a profile of it")
    swarm.until(lambda: swarm.last_profile(evse).get("transaction_id") == 77, "its own profile")


def test_who_only_looks_changes_nothing(tmp_path: Path) -> None:
    site = described(tmp_path)
    link = links_of(site, ["ev1"])["ev1"]
    heard: list[Measured] = []
    link.open(lambda value: heard.append(value) is None)  # type: ignore[arg-type]
    evse = Evse16(f"ws://127.0.0.1:{site.ocpp.port}/CP1").connect()
    try:
        evse.begin()
        deadline = time.monotonic() + 20
        while not any(each.power_kw == 11.0 for each in heard) or not evse.triggered:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (evse.told, evse.configuration) == ([], {})
    finally:
        evse.close()
        link.close()


def test_a_time_that_is_none_and_one_of_the_year_9999_do_no_harm(swarm: Swarm) -> None:
    evse = swarm.evse().connect()
    evse.begin()
    for timestamp in ("never", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", None):
        sample = [{"value": "1", "measurand": "Power.Active.Import", "unit": "W"}]
        values = [{"timestamp": timestamp, "sampledValue": sample}]
        evse.do(evse._protocol.call(call.MeterValues(connector_id=1, meter_value=values), skip_schema_validation=True))
    swarm.ask("one", 5.0, seconds=120.0)
    swarm.until(lambda: swarm.power_is(5.0), "the power")


def test_a_port_that_another_has_is_said(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    site = described(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.ocpp.port))
        other.listen()
        with running(site) as swarm:
            swarm.until(lambda: swarm.says("cannot be listened at: "), "why")


NONSENSE_OF_2 = (
    ("TransactionEvent", {}),
    ("TransactionEvent", {"eventType": "Started", "transactionInfo": [], "evse": 5}),
    ("TransactionEvent", {"transactionInfo": {"transactionId": "a" * 2000, "chargingState": 7}, "evse": {"id": 1}}),
    ("StatusNotification", {"evseId": 1, "connectorStatus": ["Available"]}),
    ("StatusNotification", {"evseId": [], "connectorStatus": {}}),
    ("MeterValues", {"evseId": 1, "meterValue": [None, {"timestamp": {}, "sampledValue": [{"value": {}}, 5]}]}),
    ("Unknown", {}),
)


def test_each_message_of_ocpp_2_without_sense_is_answered_and_the_next_charger_is_served(swarm: Swarm) -> None:
    swarm.until(lambda: swarm.says("has not connected"), "that it listens")
    with connect(swarm.url, subprotocols=["ocpp2.0.1"]) as strange:
        for number, (action, payload) in enumerate(NONSENSE_OF_2):
            strange.send(json.dumps([2, f"m{number}", action, payload]))
            answer: list[Any] = []
            while len(answer) < 2 or answer[1] != f"m{number}":
                answer = json.loads(strange.recv(timeout=10))
            assert answer[0] in (3, 4), "a result or an error"
        swarm.until(lambda: swarm.says("a state that is none: ['Available']"), "what it says")
    evse = swarm.evse().connect()
    evse.begin()
    swarm.ask("one", 5.0, seconds=120.0)
    swarm.until(lambda: swarm.power_is(5.0), "the power")
    swarm.until(lambda: not swarm.has("hardware_trouble", ""), "the trouble was the other connection's")
