"""A site whose twins answer as SunSpec devices, from its description to a master's request."""

import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from broker.address import BrokerAddress
from schemas.errors import InputError
from schemas.site.drivers import SunspecDriver
from services.drivers.polled_link import NoAnswerError
from services.drivers.sunspec_scan import Offer, scan
from sites.loader import load_site
from sites.loader.template import write_template
from tests.cli.calling import COMMAND, plain_environment
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.process import Connection
from twinswarm.deploy.processes import ProcessSwarm


def described(folder: Path, **faces: object) -> Path:
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    for name, face in faces.items():
        parts["devices"][name]["outward"] = face
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return file


def scanned(port: int) -> Offer:
    deadline = time.monotonic() + 60
    while True:
        try:
            return scan(SunspecDriver(host="127.0.0.1", port=port))
        except NoAnswerError:
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.2)


@pytest.mark.parametrize("processes", [("--one-process",), pytest.param((), marks=pytest.mark.long)])
def test_up_serves_what_the_site_says(tmp_path: Path, processes: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    described(tmp_path, bess={"type": "sunspec", "port": port, "models": "700"})
    command = [
        *COMMAND,
        "up",
        "--site",
        ".",
        "--from",
        "12:00",
        "--speed",
        "1",
        "--for",
        "1h",
        "--no-report",
        *processes,
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=plain_environment())
        try:
            assert scanned(port).identity["serial"] == "my-site/bess"
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize(("speed", "serves"), [(None, False), (60.0, True)])
def test_lock_step_goes_without(tmp_path: Path, speed: float | None, serves: bool) -> None:
    described(tmp_path, bess={"type": "sunspec", "port": 5020})
    connection = Connection(BrokerAddress("127.0.0.1", 1883, tls=False))
    order = ClockOrder(run="20261101T120000.000000Z-0001", t0=None, length=None, speed=speed)
    swarm = ProcessSwarm(load_site(tmp_path / "site.yaml"), order, connection, tmp_path / "history", tmp_path)
    assert ("--outward" in swarm._command("bess")) is serves


def test_faces_that_cannot_be_are_faults_of_the_site(tmp_path: Path) -> None:
    face = {"type": "sunspec", "port": 5020}
    file = described(tmp_path, bess=face, pv=face, ev1={"type": "sunspec", "port": 5021})
    with pytest.raises(InputError) as raised:
        load_site(file)
    text = str(raised.value)
    assert "devices.ev1.outward.type: sunspec is for a pv, bess or meter" in text
    assert (
        "devices.pv.outward.port: bess answers there" in text or "devices.bess.outward.port: pv answers there" in text
    )
