"""Where the broker is and how this client proves who it is, from what the user wrote on the command line."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from schemas.errors import Code, Fault, InputError

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
FORMS = "embedded, mosquitto, mqtt://host:port or mqtts://host:port"


class LocalBroker(StrEnum):
    """A broker that this program starts itself, on the loopback interface."""

    EMBEDDED = "embedded"
    MOSQUITTO = "mosquitto"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker that is there already, or that was started: ``tls`` encrypts and checks its certificate."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(text: str, *, where: str = "--broker") -> BrokerAddress | LocalBroker:
    """Reads ``embedded | mosquitto | mqtt://host:port | mqtts://host:port``; a port left out is 1883 or 8883.

    Raises InputError with all faults. A text that holds a password is never repeated in them.
    """
    if text in tuple(LocalBroker):
        return LocalBroker(text)
    try:
        url = urlsplit(text)
        host = url.hostname
    except ValueError as error:
        raise InputError.one(where, f"{error}; allowed is {FORMS}", text, code=Code.FORMAT) from None
    if url.scheme not in DEFAULT_PORTS or not host:
        raise InputError.one(where, f"allowed is {FORMS}", None if "@" in text else text, code=Code.FORMAT)
    port, faults = _port(url, where)
    if url.username is not None or url.password is not None:
        faults.append(
            Fault(
                where,
                "user name and password do not belong here; use --username and --password-file",
                code=Code.CONFLICT,
            )
        )
    elif url.path not in ("", "/") or url.query or url.fragment:
        faults.append(Fault(where, f"nothing may follow the port; allowed is {FORMS}", repr(text), code=Code.FORMAT))
    if faults:
        raise InputError(faults)
    return BrokerAddress(host, port, tls=url.scheme == "mqtts")


def _port(url: SplitResult, where: str) -> tuple[int, list[Fault]]:
    try:
        port = url.port
    except ValueError:
        return 0, [
            Fault(where, "the port is a number from 1 to 65535", repr(url.netloc.rpartition(":")[2]), code=Code.RANGE)
        ]
    if port == 0:
        return 0, [Fault(where, "the port is a number from 1 to 65535", "0", code=Code.RANGE)]
    return port or DEFAULT_PORTS[url.scheme], []


@dataclass(frozen=True, slots=True)
class Credentials:
    """How this client proves who it is, and whom it trusts. Holds names of files, never a password."""

    cafile: Path | None = None
    """Certificates of the authorities that may have signed the broker's; None: those of the machine."""
    cert: Path | None = None
    key: Path | None = None
    """Private key of ``cert``; it must not be protected by a pass phrase."""
    username: str | None = None
    password_file: Path | None = None
    """Its first line is the password."""

    def __post_init__(self) -> None:
        """Raises InputError with all faults."""
        faults = [
            Fault(option, "there is no readable file of this name", repr(str(path)), code=Code.NOT_FOUND)
            for option, path in self._files()
            if path is not None and not _readable(path)
        ]
        if self.key is not None and self.cert is None:
            faults.append(Fault("--key", "a key needs its certificate: give --cert, too", code=Code.MISSING))
        if self.cert is not None and self.key is None:
            faults.append(Fault("--cert", "a certificate needs its key: give --key, too", code=Code.MISSING))
        if self.password_file is not None and self.username is None:
            faults.append(
                Fault("--password-file", "a password needs a user name: give --username, too", code=Code.MISSING)
            )
        if self.username == "":
            faults.append(Fault("--username", "the user name is empty", code=Code.MISSING))
        if faults:
            raise InputError(faults)

    def _files(self) -> tuple[tuple[str, Path | None], ...]:
        return (
            ("--cafile", self.cafile),
            ("--cert", self.cert),
            ("--key", self.key),
            ("--password-file", self.password_file),
        )

    def check_for(self, address: BrokerAddress) -> None:
        """Raises InputError when certificates are given for a connection that is not encrypted."""
        if address.tls:
            return
        faults = [
            Fault(
                option,
                f"certificates need an encrypted connection, but the broker is {address}; use mqtts://",
                code=Code.UNENCRYPTED,
            )
            for option, path in self._files()
            if path is not None and option != "--password-file"
        ]
        if faults:
            raise InputError(faults)

    def password(self) -> str | None:
        """Read anew on every call, so that it stays in no object. Raises InputError when the file is gone."""
        if self.password_file is None:
            return None
        try:
            lines = self.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError.one("--password-file", f"cannot be read: {error}", code=Code.UNREADABLE) from None
        return lines[0] if lines else ""


def _readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False
