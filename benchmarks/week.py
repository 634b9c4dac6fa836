"""Seven days with sixteen chargers: the run with its baseline and report, against the time that they once took.

    python benchmarks/week.py [DAYS]

The site is `carpark` with its first four chargers twice, so that all sixteen have real charging sessions. The baseline
of the ratio is 250 s for seven days, the lower end of the 250 to 330 s that users reported of an earlier version; for
fewer days its share. The last part profiles where the run's own time goes.
"""

import cProfile
import pstats
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from schemas.cycle import Course
from schemas.site import Site
from services.analysis.report import write_report
from sites.loader import load_site
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice

BASELINE_S, BASELINE_DAYS = 250.0, 7
PARTS = {
    "EMS": ("services/ems/participant.py", "act"),
    "  of it HiGHS itself": ("~", "highspy._core.run"),
    "network twin": ("twin_devices/network/twin.py", "act"),
    "twins of devices": ("twin_devices/base.py", "act"),
}


def sixteen() -> Site:
    site = load_site("carpark")
    twins = {f"cp{number + 12}": site.devices[f"cp{number:02d}"] for number in range(1, 5)}
    return site.model_copy(update={"devices": {**site.devices, **twins}})


def spent(stats: pstats.Stats, file: str, function: str) -> float:
    """Cumulative seconds of a function, whoever called it."""
    entries = stats.stats.items()  # type: ignore[attr-defined]
    return sum(float(entry[3]) for name, entry in entries if name[0].endswith(file) and function in name[2])


def main() -> None:
    days = int(sys.argv[1]) if len(sys.argv) > 1 else BASELINE_DAYS
    site = sixteen()
    begin = course_of(site).t0
    course = Course(begin, begin + timedelta(days=days), site.time.step_s)
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        order = Order(site, course, StorageChoice.BOTH, Reference.SMART, Path(folder) / "history.sqlite")
        result = conduct_in_memory(order)
        settled = time.perf_counter()
        write_report(result, Path(folder))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    baseline = BASELINE_S * days / BASELINE_DAYS
    assert result.wall_s is not None
    print(
        f"{days} days, 16 chargers     {wall:7.1f} s wall  {cpu:7.1f} s CPU, baseline run, analysis and report included"
    )
    print(f"of it the run           {result.wall_s:7.1f} s wall, the report {wall - (settled - began):.1f} s")
    print(f"ratio to the baseline   {baseline / wall:7.1f}  ({baseline:.0f} s)")

    day = Course(begin, begin + timedelta(days=1), site.time.step_s)
    run_in_memory(site, day, None)
    profile = cProfile.Profile()
    profile.enable()
    run_in_memory(site, day, None)
    profile.disable()
    stats = pstats.Stats(profile)
    total = spent(stats, "runtime/in_memory.py", "advance")
    print("where a day goes (the profiler itself slows it down)")
    for name, (file, function) in PARTS.items():
        print(f"  {name:22s} {100 * spent(stats, file, function) / total:5.1f} %")


if __name__ == "__main__":
    main()
