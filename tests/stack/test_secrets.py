"""Secrets stay where they belong: not in inspect, logs or the image; read by their owner alone. What containers may."""

import os
import tarfile
from io import BytesIO
from pathlib import PurePosixPath

import pytest

from tests.stack.stack import IMAGE, Stack, docker

OURS = "10001:10001"
OTHERS = {"influxdb": "1000:1000", "init-history": "0:0", "grafana": "472:472"}


@pytest.fixture(scope="module")
def secrets(stack: Stack) -> dict[str, bytes]:
    """Keys, passwords and tokens of all volumes, by path."""
    search = "find /provisioned /secrets -type f '(' -name '*.key' -o -name '*password' -o -name '*token' ')'"
    words = ("run", "--rm", "--no-TTY", "--entrypoint", "sh", "provision", "-c", f"{search} | tar -c -T - 2>/dev/null")
    found = {}
    with tarfile.open(fileobj=BytesIO(stack.compose(*words).stdout)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            found[f"/{member.name}"] = content.read()
    return found


def needles(secrets: dict[str, bytes]) -> set[bytes]:
    """What of a secret would betray it: a token itself, the second line of a key in PEM."""
    return {
        next(line for line in content.splitlines() if line and not line.startswith(b"-----"))
        for content in secrets.values()
    }


def test_every_consumer_has_its_own_secrets(secrets: dict[str, bytes]) -> None:
    given = [content for path, content in secrets.items() if path.startswith("/secrets/")]
    for name in ("admin-password", "admin-token"):
        of_the_init = secrets[f"/secrets/init-history/{name}"]
        assert secrets[f"/secrets/influxdb/{name}"] == of_the_init, "the administrator's, for setting up"
        given.remove(of_the_init)
    assert len(set(given)) == len(given) >= 18
    assert min(len(needle) for needle in needles(secrets)) >= 43, "32 random bytes as text"


def test_no_secret_in_what_the_engine_tells_in_logs_processes_or_the_image(
    stack: Stack, secrets: dict[str, bytes]
) -> None:
    containers = [told["Id"] for told in stack.containers().values()]
    image = os.environ[IMAGE]
    running = [told["Id"] for told in stack.containers().values() if told["State"]["Running"]]
    told = {
        "inspect": docker("inspect", *containers, image),
        "history": docker("image", "history", "--no-trunc", image),
        "logs": stack.compose("logs", "--no-color").stdout,
        "processes": b"".join(docker("top", identifier) for identifier in running),
    }
    for place, text in told.items():
        assert len(text) > 100
        assert [needle for needle in needles(secrets) if needle in text] == [], f"told by {place}"


def test_secrets_are_readable_by_their_owner_alone_and_nobody_may_change_them(stack: Stack) -> None:
    listed = stack.compose(
        *("run", "--rm", "--no-TTY", "--entrypoint", "find", "provision"),
        *("/secrets", "-mindepth", "1", "-printf", r"%p %y %U:%G %m\n"),
    ).stdout.decode()
    assert listed
    for path, kind, owner, mode in (line.split() for line in listed.splitlines()):
        consumer = PurePosixPath(path).parts[2]
        assert owner == OTHERS.get(consumer, OURS), path
        assert mode == ("500" if kind == "d" else "400"), path


def test_a_service_cannot_read_what_is_anothers(stack: Stack) -> None:
    """Not by its rights alone: the others' volumes are not there."""
    own = {f"/run/secrets/twinswarm/{name}" for name in ("ca.crt", "tls.crt", "tls.key")}
    assert set(stack.inside("ev1", "find", "/run/secrets", "-type", "f").split()) == own


def test_root_file_systems_are_read_only_and_rights_dropped(stack: Stack) -> None:
    containers = stack.containers()
    assert len(containers) >= 18
    for name, told in containers.items():
        host = told["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Memory"], name
        assert told["Config"]["User"] != "0:0" or name == "init-history"
    for name in ("ev1", "mosquitto", "influxdb"):
        refused = stack.compose("exec", "--no-TTY", name, "sh", "-c", "echo x > /etc/x", check=False)
        assert refused.returncode != 0
        assert b"Read-only file system" in refused.stderr


def test_nothing_but_the_brokers_port_is_published_and_to_loopback(stack: Stack) -> None:
    """And Grafana's, which does not run here."""
    published = {
        name: bindings for name, told in stack.containers().items() if (bindings := told["NetworkSettings"]["Ports"])
    }
    assert {
        name: [b for b in bindings.values() if b] for name, bindings in published.items() if any(bindings.values())
    } == {"mosquitto": [[{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]]}


def test_devices_cannot_reach_the_history_and_nobody_reaches_out(stack: Stack) -> None:
    for network in ("field", "history"):
        assert docker("network", "inspect", "--format", "{{.Internal}}", f"{stack.project}_{network}") == b"true\n"
    members = {name: set(told["NetworkSettings"]["Networks"]) for name, told in stack.containers().items()}
    both = {name for name, networks in members.items() if len(networks) > 1}
    assert both == {"mosquitto"}
    assert members["ev1"] == {f"{stack.project}_field"}
    assert members["influxdb"] == members["forward"] == {f"{stack.project}_history"}


def test_provisioning_again_does_nothing(stack: Stack) -> None:
    def state() -> str:
        words = ("run", "--rm", "--no-TTY", "--entrypoint", "find", "provision", "/provisioned", "/secrets")
        return stack.compose(*words, "-type", "f", "-printf", r"%p %U %m %s %C@\n").stdout.decode()

    before = state()
    assert stack.provision("stack", "fit_g2v", "--dir", "/provisioned", "--secrets", "/secrets") == (
        b"everything is there already; nothing was changed\n"
    )
    assert state() == before
