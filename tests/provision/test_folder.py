"""The folder of a provisioned site: complete, readable by its owner alone, never made over what is somebody else's."""

import stat
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.provision.export import export_client
from broker.provision.layout import Folder
from broker.provision.mosquitto_conf import BrokerPlace
from broker.provision.register import load_register
from broker.provision.workspace import Changes, add_client, clients_of, provision_site, revoke_client
from schemas.errors import InputError
from schemas.topics import Kind
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
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


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
        assert [one.value for one in client.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [f"{SITE}.{name}"]
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
    with pytest.raises(InputError, match=r"thesis\.tex"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_text_file_that_was_changed_by_hand_is_not_overwritten(root: Path) -> None:
    acl = root / "broker" / "acl"
    acl.write_text(acl.read_text() + "user me\ntopic readwrite #\n", encoding="utf-8")
    before = contents(root)
    with pytest.raises(InputError, match="changed by hand"):
        make(root)
    with pytest.raises(InputError, match="changed by hand"):
        add_client(root, "ev9", Kind.CHARGER, NOW)
    assert contents(root)["broker/acl"] == before["broker/acl"]
    assert contents(root)["clients/ev1.key"] == before["clients/ev1.key"]


def test_a_certificate_of_somebody_else_is_refused(root: Path, tmp_path: Path) -> None:
    make(tmp_path / "other")
    other = (tmp_path / "other" / "clients" / "ev1.crt").read_bytes()
    (root / "clients" / "ev1.crt").write_bytes(other)
    with pytest.raises(InputError, match="not a certificate of this authority"):
        make(root)
    assert (root / "clients" / "ev1.crt").read_bytes() == other


def test_a_run_that_was_killed_is_finished_by_the_next(root: Path) -> None:
    before = contents(root)
    for name in ("clients/ev2.crt", "clients/ev3.crt", "clients/ev3.key", "broker/crl.pem", "broker/mosquitto.conf"):
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
    [("ems", Kind.CHARGER), ("grid", Kind.METER), ("provision", None), ("observer", Kind.EMS), ("ev1", Kind.BESS)],
)
def test_names_that_mean_something_else_are_refused(name: str, kind: Kind | None, root: Path) -> None:
    before = contents(root)
    with pytest.raises(InputError, match=name):
        add_client(root, name, kind, NOW)
    assert contents(root) == before


def test_a_revoked_device_loses_its_files_and_rights_and_stays_out_until_it_is_added(root: Path) -> None:
    before = contents(root)
    old = certificate(root / "clients" / "ev1.crt").serial_number
    issued = x509.load_pem_x509_crl((root / "broker" / "crl.pem").read_bytes()).last_update_utc
    changes = revoke_client(root, "ev1", NOW).changes
    assert sorted(changes.deleted) == ["clients/ev1.crt", "clients/ev1.key"]
    assert old in serials(root)
    assert f"user {SITE}.ev1\n" not in (root / "broker" / "acl").read_text()
    # OpenSSL, which keeps the list before it, takes the later one.
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
    with pytest.raises(InputError, match="ev1, ev2"):
        revoke_client(root, "ev77", NOW)
    assert contents(root) == before


def test_the_folder_of_another_site_is_refused(root: Path) -> None:
    other = default_site().model_copy(update={"site": "elsewhere"})
    with pytest.raises(InputError, match="is the folder of site fit-g2v"):
        provision_site(other, root, place_of(root), NOW)


def test_an_export_has_all_that_one_device_needs_and_no_more(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "ev1.tar"
    export_client(root, "ev1", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with tarfile.open(out) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        assert {entry.mode for entry in archive} == {0o600}
    assert files.keys() == {f"ev1/{name}" for name in ("ca.crt", "ev1.crt", "ev1.key", "README.txt")}
    assert files["ev1/ev1.key"] == (root / "clients" / "ev1.key").read_bytes()
    readme = files["ev1/README.txt"].decode()
    assert f"{SITE}.ev1" in readme
    assert "localhost, mosquitto, 127.0.0.1" in readme
    with pytest.raises(InputError, match="not overwritten"):
        export_client(root, "ev1", out)
    with pytest.raises(InputError, match="has no certificate"):
        export_client(root, "ev77", tmp_path / "x.tar")


def test_the_register_holds_no_secret(root: Path) -> None:
    text = (root / "authority" / "provision.json").read_text()
    assert load_register(Folder(root)).site == SITE
    assert "PRIVATE" not in text
