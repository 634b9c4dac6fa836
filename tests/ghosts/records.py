"""A record of several runs of the hall with a battery that does not exist."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from schemas.cycle import Course
from services.history.store import HistoryStore
from tests.ghosts.hall import DAY, IDEAL, hall
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of

HOUR = timedelta(hours=1)


def record_runs(path: Path, *spans: tuple[int, int]) -> list[str]:
    """Runs from so many hours after midnight until so many, in this order. Returns their names."""
    site = hall({"newbess": IDEAL})
    site = site.model_copy(update={"tariff": site.tariff.model_copy(update={"demand_charge_eur_per_kw": 0.5})})
    midnight, runs = course_of(site, DAY).t0, []
    for start, end in spans:
        course = Course(midnight + start * HOUR, midnight + end * HOUR, 3600)
        with closing(HistoryStore(path)) as store:
            runs.append(run_in_memory(site, course, Recording(store)))
    return runs
