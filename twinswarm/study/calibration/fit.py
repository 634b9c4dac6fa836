"""Bounded least squares over named parameters of a site, every point a run of all days on the loop itself.

`scipy.optimize.least_squares` (trust region, reflective bounds) on parameters scaled to their bounds, then the search
of `surface` from where it ended. A day is piecewise linear in its parameters, with small jumps where the optimiser
chooses another plan; so differences are taken over a step that is wide against those jumps, and not over the machine's
precision.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from schemas.errors import Code, InputError
from sites.description import SiteDescription
from twinswarm.study.calibration.state import Point, State
from twinswarm.study.calibration.surface import FIRST_RADIUS, Array, Known, search
from twinswarm.study.calibration.target import Fitting, Target
from twinswarm.study.orders import site_of, table_days
from twinswarm.study.pool import Pool
from twinswarm.study.published import STORAGES, published
from twinswarm.study.result import Table, table_of
from twinswarm.study.study import StudyOrder, pool_of

DIFFERENCE_STEP = 0.04
"""Part of the distance between a parameter's bounds."""
AT_BOUND = 1e-3
"""So near a bound, in parts of that distance, a parameter counts as lying at it."""
WEAK = 0.03
"""Directions whose singular value is below this part of the greatest move the table by next to nothing."""


class _EnoughError(Exception):
    """The agreed number of points has been looked at."""


@dataclass(frozen=True)
class Fitted:
    """Where a calibration got to."""

    fitting: Fitting
    target: Target
    cases: tuple[str, ...]
    start: Point
    best: Point
    points: int
    converged: bool
    jacobian: Array | None
    """Of the residuals by the parameters in parts of their bounds, about the best point as all points tell it; shape
    (residuals, parameters); None: not enough points for one."""

    @property
    def site(self) -> SiteDescription:
        return self.fitting.with_values(self.best.values)

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Parameters that wanted to go further."""
        found = []
        for parameter, value in zip(self.fitting.parameters, self.best.values, strict=True):
            part = (value - parameter.least) / (parameter.most - parameter.least)
            if not AT_BOUND < part < 1 - AT_BOUND:
                found.append(parameter.name)
        return tuple(found)

    @property
    def singular_values(self) -> tuple[float, ...]:
        return () if self.jacobian is None else tuple(np.linalg.svd(self.jacobian, compute_uv=False).tolist())

    @property
    def weak_directions(self) -> tuple[dict[str, float], ...]:
        """Combinations of parameters that the data cannot tell: by parameter its part of them, where it is large."""
        if self.jacobian is None:
            return ()
        _, strengths, directions = np.linalg.svd(self.jacobian, full_matrices=True)
        names = [parameter.name for parameter in self.fitting.parameters]
        found = []
        for place, direction in enumerate(directions):
            strength = strengths[place] if place < len(strengths) else 0.0
            if strength < WEAK * strengths[0]:
                large = min(0.3, float(np.abs(direction).max()))
                found.append(
                    {name: float(part) for name, part in zip(names, direction, strict=True) if abs(part) >= large}
                )
        return tuple(found)


def residuals_of(table: Table, target: Target) -> list[float]:
    """Differences of money, then of factors, each in its scale, by case and storage."""
    money, factors = [], []
    for cell in table.cells:
        assert cell.difference_eur_per_day is not None
        money.append(cell.difference_eur_per_day / target.scale_eur_per_day)
        if cell.published_psf is not None:
            # Without a single sample there is no factor: as wrong as one of 0.
            factors.append(((cell.psf.psf or 0.0) - cell.published_psf) / target.scale_psf)
    return [*money, *factors]


def calibrate(
    site: SiteDescription,
    target: Target,
    state: State,
    most_points: int,
    processes: int = 1,
    on_point: Callable[[Point, State], None] | None = None,
) -> Fitted:
    """Looks at ``most_points`` points at most, those of ``state`` included. ``on_point`` is told of each new one.
    Raises InputError.
    """
    cases = tuple(case for case in sorted(site.cases) if case in published())
    if not cases:
        raise InputError.one("SITE", "has none of the study's cases", site.site, code=Code.UNKNOWN)
    fitting = Fitting(site, target.parameter)
    fitting.check_bounds()
    order = StudyOrder.of(site, target.reference, cases)
    least = np.array([parameter.least for parameter in target.parameter])
    width = np.array([parameter.most for parameter in target.parameter]) - least
    known = Known()

    with pool_of(order, processes) as pool:

        def residuals(parts: Array) -> Array:
            values = [float(value) for value in least + np.clip(parts, 0.0, 1.0) * width]
            point = state.find(values)
            if point is None:
                if len(state.points) >= most_points:
                    raise _EnoughError
                point = _point(fitting, target, cases, values, pool)
                state.add(point)
                if on_point is not None:
                    on_point(point, state)
            found = np.array([*point.residuals, *target.held(values)])
            known.add((np.array(values) - least) / width, found)
            return found

        latest: list[Array] = []

        def jacobian(parts: Array) -> Array:
            here = residuals(parts)
            columns = []
            for place in range(len(parts)):
                # Inwards, so that no bound is crossed.
                step = DIFFERENCE_STEP if parts[place] + DIFFERENCE_STEP <= 1 else -DIFFERENCE_STEP
                moved = parts.copy()
                moved[place] += step
                columns.append((residuals(moved) - here) / step)
            latest.append(np.stack(columns, axis=1))
            return latest[-1]

        start = (np.array([parameter.start for parameter in target.parameter]) - least) / width
        start = np.clip(start, 1e-6, 1 - 1e-6)  # strictly inside, as the algorithm wants it
        converged = False
        try:
            # What gains less than a tenth a step is left to the search, whose steps need one point and no Jacobian.
            least_squares(residuals, start, jacobian, bounds=(0.0, 1.0), method="trf", xtol=1e-3, ftol=0.1, gtol=1e-4)
            search(residuals, known, latest[-1])
            converged = True
        except _EnoughError:
            pass
    best = state.best
    if best is None:
        raise InputError.one("--points", "at least one point has to be looked at", str(most_points), code=Code.RANGE)
    return Fitted(
        fitting=fitting,
        target=target,
        cases=cases,
        start=state.points[0],
        best=best,
        points=len(state.points),
        converged=converged,
        # Of the table only: what holds a parameter is no datum that identifies it.
        jacobian=known.surface(latest[-1], FIRST_RADIUS)[1].jacobian[: len(best.residuals)] if latest else None,
    )


def _point(fitting: Fitting, target: Target, cases: tuple[str, ...], values: list[float], pool: Pool) -> Point:
    site = fitting.with_values(values)
    timed = pool.run({key: site_of(site, key, target.reference) for key in table_days(cases)})
    table = table_of({key: found.day for key, found in timed.items()}, cases)
    assert table.rmse_eur_per_day is not None
    psf = {cell.storage.value: cell.psf.psf or 0.0 for cell in table.cells if cell.published_psf is not None}
    return Point(values, residuals_of(table, target), table.rmse_eur_per_day, table.signs_matched, psf)


__all__ = ["STORAGES", "Fitted", "calibrate", "residuals_of"]
