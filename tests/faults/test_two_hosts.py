"""Devices and EMS on one host, broker and recorder on another, and the cable between them is pulled."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.faults.swarm import Swarm
from tests.faults.two_hosts import BrokerOnHost, TwoHosts, may_have_hosts
from tests.parts import skip_without


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    if not may_have_hosts():
        pytest.skip("network namespaces take root")
    with TwoHosts() as hosts:
        yield hosts


@pytest.mark.parametrize(
    "cut_s", [3.0, pytest.param(600.0, marks=[pytest.mark.long, pytest.mark.timeout(1200)])], ids=["short", "10 min"]
)
def test_between_two_hosts_whose_cable_is_pulled_and_put_back_nothing_is_lost(
    cut_s: float, hosts: TwoHosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swarm = Swarm(tmp_path, BrokerOnHost(hosts, tmp_path / "broker"), hosts.away)
    try:
        swarm.start()
        before = swarm.check_is_running()
        hosts.cut()
        swarm.pass_s(1.0)  # what was on its way
        stored = swarm.stored()
        swarm.pass_s(cut_s)
        assert swarm.stored() == stored, "the cable is not pulled"
        swarm.command()
        hosts.mend()
        mended = time.monotonic()
        swarm.check_all_are_back()
        took_s = time.monotonic() - mended
        assert swarm.check_is_running() == before
        number = swarm.check_nothing_is_lost()
        with capsys.disabled():
            print(f"\ncut for {cut_s:g} s: all are back after {took_s:.1f} s, {number} messages, each stored once")
    finally:
        swarm.close()
