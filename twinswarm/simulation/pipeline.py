"""A run from its order to its result: conduct it, replay its reference, analyse both."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.cycle import Course
from schemas.messages import Phase
from schemas.participant import Received
from schemas.site import Site
from services.analysis.result import RunResult, analyse
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from twinswarm.simulation.baseline import is_its_own_reference, reference_of
from twinswarm.simulation.baseline_run import record_replay
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.variants import Reference, StorageChoice, with_storage

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm

OnPhase = Callable[[int, Phase, datetime], None]
OnMessage = Callable[[Received], None]


@dataclass(frozen=True)
class Order:
    """The order of a run. ``site`` is the whole site, under its case; ``storage`` says what takes part."""

    site: Site
    course: Course
    storage: StorageChoice
    reference: Reference
    history: Path
    algorithm: "Algorithm | None" = None
    """What the EMS plans with in the place of the optimiser."""

    @property
    def taking_part(self) -> Site:
        return with_storage(self.site, self.storage, self.reference)


def conduct_in_memory(order: Order, on_phase: OnPhase | None = None, on_message: OnMessage | None = None) -> RunResult:
    """Runs the day and its reference in this process. Raises TwinswarmError."""
    began = time.perf_counter()
    # Without a broker there is nobody to whom a message is acknowledged, so nothing that an fsync would promise.
    with closing(HistoryStore(order.history, durable=False)) as store:
        run = run_in_memory(order.taking_part, order.course, Recording(store), on_phase, on_message, order.algorithm)
    return settle(order.history, run, order.reference, time.perf_counter() - began)


def settle(history_file: Path, run: str, reference: Reference, wall_s: float) -> RunResult:
    """Replays the reference of a recorded run and compares. ``wall_s`` is what the run itself took."""
    # The writer is closed last: a reader cannot fold the write-ahead log into the file.
    with closing(HistoryStore(history_file, durable=False)) as store, closing(SqliteHistory(history_file)) as history:
        if is_its_own_reference(history, run, reference):
            reference_run = run
        else:
            reference_run = record_replay(reference_of(history, run, reference), run, store)
        return analyse(history, run, history, reference_run, reference.value, wall_s)
