"""A search by response surface, for what least squares by differences leaves: factors that move in stairs.

Money is nearly linear in the parameters; a peak-shaving factor moves by a hundredth whenever one more quarter comes to
zero, so that a difference over a small step tells nothing of where it goes. Here every point that was ever looked at
tells: a weighted linear regression of all residuals about the best point (ridge towards the last Jacobian by
differences), of which the box-bounded least squares within a trust region give the next point. Every other point takes
the slopes not at their mean but drawn from what the points leave open (Thompson sampling), so that the search learns
where it knows least. (Linear models by regression in a trust region: Conn, Scheinberg and Vicente, "Introduction to
Derivative-Free Optimization", SIAM 2009, chapters 4 and 10.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

Array = NDArray[np.float64]

FIRST_RADIUS = 0.15
"""Radius of the trust region, in parts of the distance between the bounds; the search is over below `LAST_RADIUS`."""
LAST_RADIUS = 0.01
WIDER, NARROWER = 1.5, 0.93
PROGRESS = 0.005
"""A point counts as a success where the sum of squares falls by more than this part of it."""
RIDGE = 0.02
"""Scatter of a residual over the uncertainty of its slopes, squared; both in their scales."""
SHORT = 0.05
"""Weight of a short step: of equal ones the nearest is taken."""


@dataclass(frozen=True)
class Surface:
    """Residuals near a point: ``constant + jacobian @ (parts - centre)``; shapes (r,), (r, p)."""

    constant: Array
    jacobian: Array
    scatter: Array
    """Scatter of each residual about the surface, shape (r,)."""
    spread: Array
    """A square root of the covariance of constant and slopes for a scatter of one; shape (1 + p, 1 + p)."""

    def drawn(self, random: np.random.Generator) -> "Surface":
        """One of the surfaces that the points leave possible."""
        wander = (self.spread @ random.standard_normal((self.spread.shape[0], len(self.scatter)))) * self.scatter
        return Surface(self.constant + wander[0], self.jacobian + wander[1:].T, self.scatter, self.spread)

    def step(self, least: Array, most: Array) -> Array:
        """That makes the sum of squares least, between ``least`` and ``most``."""
        count = self.jacobian.shape[1]
        system = np.vstack([self.jacobian, SHORT * np.eye(count)])
        wanted = np.concatenate([-self.constant, np.zeros(count)])
        found: Array = lsq_linear(system, wanted, (least, most)).x
        return found


def surface_at(centre: Array, parts: Array, residuals: Array, prior: Array, radius: float) -> Surface:
    """Through the points ``parts`` (n, p) with ``residuals`` (n, r); near ones count, in units of ``radius``."""
    moved = parts - centre
    count = moved.shape[1]
    weight = np.exp(-0.5 * np.mean(moved**2, axis=1) / radius**2)
    design = np.hstack([np.ones((len(moved), 1)), moved])
    start = np.vstack([residuals[np.argmax(weight)], prior.T])
    beyond = residuals - design @ start
    normal = (design.T * weight) @ design + RIDGE * np.diag([1e-3, *np.ones(count)])
    change = np.linalg.solve(normal, (design.T * weight) @ beyond)
    left = beyond - design @ change
    scatter = np.sqrt((weight @ left**2) / weight.sum())
    spread = np.linalg.cholesky(np.linalg.inv(normal))
    found = start + change
    return Surface(found[0], found[1:].T, scatter, spread)


class Known:
    """All points of the way so far, each once: parts (n, p), residuals (n, r) and costs (n,)."""

    def __init__(self) -> None:
        self._points: dict[tuple[float, ...], Array] = {}

    def __len__(self) -> int:
        return len(self._points)

    def add(self, parts: Array, residuals: Array) -> None:
        self._points.setdefault(tuple(parts.tolist()), residuals)

    @property
    def parts(self) -> Array:
        return np.array(list(self._points))

    @property
    def residuals(self) -> Array:
        return np.stack(list(self._points.values()))

    @property
    def costs(self) -> Array:
        costs: Array = 0.5 * np.sum(self.residuals**2, axis=1)
        return costs

    def surface(self, prior: Array, radius: float) -> tuple[Array, Surface]:
        """The best point, and the surface about it."""
        best = self.parts[int(np.argmin(self.costs))]
        return best, surface_at(best, self.parts, self.residuals, prior, radius)


def search(look: Callable[[Array], Array], known: Known, prior: Array) -> None:
    """Goes on from the best of ``known`` until the trust region is narrow. ``look`` adds each point to ``known``.

    Its way is a function of the points: nothing else, no clock and no seed from outside, decides where it goes.
    """
    radius = FIRST_RADIUS
    while radius > LAST_RADIUS:
        before = float(known.costs.min())
        best, surface = known.surface(prior, radius)
        if len(known) % 2:
            surface = surface.drawn(np.random.default_rng(len(known)))
        moved = surface.step(np.maximum(-radius, -best - 1e-9), np.minimum(radius, 1.0 - best + 1e-9))
        look(np.clip(best + moved, 0.0, 1.0))
        success = float(known.costs.min()) < (1 - PROGRESS) * before
        radius = min(radius * (WIDER if success else NARROWER), 0.5)
