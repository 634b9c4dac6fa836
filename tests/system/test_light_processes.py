"""A twin's process is small: many of them run on a small machine beside a broker."""

import subprocess
import sys
from pathlib import Path

import pytest

from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from schemas.topics import Channel, Kind, topic_filter
from sites.loader import load_site


@pytest.mark.parametrize("device", ["ev1", "bess", "building"])
def test_a_twin_on_the_broker_has_less_than_50_mb_resident(device: str, tmp_path: Path) -> None:
    site = load_site("fit_g2v")
    site_file = tmp_path / "site.json"
    site_file.write_text(site.model_dump_json())
    with EmbeddedBroker() as broker:
        observer = MqttTransport(broker.address, "observer")
        observer.connect([topic_filter(site.site, Kind(site.devices[device].kind), device, Channel.BIRTH)])
        command = [sys.executable, "-m", "twinswarm.deploy.process", device, "--site", str(site_file)]
        twin = subprocess.Popen([*command, "--broker", str(broker.address)])
        try:
            assert observer.receive(30.0) is not None, "it was never born"
            status = Path(f"/proc/{twin.pid}/status").read_text()
        finally:
            twin.terminate()
            twin.wait()
            observer.close()
    resident_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident_kb < 50 * 1024
