"""The run that a recorded one is compared with: the run itself where it followed the policy, else a replay."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from services.history.reader import History
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from twinswarm.simulation.baseline import Replay, is_its_own_reference, reference_of
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.variants import Reference


class BaselineRun(NamedTuple):
    """Where the reference is recorded."""

    history: History
    run: str


@contextmanager
def baseline_run(
    history: History, run: str, reference: Reference, replay: Replay | None = None
) -> Iterator[BaselineRun]:
    """The reference of a run, replayed into a history that is thrown away; the run's own is only read.

    ``replay`` None: of the run as far as ``history`` goes. Raises TwinswarmError.
    """
    if is_its_own_reference(history, run, reference):
        yield BaselineRun(history, run)
        return
    with TemporaryDirectory(prefix="twinswarm-") as folder:
        file = Path(folder) / "reference.sqlite"
        with closing(HistoryStore(file, durable=False)) as store:
            replayed = record_replay(replay or reference_of(history, run, reference), run, store)
        with closing(SqliteHistory(file)) as replays:
            yield BaselineRun(replays, replayed)


def record_replay(replay: Replay, run: str, store: HistoryStore) -> str:
    """Lives the replay of ``run`` through in memory, and returns the identifier of the recorded run."""
    return run_in_memory(replay.site, replay.course, Recording(store, f"reference:{run}"))
