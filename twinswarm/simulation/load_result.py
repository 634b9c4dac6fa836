"""The result of a run that was recorded before, its history only read."""

from contextlib import closing

from services.analysis.result import RunResult, analyse
from twinswarm.simulation.baseline_run import baseline_run
from twinswarm.simulation.histories import open_history
from twinswarm.simulation.variants import Reference


def review(history_url: str, run: str, reference: Reference) -> RunResult:
    """Replays the reference into a history that is thrown away, and compares. Raises TwinswarmError."""
    with closing(open_history(history_url)) as history:
        info = history.info(run)
        wall_s = None if info.ended is None else (info.ended - info.started).total_seconds()
        with baseline_run(history, run, reference) as baseline:
            return analyse(history, run, baseline.history, baseline.run, reference.value, wall_s)
