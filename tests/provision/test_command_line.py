"""``twinswarm provision`` as a user meets it."""

import base64
from pathlib import Path

import pytest

from broker.mosquitto import find_mosquitto
from tests.cli.calling import call
from tests.parts import skip_without
from tests.provision.secured import Secured


def run(*arguments: str, cwd: Path, code: int = 0) -> str:
    done = call("provision", *arguments, cwd=cwd)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def secrets_of(root: Path) -> list[str]:
    """Of every private key a line from its middle."""
    return [path.read_text().splitlines()[2] for path in root.rglob("*.key")]


def test_a_site_is_provisioned_once_and_then_left_alone(tmp_path: Path) -> None:
    first = run("fit_g2v", "--out", "p", cwd=tmp_path)
    assert "wrote p/broker/mosquitto.conf" in first
    assert "nothing was changed" in run("site", "fit_g2v", "--out", "p", cwd=tmp_path)
    assert "wrote p/clients/ev9.crt" in run("add", "ev9", "--kind", "charger", "--dir", "p", cwd=tmp_path)
    told = run("export", "ev9", "--out", "ev9.tar", "--dir", "p", cwd=tmp_path)
    revoked = run("revoke", "ev8", "--dir", "p", cwd=tmp_path, code=2)
    assert "ev9" in revoked
    secrets = secrets_of(tmp_path / "p")
    assert all(base64.b64decode(line) for line in secrets)
    assert not any(line in text for line in secrets for text in (first, told, revoked))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nosuchsite",), "nosuchsite"),
        (("fit_g2v", "--broker-name", "bröker"), "--broker-name"),
        (("fit_g2v", "--config-dir", "/x\nallow_anonymous true"), "--config-dir"),
        (("add", "EV 9", "--kind", "charger"), "DEVICE"),
        (("add", "ev9", "--kind", "charger"), "was not made by twinswarm provision"),
        (("revoke", "ev1", "--broker", "mqtt://127.0.0.1:1"), "mqtts://"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_made(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    assert told in run(*arguments, cwd=tmp_path, code=2)


def test_the_help_of_each_command_stands_behind_provision(tmp_path: Path) -> None:
    overview = run("--help", cwd=tmp_path)
    assert all(command in overview for command in ("site", "add", "revoke", "export"))
    assert "--broker-name" in run("fit_g2v", "--help", cwd=tmp_path)


def test_a_device_is_revoked_at_the_running_broker(secured: Secured, tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    ev1 = secured.client("ev1")
    root = str(secured.folder.root)
    options = ("--dir", root, "--broker", str(secured.address), "--pid", str(secured.pid))
    assert "locked out" in run("revoke", "ev1", *options, cwd=tmp_path)
    ev1.receive(0.2)
    assert not ev1.connected


def test_up_needs_an_encrypted_broker_and_a_provisioned_folder_for_certificates(tmp_path: Path) -> None:
    run("fit_g2v", "--out", "p", cwd=tmp_path)
    for arguments, told in (
        (("--certificates", "p"), "mqtts://"),
        (("--certificates", "p", "--broker", "mqtt://127.0.0.1:1"), "mqtts://"),
        (("--certificates", ".", "--broker", "mqtts://127.0.0.1:1"), "no ca.crt"),
        (("--certificates", "p", "--broker", "mqtts://127.0.0.1:1", "--username", "x"), "everybody's proof"),
    ):
        done = call("up", "--no-report", *arguments, cwd=tmp_path)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
