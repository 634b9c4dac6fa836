"""The pytest plugin in a fresh folder, with a user's own EMS client that knows only paho and the JSON of messages."""

import subprocess
import sys
from pathlib import Path

from tests.api.test_api import PLUGIN

MY_EMS = '''
import json
import secrets
from datetime import datetime, timedelta

import paho.mqtt.client as mqtt
import pytest


class MyEms:
    """Charges every plugged car with 3 kW, whatever it costs."""

    def __init__(self, host, port, site):
        self.boot, self.seq, self.acks = secrets.token_hex(4), 0, []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{site}_ems")
        self.client.on_connect = lambda c, *_: c.subscribe([(f"twin/v2/{site}/charger/+/+", 1)])
        self.client.on_message = self.on_message
        self.client.connect(host, port)
        self.client.loop_start()

    def on_message(self, client, userdata, message):
        *start, channel = message.topic.split("/")
        said = json.loads(message.payload)
        if channel == "ack":
            self.acks.append(said)
        elif channel == "telemetry" and said.get("vehicle"):
            self.seq += 1
            until = datetime.fromisoformat(said["ts"]) + timedelta(hours=1)
            setpoint = {"contract": 2, "ts": said["ts"], "run": said["run"], "boot": self.boot, "seq": self.seq}
            setpoint |= {"id": f"my-{self.seq}", "epoch": 1, "valid_from": said["ts"], "fallback": "idle"}
            setpoint |= {"valid_until": until.isoformat(), "power_kw": 3.0}
            client.publish("/".join([*start, "setpoint"]), json.dumps(setpoint), qos=1)
'''

PASSING = """
def test_my_ems_charges_the_cars(twinswarm_site):
    site = twinswarm_site(begin="10:00", length="1h", speed=600, attach=["ems"])
    ems = MyEms(site.host, site.port, site.site.site)
    result = site.wait(120)
    assert result.complete and result.setpoints_sent > 10
    assert ems.acks and all(ack["applied_kw"] == 3.0 for ack in ems.acks if ack["accepted"])
    assert 2.0 < result.quarters[-1].power_kw["ev1"] < 3.5


@pytest.mark.twinswarm(begin="10:00", length="30min", storage="none", baseline="no-cars")
class TestOfALockStepDay:
    def test_a_site_by_the_marker(self, twinswarm_site):
        result = twinswarm_site().wait(60)
        assert result.complete and result.mode == "lockstep"

    @pytest.mark.twinswarm(length="15min")
    def test_the_nearest_marker_counts(self, twinswarm_site):
        assert len(twinswarm_site().wait(60).quarters) == 1

    def test_two_sites_at_once(self, twinswarm_site):
        one, other = twinswarm_site(), twinswarm_site(begin="11:00")
        assert one.address != other.address
        assert one.wait(60).start != other.wait(60).start
"""

FAILING = """
def test_that_fails(twinswarm_site):
    site = twinswarm_site(begin="10:00", length="2h", speed=1)
    open("address", "w").write(site.address)
    assert False


@pytest.mark.twinswarm("carpark")
def test_of_a_wrong_marker(twinswarm_site):
    pass


def test_of_wrong_options(twinswarm_site):
    twinswarm_site(storage="all")
"""


def _pytest(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(MY_EMS + text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", *PLUGIN, "-v"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def test_other_software_is_tested_against_a_site(tmp_path: Path) -> None:
    done = _pytest(tmp_path, PASSING)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_a_site_ends_with_its_test_and_faults_are_named(tmp_path: Path) -> None:
    import socket

    done = _pytest(tmp_path, FAILING)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "takes options by name" in done.stdout
    assert "storage: none, bess, v2g, both are allowed (received 'all')" in done.stdout
    host, port = (tmp_path / "address").read_text().removeprefix("mqtt://").split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0, "its broker is gone"
