"""Errors that name the culprit: the user's input, a peer's message, or this program; retryable or not."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError


class Code(StrEnum):
    """The kind of a fault, for programs. Codes are stable, texts are not; ``docs/errors.md`` says what to do.

    The first group is of faults of an input, the second of messages of peers, the third of runs.
    """

    INVALID = "invalid"
    """Not what is allowed there."""
    MISSING = "missing"
    """Something that is needed is not given, or not there."""
    UNKNOWN = "unknown"
    """A name of something that there is not: a field, a device, a profile, a case, a run."""
    DUPLICATE = "duplicate"
    """Given twice, or there is more than one where one is allowed."""
    RESERVED = "reserved"
    """A name that this program uses itself."""
    FORMAT = "format"
    """A text, a file or an address that cannot be read as what it should be."""
    RANGE = "range"
    """A number or a time outside what is allowed."""
    CONFLICT = "conflict"
    """Inputs that contradict one another."""
    NOT_FOUND = "not-found"
    """No such file, folder, history or process."""
    UNREADABLE = "unreadable"
    """A file, a disk or a folder that cannot be read."""
    UNWRITABLE = "unwritable"
    """A file or a folder that cannot be made or written."""
    EXISTS = "exists"
    """Something is there that would be overwritten."""
    IN_USE = "in-use"
    """Another process uses it."""
    FOREIGN = "foreign"
    """It belongs to another site, program, authority or version, or was changed by hand."""
    PERMISSION = "permission"
    """This account may not do that."""
    UNENCRYPTED = "unencrypted"
    """Certificates or passwords without an encrypted connection."""
    NOT_INSTALLED = "not-installed"
    """A program or library that this needs is not on this machine."""
    EMPTY = "empty"
    """There is nothing to read, settle or compare."""

    CONTRACT = "contract"
    """A message of another version of the contract."""
    TOPIC = "topic"
    """A topic that the contract does not have."""
    SIZE = "size"
    """A message that is too large."""
    MESSAGE = "message"
    """A message whose content is not of the contract."""
    OTHER_RUN = "other-run"
    """A message of a run that is not the one that goes on."""

    UNREACHABLE = "unreachable"
    """No broker or server answers there."""
    REFUSED = "refused"
    """The broker or server refuses this client."""
    NO_ANSWER = "no-answer"
    """A participant is missing, died or stopped answering."""
    STOPPED = "stopped"
    """A run was stopped before its end."""
    STATE = "state"
    """This process cannot go on with the state that it kept."""
    SITE_BUSY = "site-busy"
    """The site is in use: a run is open, or a device is online that this run did not start."""
    FAILED = "failed"
    """A run could not be carried to its end."""


class TwinswarmError(Exception):
    """Any error that this program raises on purpose. ``retryable``: the same call may succeed later.

    ``code`` is that of the class if the error gives no other.
    """

    retryable = False
    usual_code: ClassVar[Code] = Code.FAILED

    def __init__(self, text: str = "", *, code: Code | None = None) -> None:
        super().__init__(text)
        self.code = code or self.usual_code


@dataclass(frozen=True)
class Fault:
    """One fault of an input: where it is (file, field), what was received, what is allowed."""

    where: str
    what: str
    received: str | None = None
    code: Code = field(default=Code.INVALID, kw_only=True)

    def __str__(self) -> str:
        received = "" if self.received is None else f" (received {self.received})"
        return f"{self.where}: {self.what}{received}"


class InputError(TwinswarmError):
    """The user's input is wrong. Carries all faults at once; the command line ends with exit code 2."""

    usual_code = Code.INVALID

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)), code=self.faults[0].code if self.faults else None)

    @property
    def codes(self) -> tuple[Code, ...]:
        """The code of each fault, in their order."""
        return tuple(fault.code for fault in self.faults)

    @classmethod
    def one(cls, where: str, what: str, received: object = None, *, code: Code = Code.INVALID) -> "InputError":
        """An error of a single fault; of ``received`` a short form is kept."""
        return cls([Fault(where, what, None if received is None else shorten(received), code=code)])


class RemoteMessageError(TwinswarmError):
    """A peer's message is not of the contract. It goes to a dead letter and stops nobody."""

    usual_code = Code.MESSAGE


class LocalStateError(TwinswarmError):
    """This process cannot go on with what it has, for example an older checkpoint that was put back."""

    usual_code = Code.STATE


class DiskFullError(LocalStateError):
    """The disk takes no more. It goes on when there is room in ``folder`` again (`runtime.patience`)."""

    retryable = True
    usual_code = Code.UNWRITABLE

    def __init__(self, text: str, folder: Path) -> None:
        super().__init__(text)
        self.folder = folder


class BrokerUnreachableError(TwinswarmError):
    """No broker answers there, or it refuses this client."""

    retryable = True
    usual_code = Code.UNREACHABLE


class BrokerAwayError(BrokerUnreachableError):
    """No broker answers there. One may come; it has refused nobody."""


class IdentityTakenError(BrokerUnreachableError):
    """Another process lives under the same client identifier and keeps the connection: this one stands by."""


class MessageRefusedError(BrokerUnreachableError):
    """The broker ends the connection whenever a certain message comes: the same message would be refused again."""

    retryable = False
    usual_code = Code.SIZE


class RunFailedError(TwinswarmError):
    """A run could not be carried to its end: a participant is missing, died, or stopped answering."""

    usual_code = Code.FAILED


class SiteBusyError(TwinswarmError):
    """A simulation would command a site that lives: its run is open, or a device of it is online."""

    usual_code = Code.SITE_BUSY


def shorten(value: object, limit: int = 80) -> str:
    """``repr`` of a value, cut to ``limit`` characters: enough to find it, not enough to flood a log."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def faults_of(error: ValidationError, where: str) -> list[Fault]:
    """The faults of a pydantic validation, each with its field path below ``where``, value and rule."""

    def field(location: tuple[Any, ...]) -> str:
        return ".".join(str(part) for part in location)

    return [
        Fault(
            where=f"{where}: {field(item['loc'])}" if item["loc"] else where,
            what=item["msg"].removeprefix("Value error, "),
            received=None if item["type"] in {"missing", "value_error"} else shorten(item["input"]),
            code=code_of(item["type"]),
        )
        for item in error.errors(include_url=False)
        if item["type"] != "default_factory_not_called"  # What it lacks is a fault of its own.
    ]


def code_of(rule: str) -> Code:
    """The code of a pydantic rule, such as ``missing`` or ``less_than_equal``."""
    if rule == "missing":
        return Code.MISSING
    if rule in {"extra_forbidden", "literal_error", "enum", "union_tag_invalid"}:
        return Code.UNKNOWN
    if rule.startswith(("greater_than", "less_than", "too_", "string_too_")) or rule == "finite_number":
        return Code.RANGE
    if rule.endswith(("_type", "_parsing")) or rule in {"string_pattern_mismatch", "json_invalid"}:
        return Code.FORMAT
    return Code.INVALID
