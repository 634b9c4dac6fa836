"""The examples outside, through mutual TLS: a certificate from `provision add` and `export`, a day in wall time."""

import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.address import Credentials
from broker.mosquitto import find_mosquitto
from schemas.cycle import Course
from schemas.participant import Received
from schemas.topics import Channel
from services.recorder.history import History
from services.swarm.pipeline import Order
from services.swarm.up import How, conduct_swarm
from services.swarm.variants import Reference, StorageChoice
from sites.loading import load_site
from tests.cli.calling import call
from tests.examples.conftest import LOG, StartScript
from tests.parts import skip_without
from tests.provision.secured import Secured

T0 = datetime(2024, 5, 17, 8, 0, tzinfo=UTC)
"""10:00 in Turin: the example's car is there."""
QUARTER = timedelta(minutes=15)
SPEED = 60.0


PATIENCE_S = 20.0


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """The provisioned site, with a charger and a dashboard more, on a Mosquitto that runs."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    secured = Secured(tmp_path / "provisioned")
    folder = str(secured.folder.root)
    for name, kind in (("ev9", "charger"), ("dashboard", "observer")):
        for step in (("add", name, "--kind", kind), ("export", name, "--out", f"{name}.tar")):
            done = call("provision", *step, "--dir", folder, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        with tarfile.open(tmp_path / f"{name}.tar") as archive:
            archive.extractall(tmp_path, filter="data")
    with secured.running():
        yield secured


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def proof(name: str, folder: Path) -> list[str]:
    """Options by which an example shows who it is, from the unpacked archive."""
    device = folder / name
    files = {"--cafile": device / "ca.crt", "--cert": device / f"{name}.crt", "--key": device / f"{name}.key"}
    return [word for option, path in files.items() for word in (option, str(path))]


def test_a_charger_outside_is_in_the_next_plan_and_follows_it(
    secured: Secured, start_script: StartScript, tmp_path: Path
) -> None:
    """It comes when the day runs, and is no device of the site's description."""
    site = load_site("fit_g2v")
    order = Order(site, Course(T0, T0 + 2 * QUARTER, 900), StorageChoice.BOTH, Reference.SMART, tmp_path / "h.sqlite")
    how = How(
        str(secured.address), Credentials(), tmp_path, speed=SPEED, one_process=True, certificates=secured.folder.root
    )

    def attach(received: Received) -> None:
        if received.topic.channel is Channel.PLAN and not started:
            started.append(start_script("charger.py", "--broker", str(secured.address), *proof("ev9", tmp_path)))

    started: list[subprocess.Popen[bytes]] = []
    result = conduct_swarm(order, how, attach)

    assert (result.dead_letters, secured.denied) == (0, [])
    with closing(History(order.history)) as history:
        told = history.tracks(result.run)["ev9"].samples
        plans = [plan for _, plan in history.plans(result.run)]
        setpoints = [setpoint for _, setpoint in history.setpoints(result.run, "ev9")]
        acks = [ack for _, ack in history.acks(result.run, "ev9")]
    assert told[0].ts < T0 + QUARTER, "it came in the first quarter"
    assert "ev9" not in plans[0].devices
    assert all("ev9" in plan.devices for plan in plans if plan.start == T0 + QUARTER)
    assert [ack.id for ack in acks if ack.accepted] == [setpoint.id for setpoint in setpoints] != []
    asked = setpoints[0]
    follows = [sample.body.power_kw for sample in told if sample.ts > asked.valid_from + timedelta(seconds=60)]
    assert follows
    assert set(follows) == {acks[0].applied_kw}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--broker", "mqtts://127.0.0.1:0x1"), "--broker: allowed is mqtt://host:port or mqtts://host:port"),
        (("--broker", "mqtt://me:secret@127.0.0.1"), "a password goes into a file"),
        (("--broker", "mqtt://127.0.0.1", "--cafile", "ca.crt"), "is not encrypted; use mqtts://"),
        (("--broker", "mqtts://127.0.0.1", "--cafile", "none.crt"), "--cafile, --cert, --key: cannot be loaded"),
        (("--broker", "mqtts://127.0.0.1", "--cafile", "ca.crt", "--cert", "x.crt"), "given together"),
        (("--username", "x"), "--username, --password-file"),
        (("--username", "x", "--password-file", "none"), "No such file or directory: 'none'"),
    ],
)
def test_a_wrong_command_line_is_told_and_ends_the_example(
    options: tuple[str, ...], told: str, start_script: StartScript, tmp_path: Path
) -> None:
    provisioned = Secured(tmp_path / "provisioned")
    (tmp_path / "ca.crt").write_bytes(provisioned.folder.ca_certificate.read_bytes())
    assert start_script("charger.py", *options).wait(PATIENCE_S) == 2
    assert told in (tmp_path / LOG).read_text()


def test_a_certificate_is_somebodys_and_of_its_key(start_script: StartScript, tmp_path: Path) -> None:
    folder = Secured(tmp_path / "provisioned").folder
    ev1 = ("--cafile", str(folder.ca_certificate), "--cert", str(folder.certificate("ev1")))
    broker = ("--broker", "mqtts://127.0.0.1:1")
    for options, told in (
        ((*ev1, "--key", str(folder.key("ev1")), "--device", "ev2"), "is that of ev1 of the site fit-g2v"),
        ((*ev1, "--key", str(folder.key("ev2"))), "cannot be loaded"),
    ):
        assert start_script("charger.py", *broker, *options).wait(PATIENCE_S) == 2
        assert told in (tmp_path / LOG).read_text()


def test_who_is_not_let_in_is_told_so_and_keeps_trying(
    secured: Secured, start_script: StartScript, tmp_path: Path
) -> None:
    """Without a certificate; with a broker that an authority signed that is not trusted."""
    (tmp_path / "other").mkdir()
    foreign = Secured(tmp_path / "other" / "provisioned").folder.ca_certificate
    (_, trusted, *own) = proof("ev9", tmp_path)
    for options, told in (
        (("--cafile", trusted), "the connection ended"),
        (("--cafile", str(foreign), *own), "certificate verify failed"),
        (("--cafile", str(tmp_path / "ev9" / "ca.crt"), "--broker", "mqtts://127.0.0.1:1"), "Connection refused"),
    ):
        process = start_script("charger.py", "--broker", str(secured.address), *options)
        until(lambda told=told: (tmp_path / LOG).read_text().count(told) >= 2)
        assert process.poll() is None
