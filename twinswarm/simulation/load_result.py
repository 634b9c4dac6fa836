"""The result of a run that was recorded before, its history only read."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from services.analysis.result import RunResult, analyse
from services.history.sqlite import History, open_history
from services.history.store import HistoryStore
from twinswarm.simulation.baseline import reference_of
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.variants import Reference


def review(history_url: str, run: str, reference: Reference) -> RunResult:
    """Replays the reference into a history that is thrown away, and compares. Raises TwinswarmError."""
    with closing(open_history(history_url)) as history, TemporaryDirectory(prefix="twinswarm-") as folder:
        info = history.info(run)
        replay = reference_of(history, run, reference)
        replayed = Path(folder) / "reference.sqlite"
        with closing(HistoryStore(replayed, durable=False)) as store:
            reference_run = run_in_memory(replay.site, replay.course, Recording(store, f"reference:{run}"))
        wall_s = None if info.ended is None else (info.ended - info.started).total_seconds()
        with closing(History(replayed)) as references:
            return analyse(history, run, references, reference_run, reference.value, wall_s)
