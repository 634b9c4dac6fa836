"""Set-points from Home Assistant reach a device, by the real EMS on a real broker, and end with whoever asked."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from broker.mqtt import MqttTransport
from broker.provision.acl import access_list
from broker.provision.workspace import add_client
from broker.servers.mosquitto import find_mosquitto
from schemas.messages import ChargerTelemetry, Plan, Request, Setpoint
from schemas.topics import Channel, Kind
from services.homeassistant.removal import Removed, remove_site
from tests.homeassistant.home import ASKED_KW, Home, by_ems, by_hand
from tests.parts import skip_without
from tests.provision.secured import ALL, NOW, SITE, Secured, message, send_marker, topic, until


def test_a_set_point_by_hand_is_obeyed_and_ends_with_home_assistant_and_with_the_command(home: Home) -> None:
    home.until("a plan", Plan, lambda plan: "ev1" in plan.devices)
    home.until_status("online")

    home.say("ev1/setpoint", "NaN")
    home.until_status("refused: -11 to 11 kW are allowed, not 'NaN'")
    home.say("ev1/setpoint", str(ASKED_KW))
    home.say("ev1/mode", "set-point")
    home.until("its set-point", Setpoint, by_hand)
    home.until("its power", ChargerTelemetry, lambda told: told.power_kw == ASKED_KW)
    home.until_status(f"{ASKED_KW} kW")
    # Renewed: longer than one request holds.
    for _ in range(8):
        home.until("one more", Setpoint, by_hand)
    home.mouth.publish("homeassistant/status", b"offline")
    home.until("the EMS, when Home Assistant is gone", Setpoint, by_ems)
    home.until_status("the EMS decides: Home Assistant is gone")

    home.say("ev1/mode", "set-point")
    home.until("its set-point", Setpoint, by_hand)
    os.kill(home.processes["homeassistant"].pid, signal.SIGKILL)
    home.processes["homeassistant"].wait(30)
    home.until("the EMS, when the command is dead", Setpoint, by_ems)
    home.until_status("offline")

    # What a person set is not taken up again.
    home.serve()
    home.until_status("online")
    home.until("the EMS", Setpoint, by_ems)
    home.say("ems/mode", "standby")
    home.until("standby", Plan, lambda plan: (plan.reason or "").startswith("standby, asked for by Home Assistant"))
    home.say("ems/mode", "on")
    home.until("control", Setpoint, by_ems)

    # What is taken away is gone, the states of what was set included.
    assert any(topic.startswith("twinswarm/") for topic in home.retained())
    home.processes["homeassistant"].terminate()
    home.processes["homeassistant"].wait(30)
    assert home.remove().startswith("3 devices of faulty taken away, and 6 states")
    assert home.retained() == set()


def test_a_site_that_takes_no_requests_is_refused() -> None:
    command = [sys.executable, "-m", "twinswarm.cli", "homeassistant", "fit_g2v", "--commands"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "ems.requests" in ended.stderr
    assert "takes no set-points by hand" in ended.stderr


def test_only_the_operator_asks_and_only_home_assistant_commands_it(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    secured = Secured(tmp_path / "provisioned")
    add_client(secured.folder.root, "homeassistant", Kind.OPERATOR, NOW)
    add_client(secured.folder.root, "home", None, NOW)
    own, command, state = (f"twinswarm/{SITE}/ev1/{each}" for each in ("setpoint", "setpoint/set", "status"))
    asked = Request(source="x", valid_from=NOW, valid_until=NOW + timedelta(minutes=1))
    request = topic(Kind.OPERATOR, "homeassistant", Channel.REQUEST)
    with secured.running():
        recorder, ems = secured.client("recorder", ALL), secured.client("ems", request)
        observer = secured.client("observer", ALL, "twinswarm/#")
        operator = secured.client("homeassistant", f"twinswarm/{SITE}/+/+/set", "homeassistant/status")
        home = secured.client("home", f"twinswarm/{SITE}/+/+", "homeassistant/device/+/config")
        ev1 = secured.client("ev1")

        # What each may not write arrives nowhere; the marker after it does.
        for kind, device, channel in (
            (Kind.CHARGER, "ev1", Channel.SETPOINT),
            (Kind.CHARGER, "ev1", Channel.TELEMETRY),
            (Kind.EMS, "ems", Channel.PLAN),
            (Kind.LIMITER, "homeassistant", Channel.LIMIT),
            (Kind.OPERATOR, "other", Channel.REQUEST),
        ):
            operator.publish(topic(kind, device, channel), message(asked), retain=True)
        assert until(recorder, send_marker(operator, Kind.OPERATOR, "homeassistant")) == []
        for stranger in (home, ev1, observer):
            stranger.publish(request, message(asked), retain=True)
        for stranger in (ev1, observer):
            stranger.publish(command, b"1")
            stranger.publish(own, b"1", retain=True)
            assert stranger.flush(10.0)
        home.publish(own, b"2", retain=True)
        home.publish("homeassistant/device/x/config", b"{}", retain=True)
        home.publish(command, b"3")
        home.publish("homeassistant/status", b"online")
        heard = [operator.receive(10.0), operator.receive(10.0)]
        assert [each and each.payload for each in heard] == [b"3", b"online"], "of what was sent these alone"

        # What each may write arrives where it should.
        operator.publish(state, b"5 kW", retain=True)
        operator.publish("homeassistant/device/x/config", b"{1}", retain=True)
        operator.publish(request, message(asked), retain=True)
        assert operator.flush(10.0)
        heard = [home.receive(10.0), home.receive(10.0)]
        assert sorted(each.payload for each in heard if each) == [b"5 kW", b"{1}"]
        came = ems.receive(10.0)
        assert came is not None
        assert came.payload == message(asked)

        # And it may take away what stands there.
        remover = MqttTransport(secured.address, "remover", secured.folder.credentials("homeassistant"))
        assert remove_site(SITE, remover, "homeassistant", time.monotonic) == Removed(devices=0, states=1)
        remover.close()
        gone = home.receive(10.0)
        assert (gone and gone.topic, gone and gone.payload) == (state, b"")


def test_without_an_operator_home_assistant_commands_nobody() -> None:
    granted = access_list(SITE, {"homeassistant": None, "home": None})
    assert "twinswarm/" not in granted
    assert "request" not in granted.replace(f"{SITE}/#", "")
