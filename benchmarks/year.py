"""A year's days: how many a second on one and two cores and on a Dask engine, and memory against their number.

    python benchmarks/year.py [DAYS]

The default site with the variants none, BESS, V2G and both. Days are those of one variant. Each way is a process of its
own. Memory is the resident set of a process that lives through the days of one variant; where the process can be taken
up at any day, it is what a year needs. A machine that has other work gives less: CPU seconds stand beside the others.
"""

import resource
import subprocess
import sys
import time
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime

from sites.loader import load_site
from twinswarm.simulation.variants import Reference
from twinswarm.year.engine import PIECE_DAYS, dask_workers, live_through_year, local_workers
from twinswarm.year.order import YearOrder, year_order
from twinswarm.year.store import passing_store
from twinswarm.year.stream import Piece, live

SITE, VARIANTS, FIRST = "fit_g2v", "none,bess,v2g,both", date(2024, 1, 1)
YEAR_DAYS = 366


def order_of(days: int) -> YearOrder:
    return year_order(load_site(SITE), Reference.UNCONTROLLED, FIRST, days, VARIANTS)


def way(name: str, days: int) -> None:
    """Prints the line of one way: ``1``, ``2`` processes, or ``dask1``, ``dask2`` workers."""
    order, workers = order_of(days), int(name[-1])
    if not name.startswith("dask"):
        timed(f"{name} process{'es' * (workers > 1)}", order, local_workers(workers, order))
        return
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as cluster:
        timed(f"Dask, {workers} worker{'s' * (workers > 1)}", order, dask_workers(cluster.scheduler_address))


def timed(name: str, order: YearOrder, workers: AbstractContextManager[Executor]) -> None:
    with passing_store(order) as store, workers as executor:
        began = time.perf_counter()
        live_through_year(order, store, executor, lambda _name, _days: None)
        wall_s = time.perf_counter() - began
    lived = order.days * len(order.variants)
    year_s = YEAR_DAYS * len(order.variants) / (lived / wall_s)
    print(f"{name:16s} {lived / wall_s:6.2f} days/s, a year of {len(order.variants)} variants in {year_s:5.0f} s")


def memory(days: int) -> None:
    """Prints the peak of this process after so many days of the last variant, piece by piece."""
    order = order_of(days)
    name = [*order.variants][-1]
    began, cpu, seam = datetime.now(UTC), time.process_time(), None
    for first in range(0, days, PIECE_DAYS):
        bounds = order.midnights[first : first + PIECE_DAYS + 1]
        seam = live(Piece(order.variants[name], order.course, "20260101T000000.000000Z-0000", began, bounds, seam)).seam
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu_s = (time.process_time() - cpu) / days
    print(f"{days:4d} days: peak {peak_mib:6.1f} MiB, state {len(seam or '') / 1024:.0f} KiB, {cpu_s:.3f} CPU s a day")


def main() -> None:
    if sys.argv[1:2] == ["--way"]:
        way(sys.argv[2], int(sys.argv[3]))
        return
    if sys.argv[1:2] == ["--memory"]:
        memory(int(sys.argv[2]))
        return
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 56
    for name in ("1", "2", "dask1", "dask2"):
        subprocess.run([sys.executable, __file__, "--way", name, str(days)], check=True)
    for count in (7, 14, 28, days, 2 * days):
        subprocess.run([sys.executable, __file__, "--memory", str(count)], check=True)


if __name__ == "__main__":
    main()
