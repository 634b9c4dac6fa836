"""The months of a window: what is imported in one of them is no peak of the other.

Month 0 is that of the first step, 1 the next one, where the window reaches into it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Value
from services.ems.instance import Instance
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.stores import Array

OfInstance = Callable[[Instance], float]


def at_most_peak(month: int, months: int) -> Value:
    """The right side of import - peak <= 0, in the steps of a month; in others the row is free."""
    if months == 1:
        return 0.0

    def right_side(instance: Instance) -> Array:
        problem = instance.problem
        starts_s = np.arange(problem.steps, dtype=np.float64) * problem.step_s
        return np.where(is_of(month, problem, starts_s), 0.0, np.inf)

    return right_side


def paid_kw(month: int) -> OfInstance:
    """Of `services.ems.problem.Problem.paid_kw`."""
    return lambda instance: instance.problem.paid_kw(month)


def peak_so_far_kw(month: int) -> OfInstance:
    """The highest import of the month so far; a month that has not begun has none."""
    return lambda instance: instance.problem.month_peak_kw if month == 0 else 0.0


def peaks_kw(solution: Solution, names: Sequence[str]) -> list[float]:
    """By month; empty where they do not stand in the model."""
    peaks = (solution.of(name) for name in names)
    return [float(peak) for peak in peaks if peak.ndim == 0]


def is_of(month: int, problem: Problem, starts_s: Array) -> NDArray[np.bool_]:
    """Which steps are of a month; ``starts_s``: their starts, from the window's on [s]."""
    end = problem.month_end
    over_s = np.inf if end is None else (end - problem.start).total_seconds()
    found: NDArray[np.bool_] = (starts_s >= over_s) == bool(month)
    return found
