"""The months of a window: what is imported in one of them is no peak of the other.

Month 0 is that of the first step, 1 the next one, where the window reaches into it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Value
from services.ems.instance import Instance
from services.ems.problem import Later, Problem
from services.ems.stores import Array

OfProblem = Callable[[Instance], float]


def at_most_peak(month: int, months: int) -> Value:
    """The right side of import - peak <= 0, in the steps of a month; in others the row is free."""
    if months == 1:
        return 0.0
    return lambda instance: np.where(_is_of(month, instance.problem, _starts_s(instance.problem)), 0.0, np.inf)


def paid_kw(month: int) -> OfProblem:
    """Of `services.ems.problem.Problem.paid_kw`."""
    return lambda instance: instance.problem.paid_kw(month)


def peak_so_far_kw(month: int) -> OfProblem:
    """The highest import of the month so far; a month that has not begun has none."""
    return lambda instance: instance.problem.month_peak_kw if month == 0 else 0.0


def relief(month: int, peak_kw: OfProblem) -> Callable[[Instance], Array]:
    """What does not count of import + load <= peak in the steps after the window [kW], by later step.

    A load above the peak that is there already (``peak_kw``) does not raise it: batteries, which rest after the window,
    may cover it when its time has come. In steps of another month the row is free: no import is above the connection's
    limit.
    """

    def relief_kw(instance: Instance) -> Array:
        load_kw = np.maximum(np.array(_later(instance).net_load_kw), 0.0)
        above_kw = np.maximum(load_kw - peak_kw(instance), 0.0)
        all_kw = load_kw + instance.problem.import_limit_kw
        found: Array = np.where(_later_is_of(month, instance), above_kw, all_kw)
        return found

    return relief_kw


def _later(instance: Instance) -> Later:
    assert instance.problem.later is not None
    return instance.problem.later


def _later_is_of(month: int, instance: Instance) -> NDArray[np.bool_]:
    problem, later = instance.problem, _later(instance)
    begin_s = (problem.end - problem.start).total_seconds()
    return _is_of(month, problem, begin_s + np.arange(later.steps, dtype=np.float64) * (later.step_h * 3600))


def _starts_s(problem: Problem) -> Array:
    return np.arange(problem.steps, dtype=np.float64) * problem.step_s


def _is_of(month: int, problem: Problem, starts_s: Array) -> NDArray[np.bool_]:
    """``starts_s``: of steps, from the window's start on [s]."""
    end = problem.month_end
    over_s = np.inf if end is None else (end - problem.start).total_seconds()
    found: NDArray[np.bool_] = (starts_s >= over_s) == bool(month)
    return found
