"""``twinswarm provision`` as a user meets it."""

import base64
import fcntl
import io
import os
import pty
import subprocess
import tarfile
from pathlib import Path

import pytest

from broker.provision.hosts import checked_hosts
from broker.servers.mosquitto import find_mosquitto
from schemas.errors import InputError, shorten
from tests.cli.calling import COMMAND, call, plain_environment
from tests.parts import skip_without
from tests.provision.secured import ALL, Secured, arrives, default_site
from twinswarm.deploy.stack.secrets import volumes

LONG = "x" * 300


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
        (("fit_g2v", "--broker-name", "broker.example.org:8883"), "a host name or an address is allowed"),
        (("fit_g2v", "--bind", "not an address"), "--bind: a host name or an address is allowed"),
        (("fit_g2v", "--config-dir", "/x\nallow_anonymous true"), "--config-dir"),
        (("add", "EV 9", "--kind", "charger"), "DEVICE"),
        (("add", "ev9", "--kind", "charger"), "was not made by twinswarm provision"),
        (("revoke", "ev1", "--broker", "mqtt://127.0.0.1:1"), "mqtts://"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_made(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    assert told in run(*arguments, cwd=tmp_path, code=2)


@pytest.mark.parametrize(
    ("told", "host"),
    [
        ("broker.example.org", "broker.example.org"),
        ("Broker-2.Example.ORG", "broker-2.example.org"),
        ("mqtt_broker", "mqtt_broker"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:0::07", "2001:db8::7"),
        ("0.0.0.0", "0.0.0.0"),
    ],
)
def test_host_names_and_addresses_are_taken_as_a_certificate_writes_them(told: str, host: str) -> None:
    assert checked_hosts("--broker-name", (told, told)) == (host,)


WRONG_HOSTS = (
    *(
        "broker.example.org:8883",
        "http://x",
        "mqtts://broker.example.org",
        "a b",
        "*",
        "*.example.org",
        "-",
        "-a",
        "a-",
    ),
    *("bröker", "not an address", "a..b", ".a", "a.", "", "300.1.1.1", "10.0.0.7/24", "[::1]", "fe80::1%eth0", "a\nb"),
    *("a" * 64, ".".join(["a" * 60] * 5)),
)


def test_what_is_no_host_is_refused_and_all_of_it_named_at_once() -> None:
    with pytest.raises(InputError) as error:
        checked_hosts("--bind", ("localhost", *WRONG_HOSTS))
    assert [fault.received for fault in error.value.faults] == [shorten(text) for text in WRONG_HOSTS]
    assert all("a host name or an address is allowed" in fault.what for fault in error.value.faults)


def test_a_wrong_process_is_told_before_anything_is_written(tmp_path: Path) -> None:
    run("fit_g2v", "--out", "p", cwd=tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "p").rglob("*") if path.is_file()}
    wrong = ("--dir", "p", "--pid", str(os.getpid()))
    assert "is no Mosquitto" in run("add", "ev9", "--kind", "charger", *wrong, cwd=tmp_path, code=2)
    assert "is no Mosquitto" in run("add", "ev1", "--kind", "charger", *wrong, cwd=tmp_path, code=2)  # is there already
    assert "is no Mosquitto" in run("revoke", "ev1", *wrong, cwd=tmp_path, code=2)
    assert {path: path.read_bytes() for path in (tmp_path / "p").rglob("*") if path.is_file()} == before


def test_a_process_that_is_named_is_told_though_nothing_was_changed(secured: Secured, tmp_path: Path) -> None:
    add = ("add", "ev9", "--kind", "charger", "--dir", str(secured.folder.root))
    told = run(*add, cwd=tmp_path)
    assert "only while the recorder is connected" in told
    assert "kill -HUP 1" in told
    assert "nothing was changed" in run(*add, "--pid", str(secured.pid), cwd=tmp_path)
    assert arrives(secured.client("ev9"), secured.client("observer", ALL), "ev9")


def test_a_command_waits_until_another_has_ended(tmp_path: Path) -> None:
    run("fit_g2v", "--out", "p", cwd=tmp_path)
    command = [*COMMAND, "provision", "add", "ev9", "--kind", "charger", "--dir", "p"]
    with (tmp_path / "p" / "authority" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = subprocess.Popen(command, cwd=tmp_path, env=plain_environment(), stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4.0)
        assert not (tmp_path / "p" / "clients" / "ev9.crt").exists()
    assert waiting.wait(20.0) == 0
    assert (tmp_path / "p" / "clients" / "ev9.crt").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit_g2v", "--out", LONG),
        ("add", "ev9", "--kind", "charger", "--dir", LONG),
        ("export", "ev1", "--dir", "p", "--out", LONG),
        ("stack", "fit_g2v", "--dir", "p", "--secrets", LONG),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_path_that_cannot_be_is_told_with_its_reason(arguments: tuple[str, ...], tmp_path: Path) -> None:
    run("fit_g2v", "--out", "p", cwd=tmp_path)
    assert "File name too long" in run(*arguments, cwd=tmp_path, code=2)


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
