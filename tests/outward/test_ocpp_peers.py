"""Central systems that others wrote command a charger's twin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.drivers.ocpp.running import free_port
from tests.ocpp_peers.peer import OCPP_CSMS, SOURCE, Peer, python_with, scripts_of_node, started, wait_until
from tests.outward.charge_point import plugged_site, twin_at
from tests.parts import skip_without


def drawn(shown: list[Any], kw: float) -> Callable[[], bool]:
    return lambda: bool(shown) and abs(shown[-1].power_kw - kw) < 0.01


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_ocpp_rpc_in_strict_mode_objects_to_nothing_and_its_profile_is_a_set_point(
    tmp_path: Path, version: Any
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    port = free_port()
    scripts = scripts_of_node(tmp_path)
    peer = started(lambda: Peer(["node", "ocpp_rpc_server.js"], scripts, PORT=str(port)), "listening")
    try:
        site = plugged_site(tmp_path / "twin", seconds=3600, discharge_kw=0.0)
        with twin_at(site, f"ws://127.0.0.1:{port}/ocpp/CP1", version) as shown:
            begins = "StartTransaction" if version == "1.6" else "TransactionEvent"
            wait_until(lambda: peer.has_said(begins), "a transaction", peer)
            assert peer.first("connected") == {"identity": "CP1", "protocol": f"ocpp{version}"}
            peer.order("limit 5000 3")
            wait_until(drawn(shown, 5.0), "5 kW", peer)
            wait_until(drawn(shown, 0.0), "the twin's own fallback when the profile has ended", peer)
            wait_until(lambda: peer.has_said("cleared"), "the last answer", peer)
            assert peer.first("limited") == {"status": "Accepted"}
            assert peer.first("composite")["status"] == "Accepted"
            assert peer.first("cleared") == {"status": "Unknown"}
            wait_until(lambda: peer.has_said("Heartbeat"), "a heartbeat", peer)
        assert not peer.has_said("invalid"), peer.log
        assert not peer.has_said("failed"), peer.log
    finally:
        peer.close()


def test_ocpp_csms_of_pypi_commands_the_twin(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    python, port = python_with(OCPP_CSMS), free_port()
    peer = started(lambda: Peer([str(python), str(SOURCE / "csms_of_pypi.py"), str(port)], tmp_path), "listening")
    try:
        site = plugged_site(tmp_path / "twin", seconds=3600, discharge_kw=0.0)
        with twin_at(site, f"ws://127.0.0.1:{port}/CP1", "1.6") as shown:
            wait_until(lambda: any("TransactionStarted" in str(each) for each in peer.said), "a transaction", peer)
            peer.order("limit 6000 3")
            wait_until(drawn(shown, 6.0), "6 kW", peer)
            wait_until(drawn(shown, 0.0), "the twin's own fallback", peer)
        assert peer.first("limited") == "Accepted"
    finally:
        peer.close()
