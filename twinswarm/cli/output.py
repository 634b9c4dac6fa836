"""Where output goes: people read standard output, unless ``--json -`` gives it to a program."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from schemas.errors import Code, Fault, InputError, TwinswarmError
from twinswarm.simulation.stopping import sigterm_as_ctrl_c

if TYPE_CHECKING:
    from rich.console import Console

DASH = "-"
PLAIN_COLUMNS = 120
"""Where there is no terminal to ask, and no environment variable COLUMNS."""


@dataclass(frozen=True)
class Output:
    """``json``: the file of ``--json``, ``-`` for standard output, None when it was not given."""

    json: str | None = None

    @classmethod
    def to(cls, target: str | None) -> "Output":
        """Raises InputError at once when the file could not be written in the end."""
        if target is not None and target != DASH:
            path = Path(target)
            if path.is_dir():
                raise InputError.one(
                    "--json", "is a folder; a file or - (standard output) is allowed", target, code=Code.UNWRITABLE
                )
            if not path.absolute().parent.is_dir():
                raise InputError.one("--json", "its folder does not exist", target, code=Code.NOT_FOUND)
        return cls(target)

    @property
    def console(self) -> "Console":
        """For people: standard error while standard output is a program's."""
        return console(stderr=self.json == DASH)

    def write(self, value: Any) -> None:
        """The value as JSON, floats at full precision, if it was asked for. Raises InputError."""
        if self.json is None:
            return
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if self.json == DASH:
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise unwritten(sys.stdout, error) from None
            return
        try:
            Path(self.json).write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError.one(
                "--json", f"cannot be written: {error.strerror}", self.json, code=Code.UNWRITABLE
            ) from None


def console(*, stderr: bool = False) -> "Console":
    """A console that writes plain text, wide enough for our tables, where there is no terminal."""
    from twinswarm.cli.whole_console import WholeConsole

    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_COLUMNS
    return WholeConsole(stderr=stderr, highlight=False, width=wide)


def unwritten(stream: IO[str], error: OSError) -> InputError:
    """The error of a stream that takes no more, on a full disk. What it still holds is dropped: Python would try to
    write it again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    name = "standard error" if stream is sys.stderr else "standard output"
    return InputError.one(name, f"cannot be written: {error.strerror}", code=Code.UNWRITABLE)


def on_terminal(console: "Console") -> bool:
    """Whether what moves may be shown: FORCE_COLOR makes a pipe colourful, but no terminal."""
    return console.file.isatty() and not console.is_dumb_terminal


@contextmanager
def busy(console: "Console", text: str) -> Iterator[None]:
    """While this lasts a terminal shows that something is done; elsewhere nothing is said."""
    if not on_terminal(console):
        yield
        return
    with console.status(text):
        yield


@contextmanager
def stoppable(left: str) -> Iterator[None]:
    """Where SIGTERM or Ctrl-C ends the command, a line says so and what is ``left`` of it."""
    with sigterm_as_ctrl_c():
        try:
            yield
        except KeyboardInterrupt:
            print(f"stopped; {left}", file=sys.stderr)
            sys.exit(1)


@contextmanager
def counted(console: "Console", what: str, total: int) -> Iterator[Callable[..., None]]:
    """While this lasts a terminal shows how many of ``total`` are done. Gives what is called after each, whatever it is
    called with."""
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not on_terminal(console)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda *_: progress.advance(task)


def complain(error: TwinswarmError) -> int:
    """Says on standard error what is wrong, each fault on a line of its own; returns the exit code."""
    from twinswarm.deploy.logs import complains_in_json

    if complains_in_json():
        logging.getLogger("twinswarm").error("%s [%s]", error, error.code)
        return 2 if isinstance(error, InputError) else 1
    if not isinstance(error, InputError):
        print(f"error: {error} [{error.code}]", file=sys.stderr)
        return 1
    if len(error.faults) == 1:
        print(f"error: {error.faults[0]} [{error.code}]", file=sys.stderr)
    else:
        print(f"error: {len(error.faults)} faults", file=sys.stderr)
        for fault in error.faults:
            print(f"  {fault} [{fault.code}]", file=sys.stderr)
    return 2


def fault_json(fault: Fault) -> dict[str, str | None]:
    return {"code": fault.code, "where": fault.where, "what": fault.what, "received": fault.received}
