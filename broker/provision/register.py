"""The register of a site's provisioning: who has a certificate, whose was revoked, which files were written."""

import hashlib
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from broker.provision import files
from broker.provision.authority import Revocation
from broker.provision.layout import Folder
from schemas.errors import Code, InputError, faults_of, shorten
from schemas.messages import DeviceId
from schemas.roles import OBSERVER
from schemas.topics import SITE_PATTERN, Kind
from schemas.units import UtcTime

Role = Kind | Literal["observer"]


_SERIAL_END = 1 << 159
"""X.509 has 20 bytes with a sign for it (RFC 5280, 4.1.2.2)."""


def _serial(text: str) -> str:
    # Its length first: a text that somebody made could be a number of any size.
    if not (text.isascii() and text.isdigit() and len(text) < 50 and 0 < int(text) < _SERIAL_END):
        raise ValueError(f"a serial number in decimal, from 1 to 2^159 - 1, is allowed, not {shorten(text)}")
    return text


Serial = Annotated[str, AfterValidator(_serial)]
"""Decimal: JSON's numbers end at 2^53 in many programs, serial numbers at 2^159."""


class Revoked(BaseModel):
    """A certificate that holds no longer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: DeviceId
    serial: Serial
    at: UtcTime


class Register(BaseModel):
    """``provision.json``. No secret is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    site: Annotated[str, Field(pattern=f"^{SITE_PATTERN}$")]
    clients: dict[DeviceId, Role] = Field(default_factory=dict)
    issued: dict[DeviceId, tuple[Serial, ...]] = Field(default_factory=dict)
    """Serial numbers of all certificates in a name: revoking it revokes every one, renewed ones included."""
    revoked: tuple[Revoked, ...] = ()
    written: dict[str, str] = Field(default_factory=dict)
    """SHA-256, at the time of writing, of each text file that provisioning writes anew when the site changes."""
    writing: dict[str, str] = Field(default_factory=dict)
    """The SHA-256 of what is about to be written: a command that is killed then has changed nothing by hand."""

    @property
    def kinds(self) -> dict[str, Kind | None]:
        """Every client's kind; None: an observer."""
        return {name: None if role == OBSERVER else Kind(role) for name, role in self.clients.items()}

    @property
    def barred(self) -> frozenset[str]:
        """Names whose certificate was revoked and not replaced."""
        return frozenset(one.name for one in self.revoked) - self.clients.keys()

    def with_client(self, name: str, kind: Kind | None) -> "Register":
        return self._with(clients={**self.clients, name: OBSERVER if kind is None else kind})

    def with_certificate(self, name: str, serial: int) -> "Register":
        """Leaves alone what it knows."""
        issued = self.issued.get(name, ())
        return self if str(serial) in issued else self._with(issued={**self.issued, name: (*issued, str(serial))})

    def without(self, name: str, at: datetime) -> "Register":
        """``name`` is no client any more; every certificate that was issued in its name is revoked."""
        known = {one.serial for one in self.revoked}
        new = (Revoked(name=name, serial=serial, at=at) for serial in self.issued.get(name, ()) if serial not in known)
        clients = {other: role for other, role in self.clients.items() if other != name}
        return self._with(clients=clients, revoked=(*self.revoked, *new))

    def holds(self, serial: int) -> bool:
        """Whether no certificate of this number was revoked."""
        return str(serial) not in {one.serial for one in self.revoked}

    def revocations(self) -> list[Revocation]:
        return [Revocation(int(one.serial), one.at) for one in self.revoked]

    def writes(self, relative: str, there: bytes | None, content: bytes) -> "Register":
        """It is about to replace ``there``, which is its own, by ``content``: until it has, the file is one of both."""
        before = {} if there is None else {relative: _digest(there)}
        return self._with(written={**self.written, **before}, writing={**self.writing, relative: _digest(content)})

    def wrote(self, relative: str, content: bytes) -> "Register":
        others = {path: digest for path, digest in self.writing.items() if path != relative}
        return self._with(written={**self.written, relative: _digest(content)}, writing=others)

    def wrote_exactly(self, relative: str, content: bytes) -> bool:
        return _digest(content) in {self.written.get(relative), self.writing.get(relative)}

    def _with(self, **changes: object) -> "Register":
        return self.model_copy(update=changes)

    def save(self, folder: Folder) -> None:
        """Leaves an equal file alone. Raises InputError."""
        content = f"{self.model_dump_json(indent=2)}\n".encode()
        if files.read(folder.register) != content:
            files.write(folder.register, content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def load_register(folder: Folder) -> Register:
    """Raises InputError when there is none, or when it is damaged."""
    content = files.read(folder.register)
    if content is None:
        raise InputError.one(
            str(folder.root), "was not made by twinswarm provision: it has no authority", code=Code.FOREIGN
        )
    try:
        return Register.model_validate_json(content)
    except ValidationError as error:
        raise InputError(faults_of(error, str(folder.register))) from None
