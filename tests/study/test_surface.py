"""The response surface recovers what is linear, and its search gets down stairs on which differences see nothing."""

import numpy as np
import pytest

from twinswarm.study.calibration.surface import Array, Known, search, surface_at

RANDOM = np.random.default_rng(1)
SLOPES = RANDOM.normal(size=(7, 4))
OFFSET = 0.3 * RANDOM.normal(size=7) - SLOPES @ [0.15, 0.8, 0.7, 0.25]


def linear(parts: Array) -> Array:
    moved: Array = OFFSET + SLOPES @ parts
    return moved


def test_a_linear_map_is_recovered_whatever_was_believed_of_it() -> None:
    centre = np.full(4, 0.5)
    parts = RANDOM.uniform(0.3, 0.7, size=(400, 4))
    residuals = np.stack([linear(part) for part in parts])
    believed = np.zeros((7, 4))
    surface = surface_at(centre, parts, residuals, believed, radius=0.3)
    assert surface.jacobian == pytest.approx(SLOPES, abs=0.02)
    assert surface.constant == pytest.approx(linear(centre), abs=0.005)


def test_without_points_aside_the_belief_stays() -> None:
    centre = np.full(4, 0.5)
    believed = RANDOM.normal(size=(7, 4))
    surface = surface_at(centre, centre[None], linear(centre)[None], believed, radius=0.1)
    assert surface.jacobian == pytest.approx(believed)
    assert surface.constant == pytest.approx(linear(centre))


def test_a_step_is_the_least_sum_of_squares_and_stays_within_its_limits() -> None:
    centre = np.full(4, 0.5)
    parts = RANDOM.uniform(0.0, 1.0, size=(400, 4))
    surface = surface_at(centre, parts, np.stack([linear(part) for part in parts]), SLOPES, radius=1.0)
    limit = np.full(4, 0.1)
    step = surface.step(-limit, limit)
    assert np.all(np.abs(step) <= 0.1 + 1e-9)
    corner = [centre + 0.1 * signs for signs in RANDOM.uniform(-1, 1, size=(500, 4))]
    assert np.sum(linear(centre + step) ** 2) <= min(np.sum(linear(one) ** 2) for one in corner) + 1e-3


def stairs(parts: Array) -> Array:
    """Money, linear in the parameters, and factors that move by a step of 0.5, off by half of it at most."""
    smooth = linear(parts)
    return np.concatenate([smooth[:4], np.round(smooth[4:] / 0.5) * 0.5])


def searched() -> Known:
    """From a point at which small differences of the stairs are all zero, and so is the belief in their slopes."""
    start = np.full(4, 0.5)
    known = Known()

    def look(parts: Array) -> Array:
        known.add(parts, stairs(parts))
        return stairs(parts)

    look(start)

    prior = np.vstack([SLOPES[:4], np.zeros((3, 4))])
    search(look, known, prior)
    return known


def test_stairs_are_gone_down_where_differences_are_zero() -> None:
    known = searched()
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 21)] * 4), axis=-1).reshape(-1, 4)
    costs = np.sort([0.5 * np.sum(stairs(parts) ** 2) for parts in grid])
    assert known.costs[0] > 1.5 * costs[0], "the start is no answer"
    assert known.costs.min() < 1.1 * costs[0], "as good as the best of 194,481 points, within a tenth"
    assert len(known.parts) < 400
    assert all(np.all((parts >= 0) & (parts <= 1)) for parts in known.parts)


def test_its_way_is_a_function_of_the_points() -> None:
    first, second = searched(), searched()
    assert first.parts.tolist() == second.parts.tolist()
