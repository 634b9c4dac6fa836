"""The secrets of the stack in containers: each service's own, for its account alone, made once."""

import errno
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509

from broker.provision.workspace import Changes, add_client, revoke_client
from schemas.errors import Code, InputError
from schemas.site import Site
from schemas.topics import Kind
from tests.errors import raises
from tests.parts import skip_without
from tests.provision.secured import NOW, SITE, default_site
from twinswarm.deploy.stack.secrets import StackChanges, provision_stack, volumes

TWINSWARM, MOSQUITTO, INFLUXDB, GRAFANA, ROOT = 10001, 1883, 1000, 472, 0
DASHBOARDS = {
    "dashboards/site.json": b"{}",
    "dashboards/twinswarm.yaml": b"x: 1\n",
    "datasources/influx.yaml": b"y: 2\n",
}
PARTICIPANTS = (
    "bess",
    "building",
    "clock",
    "ems",
    "ev1",
    "ev2",
    "ev3",
    "ev4",
    "forecast",
    "network",
    "pv",
    "recorder",
    "tariff",
)


@pytest.fixture(autouse=True)
def _as_root() -> None:
    skip_without("the right to give files to other accounts (root)", present=os.geteuid() == 0)


class Stack:
    """Folders in the place of the stack's volumes: empty ones of root, as Docker makes them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.secrets = folder / "provisioned", folder / "secrets"
        (self.root / "broker").mkdir(parents=True)
        self.mount(*volumes(default_site()))

    def mount(self, *names: str) -> None:
        for name in names:
            (self.secrets / name).mkdir(parents=True)

    def provision(self, site: Site | None = None, dashboards: dict[str, bytes] = DASHBOARDS) -> StackChanges:
        return provision_stack(site or default_site(), self.root, self.secrets, ("site.example.org",), dashboards, NOW)

    def all(self) -> dict[str, tuple[int, int, int, int, bytes]]:
        """Owner, group, mode, time of change and content of everything."""
        found = {}
        for path in sorted((*self.root.rglob("*"), *self.secrets.rglob("*"))):
            status = path.stat()
            content = path.read_bytes() if path.is_file() else b""
            mode = stat.S_IMODE(status.st_mode)
            name = str(path.relative_to(self.root.parent))
            found[name] = (status.st_uid, status.st_gid, mode, status.st_ctime_ns, content)
        return found

    def files(self) -> dict[str, tuple[int, int, int, int, bytes]]:
        return {name: facts for name, facts in self.all().items() if (self.root.parent / name).is_file()}

    def owned(self, below: str) -> dict[str, tuple[int, int, int]]:
        """Owner, group and mode of a folder and all below it."""
        found = {name: facts[:3] for name, facts in self.all().items()}
        return {name: facts for name, facts in found.items() if f"{name}/".startswith(f"{below}/")}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    made = Stack(tmp_path)
    made.provision()
    return made


def all_of(changes: Changes) -> tuple[list[str], list[str]]:
    return changes.written, changes.deleted


@pytest.mark.parametrize("name", PARTICIPANTS)
def test_each_participant_has_its_certificate_which_its_account_alone_can_read(name: str, stack: Stack) -> None:
    assert stack.owned(f"secrets/{name}") == {
        f"secrets/{name}": (TWINSWARM, TWINSWARM, 0o500),
        f"secrets/{name}/ca.crt": (TWINSWARM, TWINSWARM, 0o400),
        f"secrets/{name}/tls.crt": (TWINSWARM, TWINSWARM, 0o400),
        f"secrets/{name}/tls.key": (TWINSWARM, TWINSWARM, 0o400),
    }
    certificate = x509.load_pem_x509_certificate((stack.secrets / name / "tls.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == f"CN={SITE}_{name}"
    assert (stack.secrets / name / "tls.key").read_bytes() == (stack.root / "clients" / f"{name}.key").read_bytes()


def test_the_other_services_have_what_is_theirs_and_no_more(stack: Stack) -> None:
    assert {path.name for path in stack.secrets.iterdir()} == {
        *PARTICIPANTS,
        *("forward", "grafana", "influxdb", "init-history", "savings"),
    }
    assert stack.owned("secrets/forward") == {"secrets/forward": (TWINSWARM, TWINSWARM, 0o500)}
    assert stack.owned("secrets/savings") == {"secrets/savings": (TWINSWARM, TWINSWARM, 0o500)}
    assert stack.owned("secrets/init-history") == {
        "secrets/init-history": (ROOT, ROOT, 0o500),
        "secrets/init-history/admin-password": (ROOT, ROOT, 0o400),
        "secrets/init-history/admin-token": (ROOT, ROOT, 0o400),
    }
    assert stack.owned("secrets/influxdb") == {
        "secrets/influxdb": (INFLUXDB, INFLUXDB, 0o500),
        "secrets/influxdb/admin-password": (INFLUXDB, INFLUXDB, 0o400),
        "secrets/influxdb/admin-token": (INFLUXDB, INFLUXDB, 0o400),
    }
    assert stack.owned("secrets/grafana") == {
        "secrets/grafana": (GRAFANA, GRAFANA, 0o500),
        "secrets/grafana/admin-password": (GRAFANA, GRAFANA, 0o400),
        **dict.fromkeys(
            (f"secrets/grafana/provisioning{below}" for below in ("", "/dashboards", "/datasources")),
            (GRAFANA, GRAFANA, 0o500),
        ),
        **dict.fromkeys((f"secrets/grafana/provisioning/{name}" for name in DASHBOARDS), (GRAFANA, GRAFANA, 0o400)),
    }
    token = (stack.secrets / "influxdb" / "admin-token").read_bytes()
    assert (stack.secrets / "init-history" / "admin-token").read_bytes() == token
    passwords = {(stack.secrets / name / "admin-password").read_bytes() for name in ("influxdb", "grafana")}
    assert len({token, *passwords}) == 3
    assert all(len(one) == 43 for one in (token, *passwords))  # 32 bytes as base64 without padding


def test_the_broker_s_volume_is_mosquitto_s_and_the_authority_root_s(stack: Stack) -> None:
    mine = {name: facts[0] for name, facts in stack.owned("provisioned").items()}
    broker = {name for name in mine if name.startswith("provisioned/broker")}
    assert {name.removeprefix("provisioned/broker/") for name in broker} >= {"acl", "mosquitto.conf", "server.key"}
    assert {mine[name] for name in broker} == {MOSQUITTO}
    assert {owner for name, owner in mine.items() if name not in broker} == {ROOT}
    configuration = (stack.root / "broker" / "mosquitto.conf").read_text().splitlines()
    for line in ("listener 8883 0.0.0.0", "cafile /mosquitto/config/ca.crt", "persistence_location /mosquitto/data/"):
        assert line in configuration
    server = x509.load_pem_x509_certificate((stack.root / "broker" / "server.crt").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "mosquitto", "site.example.org"]


def test_a_second_run_changes_nothing(stack: Stack) -> None:
    before = stack.all()
    again = stack.provision()
    assert (all_of(again.authority), all_of(again.volumes), again.services) == (([], []), ([], []), [])
    assert stack.all() == before


def test_a_device_that_the_site_gets_later_is_given_its_own_and_nobody_else_s_change(stack: Stack) -> None:
    site = default_site()
    wider = site.model_copy(update={"devices": {**site.devices, "ev5": site.devices["ev4"]}})
    before, before_files = stack.all(), stack.files()
    with raises(Code.NOT_FOUND, "ev5"):
        stack.provision(wider)
    assert stack.all() == before
    stack.mount("ev5")
    changes = stack.provision(wider)
    assert changes.volumes.written == ["ev5/ca.crt", "ev5/tls.crt", "ev5/tls.key"]
    assert changes.services == ["ev5", "mosquitto"]
    after = stack.files()
    assert {name for name in before_files if after[name] != before_files[name]} == {
        "provisioned/broker/acl",
        "provisioned/authority/provision.json",
    }


def test_a_new_version_s_dashboards_take_the_place_of_the_old_ones(stack: Stack) -> None:
    (stack.secrets / "grafana" / "influx-token").write_text("of init-history")
    changes = stack.provision(dashboards={"dashboards/site.json": b"[]", "datasources/influx.yaml": b"y: 2\n"})
    assert changes.volumes.written == ["grafana/provisioning/dashboards/site.json"]
    assert changes.volumes.deleted == ["grafana/provisioning/dashboards/twinswarm.yaml"]
    assert changes.services == ["grafana"]
    assert (stack.secrets / "grafana" / "influx-token").exists()


def test_a_volume_that_was_lost_is_filled_with_the_same_secrets(stack: Stack) -> None:
    before = stack.all()
    for path in [*(stack.secrets / "influxdb").iterdir(), *(stack.secrets / "ev1").iterdir()]:
        path.unlink()
    assert stack.provision().services == ["ev1", "influxdb"]
    after = stack.all()
    assert {name: (*facts[:3], facts[4]) for name, facts in after.items()} == {
        name: (*facts[:3], facts[4]) for name, facts in before.items()
    }


def test_wrong_owners_and_modes_are_put_right(stack: Stack) -> None:
    before = stack.owned("secrets")
    os.chown(stack.secrets / "ev1" / "tls.key", ROOT, ROOT)
    (stack.secrets / "ev2" / "tls.key").chmod(0o444)
    os.chown(stack.root / "broker" / "acl", ROOT, ROOT)
    changes = stack.provision()
    assert changes.volumes.written == ["ev1/tls.key", "ev2/tls.key"]
    assert changes.authority.written == ["broker/acl"]
    assert stack.owned("secrets") == before


def test_what_add_and_revoke_write_stays_readable_for_mosquitto(stack: Stack) -> None:
    before = stack.owned("provisioned/broker")
    add_client(stack.root, "ev9", Kind.CHARGER, NOW)
    revoke_client(stack.root, "ev1", NOW)
    assert stack.owned("provisioned/broker") == before
    assert stack.owned("provisioned/clients/ev9.key") == {"provisioned/clients/ev9.key": (ROOT, ROOT, 0o600)}
    changes = stack.provision()
    assert changes.volumes.deleted == ["ev1/tls.crt", "ev1/tls.key"]
    assert any("ev1 is revoked" in note for note in changes.volumes.notes)


def test_the_folder_of_another_site_is_refused_and_left_as_it_is(stack: Stack) -> None:
    before = stack.all()
    other = default_site().model_copy(update={"site": "elsewhere"})
    with raises(Code.FOREIGN, "fit-g2v", "elsewhere"):
        stack.provision(other)
    assert stack.all() == before


def test_all_volumes_that_are_not_mounted_are_named_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    for name in ("ev2", "grafana"):
        (stack.secrets / name).rmdir()
    with pytest.raises(InputError) as error:
        stack.provision()
    assert [fault.where for fault in error.value.faults] == [str(stack.secrets / name) for name in ("ev2", "grafana")]
    assert list((stack.root / "broker").iterdir()) == []


def test_who_is_not_root_is_told_so(stack: Stack) -> None:
    before = stack.all()
    os.seteuid(TWINSWARM)
    try:
        with raises(Code.PERMISSION, "root"):
            stack.provision()
    finally:
        os.seteuid(ROOT)
    assert stack.all() == before


def test_a_volume_that_cannot_be_given_away_is_named_with_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root in a container without the capability CHOWN."""

    def refused(path: Path, _uid: int, _gid: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    stack = Stack(tmp_path)
    monkeypatch.setattr(os, "chown", refused)
    with raises(Code.PERMISSION, "broker", "1883:1883"):
        stack.provision()
