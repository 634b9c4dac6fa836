"""OCPP's security profiles 2 and 3 at the central system, with certificates of the site's own authority."""

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from websockets.exceptions import InvalidMessage, InvalidStatus

from broker.provision.authority import Authority
from broker.provision.identity import Identity, broker_identity, client_identity
from broker.servers.mosquitto import find_mosquitto
from schemas.errors import InputError
from schemas.site.ocpp import OcppServer
from services.drivers.ocpp.csms import Csms
from tests.drivers.ocpp.running import Swarm, described, running
from tests.parts import skip_without


class Pki:
    """An authority with the endpoint's certificate, as files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._now = folder, datetime.now(UTC)
        self.authority = Authority.new("my-site", self._now)
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(self.authority.certificate_pem)
        self.certificate, self.key = self._files(broker_identity(self.authority, "csms", ["127.0.0.1"], self._now))

    def _files(self, identity: Identity) -> tuple[Path, Path]:
        certificate, key = (self._folder / f"{identity.name}.{end}" for end in ("crt", "key"))
        certificate.write_bytes(identity.certificate_pem)
        key.write_bytes(identity.key_pem)
        return certificate, key

    def client(self, name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if name is not None:
            context.load_cert_chain(*self._files(client_identity(self.authority, name, self._now)))
        return context


@contextmanager
def secured(folder: Path, pki: Pki, **ocpp: Any) -> Iterator[Swarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    files = {"certificate": str(pki.certificate), "key": str(pki.key)}
    with running(described(folder, ocpp={**files, **ocpp})) as swarm:
        yield swarm


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_profile_2_needs_tls_and_the_password(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    (tmp_path / "passwords").write_text("CP1:right\n")
    with secured(tmp_path, pki, security_profile=2, password_file=str(tmp_path / "passwords")) as swarm:
        url = swarm.url.replace("ws://", "wss://")
        evse = swarm.evse(url=url, tls=pki.client(None), headers=basic("CP1:right")).connect()
        assert evse.answers[0].status == "Accepted"
        with pytest.raises(InvalidStatus) as refused:
            swarm.evse(url=url, tls=pki.client(None), headers=basic("CP1:wrong")).connect()
        assert refused.value.response.status_code == 401
        with pytest.raises((InvalidMessage, OSError)):
            swarm.evse(headers=basic("CP1:right")).connect()


def test_profile_3_knows_a_charge_point_by_its_certificate(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    with secured(tmp_path, pki, security_profile=3, client_ca=str(pki.ca)) as swarm:
        url = swarm.url.replace("ws://", "wss://")
        evse = swarm.evse(url=url, tls=pki.client("CP1")).connect()
        assert evse.answers[0].status == "Accepted"
        with pytest.raises(InvalidStatus) as refused:
            swarm.evse(url=url, tls=pki.client("CP2")).connect()
        assert refused.value.response.status_code == 403
        with pytest.raises((ssl.SSLError, InvalidMessage, OSError)):
            swarm.evse(url=url, tls=pki.client(None)).connect()
        strangers = tmp_path / "strangers"
        strangers.mkdir()
        foreign = Pki(strangers).client("CP1")
        foreign.load_verify_locations(str(pki.ca))
        with pytest.raises((ssl.SSLError, InvalidMessage, OSError)):
            swarm.evse(url=url, tls=foreign).connect()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"security_profile": 1}, "security_profile 1 needs password_file"),
        ({"security_profile": 2, "password_file": "p"}, "security_profile 2 needs certificate"),
        ({"security_profile": 3, "certificate": "c", "key": "k"}, "security_profile 3 needs client_ca"),
        ({"password_file": "p"}, "password_file is given, and security_profile 0 does not use it"),
    ],
)
def test_a_profile_has_its_files_and_no_others(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        OcppServer(**given)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "passwords"
    bad.write_text("CP1 secret\n")
    with pytest.raises(InputError, match=r"ocpp\.password_file: line 1: IDENTITY:PASSWORD was expected"):
        Csms(OcppServer(security_profile=1, password_file=str(bad)))
    with pytest.raises(InputError, match=r"ocpp\.password_file: cannot be read"):
        Csms(OcppServer(security_profile=1, password_file=str(tmp_path / "none")))
    files = {"certificate": str(bad), "key": str(bad), "client_ca": str(bad)}
    with pytest.raises(InputError, match=r"ocpp\.certificate: cannot be used with its key"):
        Csms(OcppServer(security_profile=3, **files))
