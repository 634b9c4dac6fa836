"""``twinswarm provision`` as a user meets it."""

import base64
import io
import os
import pty
import subprocess
import tarfile
from pathlib import Path

import pytest

from broker.mosquitto import find_mosquitto
from services.swarm.stack.secrets import volumes
from tests.cli.calling import COMMAND, call, plain_environment
from tests.parts import skip_without
from tests.provision.secured import Secured, default_site


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


def test_folder_and_names_of_the_broker_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINSWARM_PROVISIONED", "elsewhere")
    monkeypatch.setenv("TWINSWARM_BROKER_NAMES", "broker.example.org,10.0.0.7")
    assert "wrote elsewhere/ca.crt" in run("fit_g2v", cwd=tmp_path)
    run("add", "ev9", "--kind", "charger", cwd=tmp_path)
    run("export", "ev9", "--out", "ev9.tar", cwd=tmp_path)
    with tarfile.open(tmp_path / "ev9.tar") as archive:
        readme = archive.extractfile("ev9/README.txt")
        assert readme is not None
        assert "localhost, mosquitto, broker.example.org, 127.0.0.1, 10.0.0.7" in readme.read().decode()
    run("revoke", "ev9", cwd=tmp_path)
    assert not (tmp_path / "elsewhere" / "clients" / "ev9.key").exists()


def test_an_export_to_standard_output_is_the_archive_alone_and_never_goes_to_a_terminal(tmp_path: Path) -> None:
    run("fit_g2v", "--out", "p", cwd=tmp_path)
    command = [*COMMAND, "provision", "export", "ev1", "--dir", "p", "--out", "-"]
    done = subprocess.run(command, cwd=tmp_path, env=plain_environment(), capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert "ev1/ev1.key" in archive.getnames()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p"]
    ours, theirs = pty.openpty()
    try:
        shown = subprocess.run(
            command, cwd=tmp_path, env=plain_environment(), stdout=theirs, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert (shown.returncode, b"terminal" in shown.stderr) == (2, True)


def test_the_stack_s_secrets_are_made_once_and_never_shown(tmp_path: Path) -> None:
    skip_without("the right to give files to other accounts (root)", present=os.geteuid() == 0)
    stack = ("stack", "fit_g2v", "--dir", "p", "--secrets", "s")
    told = run(*stack, cwd=tmp_path, code=2)
    assert "the volume of ev1 is not mounted" in told
    for name in volumes(default_site()):
        (tmp_path / "s" / name).mkdir(parents=True)
    first = run(*stack, cwd=tmp_path)
    assert "wrote s/ev1/tls.key" in first
    assert "every service of site fit-g2v has its secrets" in first
    assert (tmp_path / "s" / "grafana" / "provisioning").is_dir()
    assert "nothing was changed" in run(*stack, cwd=tmp_path)
    (tmp_path / "s" / "ev1" / "tls.crt").unlink()
    assert "services to be restarted if they run: ev1\n" in run(*stack, cwd=tmp_path)
    secrets = [path.read_text() for path in (tmp_path / "p" / "secrets").iterdir()]
    assert len(secrets) == 3
    assert not any(line in first for line in (*secrets, *secrets_of(tmp_path / "s")))
