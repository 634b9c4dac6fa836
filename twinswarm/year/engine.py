"""Who lives through the pieces of a year: this process, worker processes of this machine, or those of a Dask engine.

A variant's pieces follow one another, for each begins with the state that the one before left. The variants go side by
side. The result does not depend on who lives which piece.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import Code, InputError, RunFailedError
from twinswarm.study.pool import cores, workers
from twinswarm.year.order import YearOrder, source_digest
from twinswarm.year.store import YearStore
from twinswarm.year.stream import Lived, Piece, live

PIECE_DAYS = 7
"""So many days of each variant are lost when everything is killed."""
_CONNECT_S = 10
_GOES_ON = "The same command goes on from the days that are kept"

OnDays = Callable[[str, int], None]
"""Called with the variant and how many days of it were lived through."""


class _Here(Executor):
    """Everything in this process, one piece after another."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def local_workers(jobs: int | None, order: YearOrder, at_once: int | None = None) -> Iterator[Executor]:
    """``jobs`` None: a process for each core, and no more than ``at_once``, the number of variants; 1: this one."""
    count = min(jobs or cores(), at_once or len(order.variants))
    if count == 1:
        yield _Here()
        return
    with workers(count, _warm, order) as executor:
        yield executor


@contextmanager
def dask_workers(address: str) -> Iterator[Executor]:
    """The workers of an engine that runs already, ``tcp://host:8786``. Raises InputError when it does not answer, and
    RunFailedError when it or its workers are gone before the end."""
    import distributed

    engine: Any = distributed  # it says nothing of its types
    _check_address(address)
    try:
        client = engine.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        what = f"no Dask scheduler answers there: {error}"
        raise InputError.one("--dask", what, address, code=Code.NO_ANSWER) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise InputError.one("--dask", "this scheduler has no workers", address, code=Code.EMPTY)
        try:
            yield client.get_executor(pure=False)
        except CancelledError:
            raise RunFailedError(f"the Dask scheduler at {address} is gone. {_GOES_ON}") from None
        except engine.KilledWorker:
            what = (
                "workers end while they live through days: this program may be missing there, or memory; see their logs"
            )
            raise RunFailedError(f"the Dask scheduler at {address} gives up: {what}. {_GOES_ON}") from None


def _check_address(address: str) -> None:
    """Before the client is made: it takes 20 s to give up on what is no address."""
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("tcp", "tls", "ws", "wss") and bool(parts.hostname) and parts.port is not None
    except ValueError:  # the port is no number
        sound = False
    if not sound:
        raise InputError.one("--dask", "tcp://host:port is allowed", address, code=Code.FORMAT)


def live_through_year(order: YearOrder, store: YearStore, executor: Executor, on_days: OnDays) -> None:
    """Lives through all days that the store does not have. Raises TwinswarmError."""
    done: dict[str, int] = {}
    running: dict[Future[Lived], str] = {}

    def go_on(variant: str) -> None:
        seam = store.progress(variant)[1]
        first = done[variant]
        if first < order.days:
            bounds = order.midnights[first : first + PIECE_DAYS + 1]
            piece = Piece(order.variants[variant], order.course, store.run, store.began, bounds, seam)
            running[executor.submit(live, piece)] = variant

    # Those with the most to plan first, so that none of them is left alone in the end.
    for variant in sorted(order.variants, key=lambda name: len(order.variants[name].devices), reverse=True):
        done[variant] = store.progress(variant)[0]
        on_days(variant, done[variant])
    for variant in done:
        go_on(variant)
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            variant = running.pop(future)
            lived = future.result()
            if lived.source != source_digest():
                raise RunFailedError("a worker runs another version of this program or its libraries")
            store.add(variant, done[variant], lived.days, lived.seam)
            done[variant] += len(lived.days)
            on_days(variant, len(lived.days))
            go_on(variant)


def _warm(order: YearOrder) -> None:
    """Loads the libraries, and builds the optimisation models of the variants."""
    from twinswarm.study.pool import warm

    warm(order.course, [*order.variants.values()])
