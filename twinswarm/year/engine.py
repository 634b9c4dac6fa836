"""Who lives through the pieces of a year: this process, worker processes of this machine, or those of a Dask engine.

A variant's pieces follow one another, for each begins with the state that the one before left. The variants go side by
side. The result does not depend on who lives which piece.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from typing import Any

from schemas.errors import Code, InputError, RunFailedError
from twinswarm.study.pool import cores, workers
from twinswarm.year.order import YearOrder, source_digest
from twinswarm.year.store import YearStore
from twinswarm.year.stream import Lived, Piece, live

PIECE_DAYS = 7
"""So many days of each variant are lost when everything is killed."""
_CONNECT_S = 10

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
    """The workers of an engine that runs already, ``tcp://host:8786``. Raises InputError when it does not answer."""
    import distributed

    engine: Any = distributed  # it says nothing of its types
    try:
        client = engine.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        what = f"no Dask scheduler answers there: {error}"
        raise InputError.one("--dask", what, address, code=Code.NO_ANSWER) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise InputError.one("--dask", "this scheduler has no workers", address, code=Code.EMPTY)
        yield client.get_executor(pure=False)


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
