"""Charge points that others wrote, from npm, at the site's central system."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.drivers.ocpp.running import Swarm, described, running
from tests.ocpp_peers.peer import Peer, scripts_of_node, started
from tests.parts import skip_without


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The scripts beside the packages that they need."""
    return scripts_of_node(tmp_path)


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(described(tmp_path, ocpp={"id_tags": ["TAG1"]})) as found:
        yield found


@pytest.mark.parametrize("script", ["ocpp_rpc.js", "ocpp_rpc_201.js"])
def test_ocpp_rpc_in_strict_mode_finds_nothing_to_object_to_and_follows_set_points(
    swarm: Swarm, folder: Path, script: str
) -> None:
    where = swarm.url.rpartition("/")[0]
    peer = started(lambda: Peer(["node", script], folder, ENDPOINT=where, IDENTITY="CP1"), "booted")
    try:
        assert peer.first("booted")["status"] == "Accepted"
        swarm.until(lambda: peer.has_said("profile"), "the charger's own fallback")
        peer.order("stranger")
        swarm.until(lambda: peer.has_said("authorized"), "the answer")
        (info,) = peer.first("authorized").values()
        assert info["status"] == "Invalid"
        peer.order("plug")
        peer.order("start")
        swarm.until(lambda: peer.has_said("started"), "a transaction")
        swarm.ask("one", 7.4, seconds=60.0)
        swarm.until(lambda: swarm.power_is(7.4), "the measured power")
        profile = [each["profile"] for each in peer.said if "profile" in each][-1]
        assert profile["transactionId"] == peer.first("started").get("transactionId", "rpc-1")
        peer.order("stop")
        swarm.until(lambda: peer.has_said("stopped"), "the end")
        swarm.until(lambda: swarm.power_is(0.0) and swarm.telemetry().vehicle is None, "the vehicle is gone")
        assert not peer.has_said("invalid"), peer.log
        assert not peer.has_said("failed"), peer.log
    finally:
        peer.close()


def test_em_simulators_session_is_read_though_it_never_answers_a_profile(swarm: Swarm, folder: Path) -> None:
    program = folder / "node_modules" / "em-ocpp-chargepoint-simulator" / "build" / "src" / "main.js"
    peer = started(lambda: Peer(["node", str(program), "em_simulator.js"], folder, ENDPOINT=swarm.url), "booted")
    try:
        swarm.until(lambda: swarm.power_is(3.68), "its measured power")
        swarm.until(lambda: peer.has_said("done"), "the session's end")
        swarm.until(lambda: swarm.telemetry().vehicle is None, "the vehicle is gone")
        assert swarm.telemetry().energy_import_kwh == pytest.approx(1.399)
        assert any("SetChargingProfile" in line for line in peer.log), "it has heard of it"
    finally:
        peer.close()
