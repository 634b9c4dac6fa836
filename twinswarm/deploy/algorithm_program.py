"""An EMS algorithm in a program of its own, in any language: a line of JSON in for each problem, one out.

The program reads the problem (`services.ems.problem.Problem`) from its standard input as one JSON object on one line,
and answers on its standard output with one: set-points [kW] by device, as `services.ems.algorithm.Algorithm` returns
them. It is started with the first problem and should end when its input does. docs/own-ems.md describes the exchange.
"""

import json
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from queue import Empty, Queue
from typing import IO

from pydantic import TypeAdapter

from schemas.errors import Code, InputError, shorten
from services.ems.problem import Problem

ANSWER_WITHIN_S = 120.0
"""For one problem, with the program's start before the first. It is there to end a league that would wait for ever."""
_MOST_CHARACTERS = 1_000_000
_END_WITHIN_S = 5.0
_NAMED = re.compile(r"(?P<name>[A-Za-z_][\w-]*)=(?P<command>.*)", re.DOTALL)


def named_program(text: str) -> tuple[str, str] | None:
    """Name and command line of ``NAME=COMMAND``; None: the text is not of this form."""
    match = _NAMED.fullmatch(text)
    return None if match is None else (match["name"], match["command"])


def problem_json(problem: Problem) -> str:
    """The problem on one line: fields as they are named there, times in ISO 8601, and null for infinite."""
    return _problems().dump_json(problem).decode()


class AlgorithmProgram:
    """A program as an algorithm. Raises InputError when there is no such program.

    Called with a problem, it raises OSError, TimeoutError or ValueError for a program that cannot be started, dies,
    does not answer in time, or answers with what is no JSON object; the EMS adds name and time.
    """

    def __init__(self, name: str, command: str, where: str, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self.__name__ = name
        self._command = _checked(command, where)
        self._answer_within_s = answer_within_s
        self._process: subprocess.Popen[str] | None = None
        self._complaints: IO[bytes] | None = None

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        """Set-points [kW] for the problem's first step, by device."""
        process = self._process or self._started()
        answers: Queue[str | OSError] = Queue()
        threading.Thread(target=_exchange, args=(process, problem_json(problem), answers), daemon=True).start()
        try:
            answer = answers.get(timeout=self._answer_within_s)
        except Empty:
            process.kill()  # which ends the thread's wait, too
            raise TimeoutError(f"no answer within {self._answer_within_s:g} s{self._last_words()}") from None
        if isinstance(answer, OSError) or not answer:
            raise ChildProcessError(f"the program {_end(process)}{self._last_words()}")
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError(f"the answer is no JSON object on one line, but {shorten(answer.strip())}")  # noqa: TRY004
        return found

    def close(self) -> None:
        """Closes the program's input, and ends it when it does not end by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # the program is gone already
                    pipe.close()
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._complaints is not None:
            self._complaints.close()

    def _started(self) -> "subprocess.Popen[str]":
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - the user's own command
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            encoding="utf-8",
            errors="replace",
        )
        return self._process

    def _last_words(self) -> str:
        """The last line that the program wrote to its standard error."""
        assert self._complaints is not None
        end = self._complaints.seek(0, 2)
        self._complaints.seek(max(0, end - 2000))
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        return f"; its last words: {lines[-1].strip()}" if lines else ""


def _checked(command: str, where: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError.one(where, f"cannot be read as a command line: {error}", command, code=Code.FORMAT) from error
    if not words:
        raise InputError.one(where, "NAME=COMMAND is allowed, with a command", command, code=Code.FORMAT)
    if shutil.which(words[0]) is None:
        raise InputError.one(where, "there is no program of this name", words[0], code=Code.NOT_FOUND)
    return words


def _exchange(process: "subprocess.Popen[str]", line: str, answers: "Queue[str | OSError]") -> None:
    """Writes the problem and reads the answer; the pipe's other end may be slow at both. Empty: it was closed."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answers.put(process.stdout.readline(_MOST_CHARACTERS))
    except OSError as error:
        answers.put(error)
    except ValueError as error:  # closed meanwhile, by who had waited long enough
        answers.put(OSError(str(error)))


def _end(process: "subprocess.Popen[str]") -> str:
    try:
        return f"ended with exit code {process.wait(_END_WITHIN_S)}"
    except subprocess.TimeoutExpired:
        return "closed its output"


@cache
def _problems() -> TypeAdapter[Problem]:
    return TypeAdapter(Problem)
