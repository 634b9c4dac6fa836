"""The study's 24 days: wall time on all cores against one process, and where the time goes.

    python benchmarks/study.py [SITE]

The baseline is one process. The last part profiles one day (case 6, V2G and BESS) by process time; the parts are
disjoint, what is left over is the run loop and the twins' messages.
"""

import cProfile
import pstats
import sys

from sites.loader import load_description
from twinswarm.simulation.variants import StorageChoice
from twinswarm.study.day import live_through
from twinswarm.study.orders import Key, site_of
from twinswarm.study.pool import cores, warm
from twinswarm.study.study import SITES, StudyOrder, conduct_study, pool_of

PARTS = {
    "EMS": ("services/ems/participant.py", "act"),
    "  of it the problem, from what was told": ("services/ems/problem_builder/__init__.py", "problem_of"),
    "  of it HiGHS itself": ("~", "<method 'run' of 'highspy._core._Highs' objects>"),
    "network twin": ("twin_devices/network/twin.py", "act"),
    "  of it power flows": ("twin_devices/physics/prepared_flow.py", "calculate"),
    "twins of devices": ("twin_devices/base.py", "act"),
    "forecast and tariff": ("services/forecast/daily.py", "act"),
    "settlement": ("twinswarm/study/day.py", "day"),
}
RUNS = "highspy._core.run"


def spent(stats: pstats.Stats, file: str, function: str) -> float:
    """Cumulative seconds of a function, whoever called it."""
    entries = stats.stats.items()  # type: ignore[attr-defined]
    if function.startswith("<method 'run'"):
        return sum(float(entry[3]) for name, entry in entries if RUNS in name[2])
    return sum(float(entry[3]) for name, entry in entries if name[0].endswith(file) and name[2] == function)


def main() -> None:
    site = load_description(sys.argv[1] if len(sys.argv) > 1 else "fit_g2v")
    reference = {name: reference for reference, name in SITES.items()}.get(site.site.replace("-", "_"))
    order = StudyOrder.of(site, reference or next(iter(SITES)))

    with pool_of(order, processes=1) as alone:
        one = conduct_study(order, alone)
    with pool_of(order) as workers:
        all_cores = conduct_study(order, workers)
    for name, result in (("one process (baseline)", one), (f"{cores()} processes", all_cores)):
        per_step_ms = 1e3 * result.cpu_s / result.optimisations
        print(
            f"{name:24s} {result.wall_s:6.2f} s wall  {result.cpu_s:6.2f} s CPU  {per_step_ms:5.2f} ms CPU a step  "
            f"start {result.start_s:5.2f} s  {result.optimisations} optimisations"
        )
    print(f"ratio to the baseline    {one.wall_s / all_cores.wall_s:6.2f}")
    assert one.table == all_cores.table, "the number of processes changed a number"

    key = Key(order.cases[-1], StorageChoice.BOTH)
    chosen = site_of(site, key, order.reference)
    warm(order.course, [chosen])
    profile = cProfile.Profile()
    profile.enable()
    live_through(chosen, order.course)
    profile.disable()
    stats = pstats.Stats(profile)
    total = spent(stats, "twinswarm/study/day.py", "live_through")
    print(f"where a day goes (case {key.case}, V2G and BESS; the profiler itself slows it down)")
    for name, (file, function) in PARTS.items():
        print(f"  {name:40s} {100 * spent(stats, file, function) / total:5.1f} %")


if __name__ == "__main__":
    main()
