"""How the optimisation grows with the site where it needs binaries, against every binary in the same run.

Run: ``python benchmarks/ems_scale.py [--case NAME] [--size N] [--naive-s SECONDS]``. A row is one plan of a day of
96 quarter-hours from a cold start: seconds of processor time, linopy's model included but not its import, the gap that
is proved, and the binaries. Beside it the naive way: the study's two flags for each pair of flows in each step, import
and export exclusive in each step, the rest as in ours, and all of it left to HiGHS. It is stopped after ``--naive-s``
of wall time.

- ``night``: a night whose sale price lies above the purchase price; a BESS and V2G cars.
- ``negative``: purchase price = sale price, with six negative hours; a BESS and V2G cars.
- ``smallest``: one-way cars with a smallest power of 4.14 kW behind a limit, as they come in the morning.
"""

import argparse
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import highspy
import numpy as np

from services.ems.compile import compiled
from services.ems.highs import Budget, mixed_integer_program
from services.ems.instance import Instance, RequiredBinaries, required_binaries
from services.ems.problem import BessUnit, ChargerUnit, Group, Problem, PvUnit, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.stores import least_slots, places_of, stores_of
from services.ems.structure import structure_of
from services.ems.terms import TERMS

START = datetime(2025, 5, 11, 23, tzinfo=UTC)
STEPS, STEP_S = 96, 900
HOURS = [(23 + step / 4) % 24 for step in range(STEPS)]


def _site(cars: int, *, v2g: bool, purchase: list[float], sale: list[float]) -> Problem:
    """A car park with a load and PV in proportion. Every car has its own hours and SOC."""
    chance = random.Random(cars)
    size = max(cars, 1)
    chargers = []
    for number in range(cars):
        begin = START + timedelta(minutes=15 * chance.randint(-8, 40) + chance.randint(0, 14))
        stay = Stay(
            vehicle=f"car{number}",
            arrival=begin,
            departure=begin + timedelta(minutes=chance.randint(360, 1200)),
            capacity_kwh=60.0,
            energy_kwh=chance.uniform(12, 40),
            target_kwh=48.0,
            energy_min_kwh=12.0,
            energy_max_kwh=54.0,
            max_charge_kw=11.0,
            max_discharge_kw=11.0 if v2g else 0.0,
        )
        back = 11.0 if v2g else 0.0
        chargers.append(ChargerUnit(f"ev{number}", 11.0, back, 0.0 if v2g else 4.14, 0.94, 0.94, (stay,)))
    pv_kw = tuple(4.0 * size * max(0.0, math.sin((hour - 6) / 14 * math.pi)) for hour in HOURS)
    load = tuple(0.5 + 1.5 * size * (0.6 + 0.4 * math.sin((hour - 8) / 12 * math.pi)) for hour in HOURS)
    groups = () if v2g else (Group(tuple(unit.device for unit in chargers), 5.0 * size),)
    return Problem(
        start=START,
        step_s=STEP_S,
        steps=STEPS,
        load_kw=load,
        losses_kw=(0.2,) * STEPS,
        purchase_eur_per_kwh=tuple(purchase),
        sale_eur_per_kwh=tuple(sale),
        import_limit_kw=20.0 + 20.0 * size,
        export_limit_kw=20.0 + 20.0 * size,
        flat_reference_kw=10.0 * size,
        bess=(BessUnit("bess", 13.5, 5.0, 5.0, 0.95, 0.95, 1.35, 12.15, 6.75),) if v2g else (),
        chargers=tuple(chargers),
        pv=(PvUnit("pv", 5.0 * size, True, pv_kw),),
        groups=groups,
    )


def night(cars: int) -> Problem:
    purchase = [0.07 if hour < 6 or hour >= 23 else 0.28 for hour in HOURS]
    return _site(cars, v2g=True, purchase=purchase, sale=[0.15] * STEPS)


def negative(cars: int) -> Problem:
    price = [0.12 + 0.06 * math.sin((hour - 4) / 12 * math.pi) - (0.3 if 10 <= hour < 16 else 0) for hour in HOURS]
    hourly = [round(price[step - step % 4], 4) for step in range(STEPS)]
    return _site(cars, v2g=True, purchase=hourly, sale=hourly)


def smallest(cars: int) -> Problem:
    price = [round(0.2 + 0.1 * math.sin((hour - 14) / 12 * math.pi), 2) for hour in HOURS]
    return _site(cars, v2g=False, purchase=price, sale=[0.08] * STEPS)


CASES: dict[str, tuple[Callable[[int], Problem], tuple[int, ...]]] = {
    "night": (night, (0, 1, 4, 10, 50)),
    "negative": (negative, (4, 10, 50)),
    "smallest": (smallest, (10, 50, 200, 1000)),
}


@dataclass(frozen=True)
class Row:
    seconds: float
    gap: float
    binaries: int
    total_eur: float
    status: str


def ours(problem: Problem) -> Row:
    solver = Solver()
    compiled.cache_clear()
    begin = time.process_time()
    solution = solver.solve(problem)
    seconds = time.process_time() - begin
    if not isinstance(solution, Solution):
        return Row(seconds, math.inf, 0, math.nan, solution.reason)
    status = "optimal" if solution.proven else "incumbent"
    return Row(seconds, solution.mip_gap, solution.binaries, solution.total_eur, status)


def naive(problem: Problem, most_s: float) -> Row:
    """Every flag in every step, and HiGHS as it is."""
    begin = time.process_time()
    places = places_of(problem)
    slots = least_slots(places)
    stores = stores_of(problem, places, slots)
    least = required_binaries(problem, stores)
    pairs = np.array([(store.charge_max_kw > 0) & (store.discharge_max_kw > 0) for store in stores], dtype=bool)
    every = RequiredBinaries(least.store | pairs, np.ones(problem.steps, dtype=bool))
    instance = Instance(problem, stores, slots, every)
    model = compiled(structure_of(instance, TERMS), TERMS)
    data = model.data(instance)
    highs = mixed_integer_program(Budget(nodes=2**31 - 1), model, data)
    highs.setOptionValue("time_limit", most_s)
    highs.run()
    seconds = time.process_time() - begin
    info = highs.getInfo()
    status = "optimal" if highs.getModelStatus() == highspy.HighsModelStatus.kOptimal else "incumbent"
    return Row(seconds, info.mip_gap, int(data.whole.sum()), info.objective_function_value / 1000, status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=sorted(CASES), help="only this case")
    parser.add_argument("--size", type=int, help="only this number of cars")
    parser.add_argument("--naive-s", type=float, default=30.0, help="most seconds for the naive formulation; 0: none")
    arguments = parser.parse_args()
    print(
        "case        cars  seconds      gap  binaries  status      total [€] | naive: seconds      gap  binaries  ratio"
    )
    ours(night(0))  # what linopy imports when it is first used is no part of a plan
    for name, (case, sizes) in CASES.items():
        if arguments.case not in (None, name):
            continue
        for cars in sizes if arguments.size is None else (arguments.size,):
            problem = case(cars)
            row = ours(problem)
            line = f"{name:10} {cars:5d} {row.seconds:8.2f} {row.gap:8.1e} {row.binaries:9d}  {row.status:9}"
            line += f" {row.total_eur:11.4f}"
            if arguments.naive_s > 0:
                other = naive(problem, arguments.naive_s)
                more = "" if other.status == "optimal" else ">"
                line += f" | {more + format(other.seconds, '.2f'):>14} {other.gap:8.1e} {other.binaries:9d}"
                line += f" {more + format(other.seconds / row.seconds, '.0f'):>6}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
