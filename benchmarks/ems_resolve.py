"""Re-solving a quarter on the persistent model, against building and solving it anew.

Run: ``python benchmarks/ems_resolve.py``. A day of the fitted site's size (4 V2G chargers, BESS, PV, 96 quarters),
both ways in the same run, so that the ratio does not depend on the machine.
"""

import math
import statistics
import time
from datetime import UTC, datetime, timedelta

from services.ems.compile import compiled
from services.ems.problem import BessUnit, ChargerUnit, Problem, PvUnit, Stay, Wish
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.storage import energy_kwh

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
STEPS, STEP_S = 96, 900
COLD_EVERY = 12
"""A few are enough."""


def problem_at(step: int, bess_kwh: float, cars_kwh: list[float]) -> Problem:
    start = T0 + timedelta(seconds=STEP_S * step)
    hours = [(step + i) / 4 for i in range(STEPS - step)]
    count = len(hours)
    sale = tuple(0.08 + 0.04 * math.sin(h / 24 * 4 * math.pi) + 1e-4 * h for h in hours)
    arrival, departure = T0 + timedelta(hours=9), T0 + timedelta(hours=18)
    stays = [
        (Stay("car", arrival, departure, 57.7, energy, 44.2, 33.2, 46.4, 23.2, 23.2),) if departure > start else ()
        for energy in cars_kwh
    ]
    return Problem(
        start=start,
        step_s=STEP_S,
        steps=count,
        load_kw=tuple(50 + 25 * max(0.0, math.sin((h - 6) / 14 * math.pi)) for h in hours),
        losses_kw=(1.5 + 0.01 * step,) * count,
        purchase_eur_per_kwh=tuple(price + 0.2 for price in sale),
        sale_eur_per_kwh=sale,
        import_limit_kw=500.0,
        export_limit_kw=500.0,
        flat_reference_kw=30.0,
        bess=(BessUnit("bess", 40, 16.1, 16.1, 0.945, 0.945, 3.9, 36.3, bess_kwh, (Wish(count - 1, 34.0),)),),
        chargers=tuple(ChargerUnit(f"ev{i}", 23.2, 23.2, 0.0, 0.9, 0.9, stay) for i, stay in enumerate(stays)),
        pv=(PvUnit("pv", 100, True, tuple(95 * max(0.0, math.sin((h - 5.5) / 14 * math.pi)) for h in hours)),),
    )


def timed(solver: Solver, problem: Problem) -> tuple[float, Solution]:
    begin = time.perf_counter()
    solution = solver.solve(problem)
    seconds = time.perf_counter() - begin
    assert isinstance(solution, Solution)
    return seconds, solution


def main() -> None:
    warm_s: list[float] = []
    cold_s: list[float] = []
    solver = Solver()
    bess, cars = 17.4, [40.2] * 4
    for step in range(STEPS):
        problem = problem_at(step, bess, cars)
        if step % COLD_EVERY == 1:
            compiled.cache_clear()
            seconds, cold = timed(Solver(), problem)
            cold_s.append(seconds)
            compiled.cache_clear()
        seconds, solution = timed(solver, problem)
        if step % COLD_EVERY == 1:
            # The cleared cache made this one compile its model again; it is not a re-solve.
            assert abs(solution.total_eur - cold.total_eur) < 1e-6
        elif step > 0:
            warm_s.append(seconds)
        energy = energy_kwh(solution)[:, 0].tolist()
        bess = energy[0]
        if 36 <= step < 72:
            cars = energy[1:]
    warm, cold_median = statistics.median(warm_s), statistics.median(cold_s)
    print(f"re-solve, update included: median {1e3 * warm:.2f} ms, worst {1e3 * max(warm_s):.2f} ms ({len(warm_s)})")
    print(f"build and cold solve:      median {1e3 * cold_median:.2f} ms ({len(cold_s)})")
    print(f"ratio: {cold_median / warm:.0f}")


if __name__ == "__main__":
    main()
