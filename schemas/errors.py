"""Errors that name the culprit: the user's input, a peer's message, or this program; retryable or not."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError


class TwinswarmError(Exception):
    """Any error that this program raises on purpose. ``retryable``: the same call may succeed later."""

    retryable = False


@dataclass(frozen=True)
class Fault:
    """One fault of an input: where it is (file, field), what was received, what is allowed."""

    where: str
    what: str
    received: str | None = None

    def __str__(self) -> str:
        received = "" if self.received is None else f" (received {self.received})"
        return f"{self.where}: {self.what}{received}"


class InputError(TwinswarmError):
    """The user's input is wrong. Carries all faults at once; the command line ends with exit code 2."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    @classmethod
    def one(cls, where: str, what: str, received: object = None) -> "InputError":
        return cls([Fault(where, what, None if received is None else shorten(received))])


class RemoteMessageError(TwinswarmError):
    """A peer's message is not of the contract. It goes to a dead letter and stops nobody."""


class LocalStateError(TwinswarmError):
    """This process cannot go on with what it has, for example an older checkpoint that was put back."""


class BrokerUnreachableError(TwinswarmError):
    """No broker answers there, or it refuses this client."""

    retryable = True


class RunFailedError(TwinswarmError):
    """A run could not be carried to its end: a participant is missing, died, or stopped answering."""


class SiteBusyError(TwinswarmError):
    """A simulation would command a site that lives: its session is open or a device of it is online."""


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
        )
        for item in error.errors(include_url=False)
    ]
