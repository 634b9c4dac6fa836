"""Keeps the swarm's processes alive: starts them, logs to files, says who died and why, starts them again, ends all."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from schemas.errors import Code, RunFailedError
from services.clock.lockstep import CLOCK
from twinswarm.deploy.process import DONE, NOT_AGAIN, WRONG_INPUT

_TERMINATE_S = 2.5
"""Time to say goodbye; then they are killed."""
_RESTARTS_MOST = 20
_BACK_OFF_FIRST_S, _BACK_OFF_MOST_S = 0.05, 5.0


@dataclass(frozen=True)
class Death:
    """A process that ended although nobody asked it to."""

    name: str
    how: str
    restarted: bool

    def __str__(self) -> str:
        return f"{self.name} {self.how}; {'started again' if self.restarted else 'not started again'}"


@dataclass
class _Child:
    name: str
    arguments: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    log_file: IO[bytes] | None = None
    restarts: int = 0
    start_at: float = 0.0
    finished: bool = False


@dataclass
class Supervisor:
    """Starts each process with standard input as its lifeline: when the supervisor dies, however, they end.

    ``logs``: folder of one file per process. ``expendable``: whose end for good does not end the run.
    """

    logs: Path
    expendable: frozenset[str] = frozenset()
    children: dict[str, _Child] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        child = _Child(name, tuple(arguments), self.logs / f"{name}.log")
        self.children[name] = child
        self._spawn(child)

    def _spawn(self, child: _Child) -> None:
        self._close(child)
        child.log_file = child.log.open("ab")
        child.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            child.arguments,
            stdin=subprocess.PIPE,
            stdout=child.log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for the supervisor
        )

    def watch(self) -> list[Death]:
        """Looks after everybody; to be called often. Returns who died since the last call.

        Raises RunFailedError when one died that cannot be started again, with its last words.
        """
        news = []
        for child in self.children.values():
            if child.process is None:
                if not child.finished and time.monotonic() >= child.start_at:
                    self._spawn(child)
                continue
            code = child.process.poll()
            if code is None:
                continue
            self._close(child)
            if code == DONE:
                child.finished = True
                continue
            news.append(self._died(child, code))
        self.deaths += news
        return news

    def _died(self, child: _Child, code: int) -> Death:
        how = f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
        failed_run = child.name == CLOCK and code > 0
        if failed_run or code in (WRONG_INPUT, NOT_AGAIN) or child.restarts >= _RESTARTS_MOST:
            child.finished = True
            how = f"{how}: {self._last_words(child)} (log: {child.log})"
            if child.name in self.expendable:
                return Death(child.name, how, restarted=False)
            raise RunFailedError(f"{child.name} {how}", code=Code.NO_ANSWER)
        delay = min(_BACK_OFF_FIRST_S * 2**child.restarts, _BACK_OFF_MOST_S)
        child.restarts += 1
        child.start_at = time.monotonic() + delay
        return Death(child.name, how, restarted=True)

    @staticmethod
    def _last_words(child: _Child) -> str:
        lines = child.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def finished(self, name: str) -> bool:
        """Whether it ended as it should."""
        return self.children[name].finished

    def pid(self, name: str) -> int | None:
        process = self.children[name].process
        return None if process is None else process.pid

    def stop(self) -> None:
        """Ends everybody, politely, then not. Safe to call twice."""
        running = [child for child in self.children.values() if child.process is not None]
        for child in running:
            assert child.process is not None
            if child.process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.process.stdin.close()
            child.process.terminate()
        deadline = time.monotonic() + _TERMINATE_S
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            self._close(child)
            child.finished = True

    @staticmethod
    def _close(child: _Child) -> None:
        if child.process is not None and child.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                child.process.stdin.close()
        if child.log_file is not None:
            child.log_file.close()
        child.process = child.log_file = None
