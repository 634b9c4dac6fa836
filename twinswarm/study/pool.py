"""Days in parallel: worker processes that are started once, warm, and handed one day after another."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.participant import Json
from schemas.site import Site
from twinswarm.simulation.stopping import sigterm_as_ctrl_c
from twinswarm.study.day import Day, live_through

_MASKS = hasattr(signal, "pthread_sigmask")
"""Whether signals can be held back here: not on Windows."""

NameT = TypeVar("NameT", bound=Hashable)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Timed:
    """A day and what it took one core [s]."""

    day: Day
    cpu_s: float


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """``processes`` None: one per core; 1: everything in this process, which is what tests and profilers want.

    ``warm_up``: sites of which every worker lives through a first step before it is needed, so that the libraries are
    loaded and the optimisation models of these structures are built.
    """

    def __init__(self, course: Course, warm_up: Sequence[Site] = (), processes: int | None = None) -> None:
        began = time.perf_counter()
        self.processes = cores() if processes is None else processes
        self._course = course
        self._open = ExitStack()
        self._executor: ProcessPoolExecutor | None = None
        if self.processes == 1:
            warm(course, warm_up)
        else:
            self._executor = self._open.enter_context(workers(self.processes, warm, course, tuple(warm_up)))
        self.start_s = time.perf_counter() - began
        """Time until all workers were warm [s]."""

    def run(
        self,
        sites: Mapping[NameT, Site],
        on_day: Callable[[NameT], None] | None = None,
        learned: Mapping[NameT, Mapping[str, Json]] | None = None,
    ) -> dict[NameT, Timed]:
        """Each site's day, by name, in the order of ``sites``. ``on_day`` is told of each that is over. ``learned``: by
        name, as of `run_in_memory`.

        Raises what the first failing day raised.
        """
        found: dict[NameT, Timed] = {}
        states = learned or {}
        if self._executor is None:
            for name, site in sites.items():
                found[name] = _timed(site, self._course, states.get(name))
                if on_day is not None:
                    on_day(name)
            return found
        # The longest days first, those with the most to plan, so that no worker begins one when the others are done.
        longest_first = sorted(sites.items(), key=lambda item: len(item[1].devices), reverse=True)
        futures: dict[Future[Timed], NameT] = {
            self._executor.submit(_timed, site, self._course, states.get(name)): name for name, site in longest_first
        }
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            if on_day is not None:
                on_day(futures[future])
        return {name: found[name] for name in sites}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


@contextmanager
def workers(processes: int, prepare: Callable[..., None], *arguments: object) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that have called ``prepare`` and end with this one, however it ends.

    Where something is raised, SIGTERM and Ctrl-C among it, they end at once, whatever they have under way. Raises
    RunFailedError where one of them ends before that.
    """
    # Spawned, not forked: a fork in the middle of a program takes locked locks and lost threads with it.
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(processes, context, _prepare_worker, (prepare, arguments))
    with sigterm_as_ctrl_c():
        try:
            with _safe_path(), _ctrl_c_held_back():
                for ready in [executor.submit(_settle_in) for _ in range(processes)]:
                    ready.result()
            yield executor
        except BaseException as error:
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            if isinstance(error, BrokenProcessPool):
                what = "a worker process was killed, or the machine has too little memory for so many at once"
                raise RunFailedError(what) from None
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def in_workers(
    work: Callable[..., ResultT],
    arguments: Mapping[NameT, tuple[object, ...]],
    processes: int | None,
    on_done: Callable[[NameT], None],
) -> dict[NameT, ResultT]:
    """``work`` with each of the arguments, by name, begun in their order; ``on_done`` is told of each that is over.

    ``processes`` None: one per core; 1: everything in this process. Raises what the first failing one raised.
    """
    count = min(processes or cores(), len(arguments))
    found: dict[NameT, ResultT] = {}
    if count == 1:
        for name, given in arguments.items():
            found[name] = work(*given)
            on_done(name)
        return found
    with workers(count, _nothing) as executor:
        futures = {executor.submit(work, *given): name for name, given in arguments.items()}
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            on_done(futures[future])
    return {name: found[name] for name in arguments}


def _nothing() -> None:
    """A worker loads what it needs with its first work."""


def warm(course: Course, sites: Sequence[Site]) -> None:
    """Loads the libraries and builds the optimisation models of these sites by living through a first step of each."""
    first = Course(course.t0, course.t0 + course.step, course.step_s)
    for site in sites:
        live_through(site, first)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Interpreters that are started meanwhile do not look for modules in the working folder, where a user's own
    schemas.py may be. The environment is the only way to say so to those that multiprocessing starts."""
    name, before = "PYTHONSAFEPATH", os.environ.get("PYTHONSAFEPATH")
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Processes that are started meanwhile hear Ctrl-C only when they are ready to end without a traceback."""
    if not _MASKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(prepare: Callable[..., None], arguments: Sequence[object]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if _MASKS:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        prepare(*arguments)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    # What is loaded by now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    """A parent that is killed says nothing to its workers: they would wait for the next day for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _settle_in() -> None:
    """Long enough for every worker to be handed one: then all are warm."""
    time.sleep(0.05)


def _timed(site: Site, course: Course, learned: Mapping[str, Json] | None) -> Timed:
    began = time.process_time()
    return Timed(live_through(site, course, learned), time.process_time() - began)
