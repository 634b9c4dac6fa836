"""Contacts of a relay: rules, Modbus and MQTT, broken wires, and a process that is killed."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.errors import InputError
from schemas.limits import Allowed, InForce
from schemas.messages import Alarm, Limit
from schemas.site import Site
from services.limiter.relay import heard_of
from services.limiter.window import Window
from tests.drivers.modbus_device import Contacts
from tests.limits.described import in_force, process, site_with, until
from tests.parts import skip_without
from tests.wall_swarm import living
from twinswarm.deploy.limiters import sourced

RIPPLE: dict[str, Any] = {
    "type": "modbus_relay",
    "host": "127.0.0.1",
    "source": "ripple control",
    "poll_s": 0.1,
    "timeout_s": 1.0,
    "max_age_s": 1.0,
    "heartbeat_s": 1.0,
    "failsafe_export_kw": 0.0,
    "inputs": {f"k{percent}": {"address": i} for i, percent in enumerate((100, 60, 30, 0))},
    "rules": [
        {"when": {"k100": True, "k60": False, "k30": False, "k0": False}},
        {"when": {"k100": False, "k60": True, "k30": False, "k0": False}, "export_kw": 18.0},
        {"when": {"k100": False, "k60": False, "k30": True, "k0": False}, "export_kw": 9.0},
        {"when": {"k0": True}, "export_kw": 0.0},
    ],
}
"""The four contacts with which a German grid operator curtails an inverter of 30 kW; one of them is always closed."""


def ripple(folder: Path, port: int, **changes: Any) -> Site:
    return site_with(folder, ripple={**RIPPLE, "port": port, **changes})


def test_each_combination_of_contacts_demands_what_its_rule_says(tmp_path: Path) -> None:
    relay = ripple(tmp_path, 502).limits["ripple"]
    names = ("k100", "k60", "k30", "k0")
    found = {closed: heard_of(relay, {name: name == closed for name in names}).windows for closed in names}
    assert found == {
        "k100": (Window(),),
        "k60": (Window(export_kw=18.0),),
        "k30": (Window(export_kw=9.0),),
        "k0": (Window(export_kw=0.0),),
    }
    assert heard_of(relay, dict.fromkeys(names, True)).windows == (Window(export_kw=0.0),), "0 % is stricter"
    broken = heard_of(relay, dict.fromkeys(names, False))
    assert broken.windows is None
    assert broken.trouble == "no rule is for k0 open, k100 open, k30 open, k60 open; is a wire broken?"


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"rules": [{"when": {"k9": True}}]}, "limits.box", "rule 0 names k9; the inputs are k0, k100, k30, k60"),
        ({"rules": [{}, {"when": {"k0": True}}]}, "limits.box", "rule 1 never counts"),
        ({"rules": []}, "limits.box.rules", "at least 1"),
        ({"group": "garage"}, "limits.box.group", "is no group of ems.cable_limits; named are none"),
        ({"failsafe_export_kw": -1}, "limits.box.failsafe_export_kw", "greater than or equal to 0"),
        ({"type": "relay"}, "limits.box", "modbus_relay"),
    ],
)
def test_a_description_that_cannot_be_meant_is_a_fault_with_its_place(
    changes: dict[str, Any], where: str, what: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        site_with(tmp_path, box={**RIPPLE, **changes})
    (fault,) = raised.value.faults
    assert where in str(fault)
    assert what in str(fault)


def test_a_source_has_an_identifier_of_its_own(tmp_path: Path) -> None:
    for name, why in (("pv", "a device has this identifier"), ("ems", "reserved for the ems service")):
        with pytest.raises(InputError, match=why):
            site_with(tmp_path / name, **{name: RIPPLE})


def test_contacts_read_by_modbus_curtail_at_once_and_a_broken_wire_brings_the_failsafe(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    device = Contacts(0)
    with device.serving() as port:
        site = ripple(tmp_path, port)
        with living(site, "ripple", sourced(site, "ripple")(), first=Limit) as swarm:

            def last() -> Limit:
                limit: Limit = swarm.all(Limit)[-1]
                return limit

            assert last().export_kw is None
            assert last().source == "ripple control"
            device.closed = {2}
            swarm.until(lambda: last().export_kw == 9.0, "30 %")
            device.closed = set()  # no contact at all
            swarm.until(lambda: any("wire broken" in alarm.text for alarm in swarm.all(Alarm)), "the trouble")
            swarm.until(lambda: any(alarm.code == "limit_source_silent" for alarm in swarm.all(Alarm)), "silence")
            count = len(swarm.all(Limit))
            failsafe = InForce(None, Allowed(0.0, "ripple control", True))
            swarm.until(lambda: in_force(swarm.broker.address, site) == failsafe, "the failsafe")
            assert len(swarm.all(Limit)) == count, "its heartbeat has stopped"
            device.closed = {1}
            swarm.until(lambda: last().export_kw == 18.0, "60 %")


def test_contacts_reported_by_mqtt_are_known_while_each_is_repeated(tmp_path: Path) -> None:
    """One contact, as the 4.2 kW of section 14a of the German energy act."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as theirs:
        box = {
            "type": "mqtt_relay",
            "broker": f"mqtt://{theirs.address.host}:{theirs.address.port}",
            "max_age_s": 2.0,
            "heartbeat_s": 1.0,
            "failsafe_import_kw": 4.2,
            "inputs": {"dimmed": {"topic": "io/in1", "path": "state", "is": [True]}},
            "rules": [{"when": {"dimmed": True}, "import_kw": 4.2}, {"when": {"dimmed": False}}],
        }
        site = site_with(tmp_path, box=box)
        contact = MqttTransport(theirs.address, "contact")
        contact.connect([])
        try:
            contact.publish("io/in1", b'{"state": false}', retain=True)
            with living(site, "box", sourced(site, "box")(), first=Limit) as swarm:
                assert swarm.all(Limit)[0].import_kw is None
                contact.publish("io/in1", b'{"state": true}', retain=True)
                swarm.until(lambda: swarm.all(Limit)[-1].import_kw == 4.2, "dimmed")
                contact.publish("io/in1", b'{"state"', retain=True)
                swarm.until(lambda: any("io/in1" in alarm.text for alarm in swarm.all(Alarm)), "the unreadable one")
                silent = "limit_source_silent"
                swarm.until(lambda: any(alarm.code == silent for alarm in swarm.all(Alarm)), "a contact not repeated")
        finally:
            contact.close()


def test_a_limiter_that_is_killed_leaves_its_failsafe(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    device = Contacts(2)
    with device.serving() as port, LocalMosquitto() as broker:
        site = ripple(tmp_path, port, failsafe_export_kw=5.0)
        with process(tmp_path, site, "ripple", broker.address) as started:
            curtailed = InForce(None, Allowed(9.0, "ripple control", False))
            until(lambda: in_force(broker.address, site) == curtailed, "30 %")
            os.kill(started.pid, signal.SIGKILL)
            failsafe = InForce(None, Allowed(5.0, "ripple control", True))
            until(lambda: in_force(broker.address, site) == failsafe, "the failsafe")
