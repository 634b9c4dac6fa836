"""The compiled model: what the terms state in linopy, as one matrix and the places where a problem's numbers go in it.

A term states its columns, costs and rows once, in the manner of PyPSA's ``define_*`` functions: a left side of columns,
a sign, a right side, a name. The left side depends on the structure alone; linopy makes the matrix of it. Bounds, costs
and right sides depend on the problem: they are numbers or functions of an `Instance`, and `CompiledModel.data` writes
them into vectors for each problem, so that the solver's model is updated in place.

linopy takes some 0.2 s for a structure, so compiled models are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import linopy
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from services.ems.instance import Instance
from services.ems.stores import Array
from services.ems.structure import Structure

if TYPE_CHECKING:
    from services.ems.terms.base import Term

S = TypeVar("S")
Index = NDArray[np.int32]
Value = float | Callable[[Instance], ArrayLike]
"""A number, or what gives numbers for a problem: one per step still to come (last axis), or what broadcasts to that."""
Mask = Callable[[Instance], ArrayLike]
"""Where a row holds, or a column is a whole number: one truth value per step still to come."""

COST_SCALE = 1000.0
"""The solver sees thousandths of a euro: its dual tolerance of 1e-7 is then well below the tie-break's weights."""

MODELS_KEPT = 64
"""Compiled models kept in a process, the least recently used are dropped. A site has some three structures in a day (a
car that needs a second slot, prices that need binaries), so this serves about 20 sites in one process; what is dropped
costs some 0.2 s to compile again, what is kept takes 0.1 MB of a site with five stores and 2 MB of one with a hundred.
"""


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a named variable or equation stands: side by side in the vector of all columns or rows."""

    start: int
    shape: tuple[int, ...]
    by_step: bool = False
    """In the vector step by step instead of member by member."""
    each_step: bool = True
    """The last axis is the step."""

    stop: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", self.start + math.prod(self.shape))

    def of(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Its part of a vector, to read and to write: no copy. The step is the last axis."""
        part = vector[self.start : self.stop]
        return part.reshape(self.shape[::-1]).T if self.by_step else part.reshape(self.shape)

    def to_come(self, vector: NDArray[Any], passed: int) -> NDArray[Any]:
        """As `of`, without the steps that have passed."""
        return self.of(vector)[..., passed:] if self.each_step else self.of(vector)


class Expression:
    """A linear expression of linopy, one for each of an array of rows, indexed by place: [member, step], [step] or [].

    Members and steps are counted from 0 anew after every choice among them, so that expressions of one shape are added
    place by place.
    """

    def __init__(self, linear: Any) -> None:
        self.linear = linear

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.linear.sizes[axis] for axis in self._axes)

    @property
    def _axes(self) -> list[str]:
        return [axis for axis in AXES if axis in self.linear.coord_dims]

    def __add__(self, other: Expression) -> Expression:
        return Expression(self.linear + other.linear)

    def __sub__(self, other: Expression) -> Expression:
        return Expression(self.linear - other.linear)

    def __neg__(self) -> Expression:
        return Expression(-self.linear)

    def __mul__(self, factor: float | Array) -> Expression:
        """``factor``: a number, or an array of shape (members, 1)."""
        if isinstance(factor, np.ndarray):
            return Expression(self.linear * xr.DataArray(factor[:, 0], dims=AXES[0], coords=_places(factor.shape[:1])))
        return Expression(self.linear * factor)

    def __getitem__(self, index: Any) -> Expression:
        chosen = dict(zip(self._axes, index if isinstance(index, tuple) else (index,), strict=False))
        part = self.linear.isel(chosen, drop=True)
        return Expression(
            part.assign_coords({axis: range(part.sizes[axis]) for axis in AXES if axis in part.coord_dims})
        )

    def sum(self) -> Expression:
        """Over the members."""
        return Expression(self.linear.sum(AXES[0]))


AXES = ("member", "step")


def _places(shape: tuple[int, ...], axes: tuple[str, ...] = AXES) -> dict[str, range]:
    return {axis: range(count) for axis, count in zip(axes, shape, strict=False)}


@dataclass(frozen=True, slots=True)
class _Column:
    slice: Slice
    lower: Value
    upper: Value
    whole: Mask | None


class _Cost(NamedTuple):
    slice: Slice
    per_kwh: bool
    value: Value


@dataclass(frozen=True, slots=True)
class _Rows:
    slice: Slice
    lower: Value | None
    upper: Value | None
    mask: Mask | None
    first: int


@dataclass(frozen=True, slots=True)
class LpData:
    """The numbers of one problem, in the order of the compiled model. ``whole`` marks columns of whole numbers."""

    cost: Array
    lower: Array
    upper: Array
    row_lower: Array
    row_upper: Array
    whole: NDArray[np.bool_]


class Model:
    """What the terms write into: first all variables and costs, then all equations."""

    def __init__(self, structure: Structure, terms: tuple[Term[Any], ...]) -> None:
        self.structure = structure
        self.terms = terms
        self.columns: dict[str, _Column] = {}
        self.equations: dict[str, _Rows] = {}
        self.costs: list[_Cost] = []
        self.penalties: list[_Cost] = []
        self.supplies: list[Expression] = []
        self.demands: list[Callable[[Instance], Iterable[Array]]] = []
        self.n_columns = self.n_rows = 0
        self.linopy = linopy.Model()
        for term in terms:
            term.variables(self)
        for term in terms:
            term.constraints(self)

    @property
    def steps(self) -> int:
        return self.structure.steps

    @property
    def step_h(self) -> float:
        return self.structure.step_s / 3600

    def shape(self, term: Term[S]) -> S:
        """What the structure says of a term."""
        return cast("S", self.structure.shapes[self.terms.index(term)])

    def variable(
        self,
        name: str,
        *members: int,
        lower: Value = 0.0,
        upper: Value,
        each_step: bool = True,
        whole: Mask | None = None,
    ) -> None:
        """Columns ``name``, one per member and step. In steps that have passed they are fixed at 0."""
        where = Slice(self.n_columns, (*members, self.steps) if each_step else members, each_step=each_step)
        self.n_columns = where.stop
        self.columns[name] = _Column(where, lower, upper, whole)
        axes = AXES[: len(members)] + AXES[1:] * each_step
        self.linopy.add_variables(lower=0.0, coords=_places(where.shape, axes), dims=axes, name=name)

    def __getitem__(self, name: str) -> Expression:
        """The variable ``name`` with the coefficient 1."""
        return Expression(self.linopy.variables[name].to_linexpr())

    def cost(self, name: str, eur: Value, *, per_kwh: bool = False) -> None:
        """Adds a cost to what a variable costs: [€] for each unit of it, or [€/kWh] for a power [kW]."""
        self.costs.append(_Cost(self.columns[name].slice, per_kwh, eur))

    def penalty(self, name: str, eur: Value, *, per_kwh: bool = False) -> None:
        """As `cost`, for the slack of a soft limit or target; added after all costs."""
        self.penalties.append(_Cost(self.columns[name].slice, per_kwh, eur))

    def supply(self, power: Expression) -> None:
        """Adds power [kW] that flows to the site's bus to the balance at the PCC."""
        self.supplies.append(power)

    def demand(self, powers_kw: Callable[[Instance], Iterable[Array]]) -> None:
        """Adds powers [kW] that are drawn from the site's bus and are not decided to the balance at the PCC."""
        self.demands.append(powers_kw)

    def rows(
        self,
        name: str,
        left: Expression,
        *,
        equal: Value | None = None,
        at_most: Value | None = None,
        at_least: Value | None = None,
        mask: Mask | None = None,
        first: int = 0,
        by_step: bool = False,
    ) -> None:
        """Rows ``name``: left = ``equal``, or ``at_least`` ≤ left ≤ ``at_most``; free where ``mask`` is false.

        In steps that have passed, where all columns are 0, an equation is 0 = 0, an inequality with a number holds as
        ever, and one with numbers by step is free. ``first`` is the step at which the rows begin, ``by_step`` their
        order.
        """
        where = Slice(self.n_rows, left.shape, by_step)
        self.n_rows = where.stop
        lower, upper = (at_least, at_most) if equal is None else (equal, equal)
        self.equations[name] = _Rows(where, lower, upper, mask, first)
        sign = "=" if equal is not None else "<=" if at_most is not None else ">="
        self.linopy.add_constraints(left.linear, sign, 0.0, name=name)


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """The matrix in HiGHS' column-wise form, and what fills the vectors beside it."""

    structure: Structure
    starts: Index
    rows: Index
    values: Array
    columns_of: Mapping[str, Slice]
    """By name; shapes (member, step), (step,) or ()."""
    rows_of: Mapping[str, Slice]
    n_columns: int
    n_rows: int
    model: Model
    scale: Array
    """By column: what makes a cost per unit one in the solver's unit."""

    def data(self, instance: Instance) -> LpData:
        """Bounds, costs and right sides of one problem of at most as many steps."""
        steps = instance.problem.steps
        passed = self.structure.steps - steps
        cost, lower, upper = np.zeros((3, self.n_columns))
        row_lower, row_upper = np.zeros((2, self.n_rows))
        whole = np.zeros(self.n_columns, dtype=np.bool_)
        for column in self.model.columns.values():
            column.slice.to_come(lower, passed)[...] = _value(column.lower, instance)
            column.slice.to_come(upper, passed)[...] = _value(column.upper, instance)
            if column.whole is not None:
                column.slice.to_come(whole, passed)[...] = column.whole(instance)
        for where, _, value in (*self.model.costs, *self.model.penalties):
            where.to_come(cost, passed)[...] += _value(value, instance)
        for equation in self.model.equations.values():
            _fill(equation, instance, passed, row_lower, row_upper)
        return LpData(cost * self.scale, lower, upper, row_lower, row_upper, whole)


def _value(value: Value, instance: Instance) -> ArrayLike:
    return value(instance) if callable(value) else value


def _fill(equation: _Rows, instance: Instance, passed: int, row_lower: Array, row_upper: Array) -> None:
    """Writes both sides of rows. Row i stands at the model's step ``first`` + i, and so at the problem's step ``first``
    + i - ``passed``."""
    where, first, count = equation.slice, equation.first, equation.slice.shape[-1]
    begin = min(max(passed - first, 0), count)
    active = slice(begin, count)
    steps = slice(first + begin - passed, first + count - passed)
    whole = (*where.shape[:-1], instance.problem.steps)
    mask = None if equation.mask is None else np.broadcast_to(equation.mask(instance), whole)[..., steps]
    equality = equation.lower is equation.upper
    for side, value, free in (
        (where.of(row_lower), equation.lower, -np.inf),
        (where.of(row_upper), equation.upper, np.inf),
    ):
        if value is None:
            side[...] = free
            continue
        if not callable(value):
            side[...] = value
            continue
        side[..., :begin] = 0.0 if equality else free
        values = np.broadcast_to(value(instance), whole)[..., steps]
        side[..., active] = values if mask is None else np.where(mask, values, free)


@lru_cache(maxsize=MODELS_KEPT)
def compiled(structure: Structure, terms: tuple[Term[Any], ...]) -> CompiledModel:
    """The compiled model of a structure, of which it is a pure function."""
    model = Model(structure, terms)
    matrices = model.linopy.matrices
    assert matrices.A is not None  # it has rows
    matrix = matrices.A.tocoo()
    rows = _numbers(model.linopy.constraints, model.equations)[matrices.clabels[matrix.row]]
    columns = _numbers(model.linopy.variables, model.columns)[matrices.vlabels[matrix.col]]
    there = matrix.data != 0
    rows, columns, values = rows[there], columns[there], matrix.data[there].astype(np.float64)
    order = np.lexsort((rows, columns))
    starts = np.zeros(model.n_columns + 1, dtype=np.int32)
    np.cumsum(np.bincount(columns, minlength=model.n_columns), out=starts[1:])
    scale = np.zeros(model.n_columns)
    for where, per_kwh, _ in (*model.costs, *model.penalties):
        where.of(scale)[...] = model.step_h * COST_SCALE if per_kwh else COST_SCALE
    return CompiledModel(
        structure=structure,
        starts=starts,
        rows=rows[order],
        values=values[order],
        columns_of={name: column.slice for name, column in model.columns.items()},
        rows_of={name: equation.slice for name, equation in model.equations.items()},
        n_columns=model.n_columns,
        n_rows=model.n_rows,
        model=model,
        scale=scale,
    )


def _numbers(named: Any, ours: Mapping[str, _Column] | Mapping[str, _Rows]) -> Index:
    """Our number of each column or row, by linopy's label of it. The order is the terms' own, whatever linopy's is."""
    labels = {
        name: named[name].labels.transpose(*(axis for axis in AXES if axis in named[name].labels.dims)) for name in ours
    }
    numbers = np.full(1 + max(int(found.max()) for found in labels.values()), -1, dtype=np.int32)
    for name, found in labels.items():
        where = ours[name].slice
        where_numbers = np.arange(where.stop, dtype=np.int32)
        numbers[found.values] = where.of(where_numbers)
    return numbers
