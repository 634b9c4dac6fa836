"""The folder of a provisioned site: complete, readable by its owner alone, never made over what is somebody else's."""

import fcntl
import json
import os
import stat
import tarfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.provision import files, lock
from broker.provision.export import export_client
from broker.provision.identity import certified_hosts, client_identity
from broker.provision.layout import Folder
from broker.provision.mosquitto_conf import BrokerPlace
from broker.provision.register import load_register
from broker.provision.workspace import Changes, add_client, clients_of, open_authority, provision_site, revoke_client
from schemas.errors import Code, InputError
from schemas.topics import Kind
from tests.errors import raises
from tests.provision.secured import NOW, SITE, default_site, place_of


def make(root: Path, **place: object) -> Changes:
    wanted = place_of(root)
    if place:
        wanted = BrokerPlace(wanted.config, wanted.data, **place)  # type: ignore[arg-type]
    return provision_site(default_site(), root, wanted, NOW)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "provisioned"
    make(folder)
    return folder


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def serials(root: Path) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl((root / "broker" / "crl.pem").read_bytes())}


def test_a_second_run_changes_nothing(root: Path) -> None:
    before = contents(root)
    changes = make(root)
    assert (changes.written, changes.deleted, changes.notes) == ([], [], [])
    assert contents(root) == before


def test_keys_are_readable_by_their_owner_alone(root: Path) -> None:
    keys = [*root.rglob("*.key"), root / "broker" / "acl", root / "authority" / "provision.json"]
    assert len(keys) == len(clients_of(default_site())) + 2 + 2
    for path in keys:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (root, root / "authority", root / "clients", root / "broker"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_the_authority_signs_end_points_only(root: Path) -> None:
    authority = certificate(root / "ca.crt")
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert (limits.value.ca, limits.value.path_length) == (True, 0)
    assert isinstance(authority.public_key(), ec.EllipticCurvePublicKey)
    assert authority.not_valid_after_utc > NOW + timedelta(days=19 * 365)


def test_each_certificate_has_one_name_and_one_purpose(root: Path) -> None:
    authority = certificate(root / "ca.crt")
    seen = set()
    for name in clients_of(default_site()):
        client = certificate(Folder(root).certificate(name))
        client.verify_directly_issued_by(authority)
        assert [one.value for one in client.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [f"{SITE}_{name}"]
        purposes = client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        seen.add(client.public_key().public_numbers())  # type: ignore[union-attr]
    assert len(seen) == len(clients_of(default_site()))
    broker = certificate(root / "broker" / "server.crt")
    assert list(broker.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "mosquitto"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_another_name_of_the_broker_makes_its_certificate_anew_and_nothing_else(root: Path) -> None:
    before = contents(root)
    changes = make(root, user="root", names=("broker.example.org", "10.0.0.7"))
    assert changes.written == ["broker/server.crt"]
    after = contents(root)
    assert {name for name in after if after[name] != before[name]} == {"broker/server.crt"}
    names = certificate(root / "broker" / "server.crt").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert "broker.example.org" in names.value.get_values_for_type(x509.DNSName)


def test_a_folder_with_files_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with raises(Code.FOREIGN, "thesis.tex"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_text_file_that_was_changed_by_hand_is_not_overwritten(root: Path) -> None:
    acl = root / "broker" / "acl"
    acl.write_text(acl.read_text() + "user me\ntopic readwrite #\n", encoding="utf-8")
    before = contents(root)
    with raises(Code.FOREIGN):
        make(root)
    with raises(Code.FOREIGN):
        add_client(root, "ev9", Kind.CHARGER, NOW)
    assert contents(root)["broker/acl"] == before["broker/acl"]
    assert contents(root)["clients/ev1.key"] == before["clients/ev1.key"]


def test_a_certificate_of_somebody_else_is_refused(root: Path, tmp_path: Path) -> None:
    make(tmp_path / "other")
    other = (tmp_path / "other" / "clients" / "ev1.crt").read_bytes()
    (root / "clients" / "ev1.crt").write_bytes(other)
    with raises(Code.FOREIGN):
        make(root)
    assert (root / "clients" / "ev1.crt").read_bytes() == other


def test_a_run_that_was_killed_is_finished_by_the_next(root: Path) -> None:
    before = contents(root)
    for name in (
        "clients/ev2.crt",
        "clients/ev3.crt",
        "clients/ev3.key",
        "broker/crl.pem",
        "broker/mosquitto.conf",
    ):
        (root / name).unlink()
    assert sorted(make(root).written) == [
        "broker/crl.pem",
        "broker/mosquitto.conf",
        "clients/ev2.crt",
        "clients/ev3.crt",
        "clients/ev3.key",
    ]
    assert contents(root)["clients/ev2.key"] == before["clients/ev2.key"]
    assert make(root).written == []


def test_a_key_that_was_handed_over_is_not_made_again(root: Path) -> None:
    (root / "clients" / "ev1.key").unlink()
    assert make(root).written == []


def test_certificates_that_end_soon_are_renewed_with_their_keys(root: Path) -> None:
    before = contents(root)
    old = certificate(root / "clients" / "ev1.crt")
    late = old.not_valid_after_utc - timedelta(days=30)
    changes = provision_site(default_site(), root, place_of(root), late)
    assert sorted(changes.written) == sorted(name for name in before if name.endswith(".crt") and "ca.crt" not in name)
    new = certificate(root / "clients" / "ev1.crt")
    assert new.public_key() == old.public_key()
    revoke_client(root, "ev1", late)
    assert serials(root) >= {old.serial_number, new.serial_number}


def test_one_device_more_touches_nobody_else(root: Path) -> None:
    before = contents(root)
    changes = add_client(root, "ev9", Kind.CHARGER, NOW)
    assert sorted(changes.written) == ["broker/acl", "clients/ev9.crt", "clients/ev9.key"]
    after = contents(root)
    touched = {name for name in before if after[name] != before[name]}
    assert touched == {"broker/acl", "authority/provision.json"}
    assert add_client(root, "ev9", Kind.CHARGER, NOW).written == []
    told = make(root)
    assert told.written == []
    assert any("ev9" in note for note in told.notes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ems", Kind.CHARGER), ("network", Kind.METER), ("provision", None), ("observer", Kind.EMS), ("ev1", Kind.BESS)],
)
def test_names_that_mean_something_else_are_refused(name: str, kind: Kind | None, root: Path) -> None:
    before = contents(root)
    with raises(Code.DUPLICATE if name == "ev1" else Code.RESERVED, name):
        add_client(root, name, kind, NOW)
    assert contents(root) == before


def test_a_revoked_device_loses_its_files_and_rights_and_stays_out_until_it_is_added(root: Path) -> None:
    before = contents(root)
    old = certificate(root / "clients" / "ev1.crt").serial_number
    issued = x509.load_pem_x509_crl((root / "broker" / "crl.pem").read_bytes()).last_update_utc
    changes = revoke_client(root, "ev1", NOW).changes
    assert sorted(changes.deleted) == ["clients/ev1.crt", "clients/ev1.key"]
    assert old in serials(root)
    assert f"user {SITE}_ev1\n" not in (root / "broker" / "acl").read_text()
    assert x509.load_pem_x509_crl((root / "broker" / "crl.pem").read_bytes()).last_update_utc > issued
    after = contents(root)
    touched = {name for name in after if after[name] != before[name]}
    assert touched == {"broker/acl", "broker/crl.pem", "authority/provision.json"}

    told = make(root)
    assert told.written == []
    assert any("ev1 stays revoked" in note for note in told.notes)
    add_client(root, "ev1", Kind.CHARGER, NOW)
    assert certificate(root / "clients" / "ev1.crt").serial_number not in serials(root)
    assert (root / "clients" / "ev1.key").read_bytes() != before["clients/ev1.key"][0]


def test_who_never_was_there_cannot_be_revoked(root: Path) -> None:
    before = contents(root)
    with raises(Code.UNKNOWN, "ev1, ev2"):
        revoke_client(root, "ev77", NOW)
    assert contents(root) == before


class _KilledError(Exception):
    """Instead of a signal: the command ends where it is."""


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, *, after: bool = False) -> None:
    """The next command ends before (or right after) it writes the file of this name."""
    write = files.write

    def killed(path: Path, content: bytes, mode: int = files.SECRET) -> None:
        if path.name != name:
            write(path, content, mode)
            return
        monkeypatch.undo()
        if after:
            write(path, content, mode)
        raise _KilledError

    monkeypatch.setattr(files, "write", killed)


COMMANDS = {
    "site": make,
    "add": lambda root: add_client(root, "ev9", Kind.CHARGER, NOW),
    "revoke": lambda root: revoke_client(root, "ev2", NOW).changes,
}
EVERY_COMMAND = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@EVERY_COMMAND
def test_a_revocation_that_was_killed_is_finished_by_whatever_command_comes_next(
    command: Callable[[Path], Changes], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = certificate(root / "clients" / "ev1.crt").serial_number
    kill_at(monkeypatch, "crl.pem")
    with pytest.raises(_KilledError):
        revoke_client(root, "ev1", NOW)
    assert old not in serials(root)
    changes = command(root)
    assert old in serials(root)
    assert any("crl.pem lacked 2 of the revoked certificates" in note for note in changes.notes)  # and the canary
    assert not (root / "clients" / "ev1.crt").exists()
    assert not (root / "clients" / "ev1.key").exists()
    assert f"user {SITE}_ev1\n" not in (root / "broker" / "acl").read_text()


@EVERY_COMMAND
@pytest.mark.parametrize("whose", ["nobody's", "another authority's"])
def test_a_list_of_the_revoked_that_cannot_be_used_is_made_anew_and_that_is_said(
    whose: str, command: Callable[[Path], Changes], root: Path, tmp_path: Path
) -> None:
    revoke_client(root, "ev1", NOW)
    before = serials(root)
    make(tmp_path / "other")
    content = b"damaged" if whose == "nobody's" else (tmp_path / "other" / "broker" / "crl.pem").read_bytes()
    (root / "broker" / "crl.pem").write_bytes(content)
    changes = command(root)
    assert serials(root) >= before
    (note,) = (note for note in changes.notes if "crl.pem" in note)
    assert "made anew" in note
    assert "broker/crl.pem" in changes.written
    assert not any("crl.pem" in note for note in make(root).notes)


def test_a_command_that_fails_says_that_it_made_the_list_anew(root: Path) -> None:
    (root / "broker" / "crl.pem").write_bytes(b"damaged")
    with pytest.raises(InputError) as error:
        revoke_client(root, "ev77", NOW)
    name, repaired = error.value.faults
    assert name.where == "DEVICE"
    assert "made anew" in repaired.what
    assert serials(root) == set()


def test_an_older_list_that_was_put_back_is_replaced(root: Path) -> None:
    old = (root / "broker" / "crl.pem").read_bytes()
    revoke_client(root, "ev1", NOW)
    revoked = serials(root)
    (root / "broker" / "crl.pem").write_bytes(old)
    make(root)
    assert serials(root) == revoked


def forget(root: Path, name: str) -> None:
    """As if another command had saved its register over the one in which the certificate was noted."""
    folder = Folder(root)
    register = load_register(folder)
    issued = {other: known for other, known in register.issued.items() if other != name}
    register.model_copy(update={"issued": issued}).save(folder)


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_certificate_that_the_register_does_not_know_is_noted_when_it_is_found(handed_over: bool, root: Path) -> None:
    found = certificate(root / "clients" / "ev1.crt").serial_number
    forget(root, "ev1")
    if handed_over:
        (root / "clients" / "ev1.key").unlink()
    make(root)
    assert load_register(Folder(root)).issued["ev1"] == (str(found),)


def test_a_certificate_that_the_register_does_not_know_is_revoked_too(root: Path) -> None:
    found = certificate(root / "clients" / "ev1.crt").serial_number
    forget(root, "ev1")
    revoke_client(root, "ev1", NOW)
    assert found in serials(root)


def test_whose_certificate_lies_in_another_s_place_is_not_revoked_with_it(root: Path) -> None:
    (root / "clients" / "ev1.crt").write_bytes((root / "clients" / "ev2.crt").read_bytes())
    revoke_client(root, "ev1", NOW)
    assert certificate(root / "clients" / "ev2.crt").serial_number not in serials(root)


@pytest.mark.parametrize("after", [False, True])
def test_a_command_that_was_killed_at_the_access_list_has_changed_nothing_by_hand(
    after: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in ("ev9", "ev10"):
        kill_at(monkeypatch, "acl", after=after)
        with pytest.raises(_KilledError):
            add_client(root, device, Kind.CHARGER, NOW)
    revoke_client(root, "ev2", NOW)
    acl = (root / "broker" / "acl").read_text()
    assert f"user {SITE}_ev10\n" in acl
    assert f"user {SITE}_ev2\n" not in acl
    (root / "broker" / "acl").write_text(acl + "user me\n")
    with raises(Code.FOREIGN):
        make(root)


def test_a_first_run_that_was_killed_leaves_a_folder_that_the_next_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(monkeypatch, "provision.json")
    with pytest.raises(_KilledError):
        make(tmp_path / "p")
    (tmp_path / "p" / "authority" / ".provision.json.part").write_text("half")
    assert "ca.crt" in make(tmp_path / "p").written


@EVERY_COMMAND
def test_two_commands_do_not_work_at_once(
    command: Callable[[Path], Changes], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WAIT_S", 0.2)
    before = contents(root)
    with (root / "authority" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with raises(Code.IN_USE, "0.2 s"):
            command(root)
        assert contents(root).keys() == before.keys()
        assert contents(root)["authority/provision.json"] == before["authority/provision.json"]
    command(root)


def as_an_earlier_version(root: Path, name: str) -> bytes:
    """Its certificate in the name that identifiers had before: a dot between site and device. Returns its key."""
    folder = Folder(root)
    key = (folder.key(name)).read_bytes()
    private = load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    old = client_identity(open_authority(folder), f"{SITE}.{name}", NOW, key=private)
    load_register(folder).with_certificate(name, old.serial).save(folder)
    folder.certificate(name).write_bytes(old.certificate_pem)
    return key


def test_a_certificate_in_the_name_of_an_earlier_version_is_made_anew_for_the_same_key(root: Path) -> None:
    key = as_an_earlier_version(root, "ev1")
    before = contents(root)
    assert make(root).written == ["clients/ev1.crt"]
    after = contents(root)
    touched = {name for name in after if after[name] != before[name]}
    assert touched == {"clients/ev1.crt", "authority/provision.json"}
    assert after["clients/ev1.key"][0] == key
    assert certificate(root / "clients" / "ev1.crt").subject.rfc4514_string() == f"CN={SITE}_ev1"
    assert make(root).written == []


def test_a_certificate_of_an_earlier_version_whose_key_is_elsewhere_is_left_alone_and_named(root: Path) -> None:
    as_an_earlier_version(root, "ev1")
    (root / "clients" / "ev1.key").unlink()
    before = contents(root)
    (note,) = make(root).notes
    assert "ev1: its certificate is of an earlier version" in note
    assert contents(root) == before


def test_the_key_of_a_certificate_that_ends_soon_is_asked_for_when_it_is_not_here(root: Path) -> None:
    end = certificate(root / "clients" / "ev1.crt").not_valid_after_utc
    (root / "clients" / "ev1.key").unlink()

    def notes(now: datetime) -> list[str]:
        told = provision_site(default_site(), root, place_of(root), now).notes
        return [note for note in told if note.startswith("ev1: ")]

    assert notes(end - timedelta(days=91)) == []
    (soon,) = notes(end - timedelta(days=89))
    assert f"ends on {end:%Y-%m-%d}" in soon
    (late,) = notes(end + timedelta(days=1))
    assert "has expired" in late


def test_the_brokers_earlier_names_are_kept_and_that_is_said(root: Path) -> None:
    make(root, user="root", names=("broker.example.org",))
    changes = make(root, user="root", names=("10.0.0.7",))
    (note,) = changes.notes
    assert "keeps broker.example.org" in note
    where = root / "broker" / "server.crt"
    kept = {"localhost", "mosquitto", "127.0.0.1", "broker.example.org", "10.0.0.7"}
    assert set(certified_hosts(where.read_bytes(), "")) == kept
    late = certificate(where).not_valid_after_utc - timedelta(days=30)
    provision_site(default_site(), root, place_of(root), late)  # a renewal without the names
    assert set(certified_hosts(where.read_bytes(), "")) == kept
    where.unlink()  # as the note says
    make(root, user="root", names=("10.0.0.7",))
    assert set(certified_hosts(where.read_bytes(), "")) == kept - {"broker.example.org"}


def test_a_folder_is_made_for_its_owner_alone_and_so_are_its_parents(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b" / "c")
    for folder in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        with raises(Code.UNWRITABLE):
            files.make_folder(path)


@pytest.mark.parametrize("serial", ["12x", "", "-1", "0", str(1 << 159), "9" * 5000])
def test_a_register_with_what_is_no_serial_number_is_refused_with_its_place(serial: str, root: Path) -> None:
    path = Folder(root).register
    known = json.loads(path.read_text())
    known["issued"]["ev1"] = [serial]
    path.write_text(json.dumps(known))
    with raises(Code.INVALID, "provision.json", "issued.ev1.0"):
        revoke_client(root, "ev1", NOW)


def test_an_export_to_where_nobody_can_write_is_told(root: Path, tmp_path: Path) -> None:
    with raises(Code.UNREADABLE, "File name too long"):
        export_client(root, "ev1", tmp_path / ("x" * 300))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(10001)  # root may enter everywhere
    try:
        with raises(Code.UNREADABLE, "Permission denied"):
            export_client(root, "ev1", closed / "ev1.tar")
    finally:
        os.seteuid(was)
        closed.rmdir()


def test_the_folder_of_another_site_is_refused(root: Path) -> None:
    other = default_site().model_copy(update={"site": "elsewhere"})
    with raises(Code.FOREIGN, "fit-g2v"):
        provision_site(other, root, place_of(root), NOW)


def test_an_export_has_all_that_one_device_needs_and_no_more(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "ev1.tar"
    export_client(root, "ev1", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with tarfile.open(out) as archive:
        packed = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        assert {entry.mode for entry in archive} == {0o600}
    assert packed.keys() == {f"ev1/{name}" for name in ("ca.crt", "ev1.crt", "ev1.key", "README.txt")}
    assert packed["ev1/ev1.key"] == (root / "clients" / "ev1.key").read_bytes()
    readme = packed["ev1/README.txt"].decode()
    assert f"{SITE}_ev1" in readme
    assert "localhost, mosquitto, 127.0.0.1" in readme
    with raises(Code.EXISTS):
        export_client(root, "ev1", out)
    with raises(Code.UNKNOWN):
        export_client(root, "ev77", tmp_path / "x.tar")


def test_the_register_holds_no_secret(root: Path) -> None:
    text = (root / "authority" / "provision.json").read_text()
    assert load_register(Folder(root)).site == SITE
    assert "PRIVATE" not in text
