"""The compiled model: what the terms state in linopy, as one matrix and the places where a problem's numbers go in it.

A term states its columns, costs and rows once, in the manner of PyPSA's ``define_*`` functions: a left side of columns,
a sign, a right side, a name. The left side depends on the structure alone; linopy makes the matrix of it. Bounds, costs
and right sides depend on the problem: they are numbers or functions of an `Instance`, and `CompiledModel.data` writes
them into vectors for each problem, so that the solver's model is updated in place.

linopy takes tens of milliseconds for a structure, so compiled models are kept. Its own algebra of expressions would
take twice as long again: the terms' expressions are arrays of columns, which linopy is given an equation at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
costs some 0.1 s to compile again, what is kept takes 0.1 MB of a site with five stores and 2 MB of one with a hundred.
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
    """A linear expression of columns for each of an array of rows."""

    def __init__(self, shape: tuple[int, ...], parts: Sequence[tuple[Index, Array]]) -> None:
        self.shape = shape
        self.parts = tuple(parts)
        """Columns and their coefficients. A part may have axes before those of ``shape``: it is summed over them."""

    def __add__(self, other: Expression) -> Expression:
        return Expression(np.broadcast_shapes(self.shape, other.shape), (*self.parts, *other.parts))

    def __sub__(self, other: Expression) -> Expression:
        return self + -other

    def __neg__(self) -> Expression:
        return self * -1.0

    def __mul__(self, factor: float | Array) -> Expression:
        return Expression(self.shape, [(columns, factor * coefficients) for columns, coefficients in self.parts])

    def __getitem__(self, index: Any) -> Expression:
        parts = [(columns[index], coefficients[index]) for columns, coefficients in self.parts]
        return Expression(parts[0][0].shape, parts)

    def sum(self) -> Expression:
        """Over the first axis."""
        return Expression(self.shape[1:], self.parts)

    def linear(self, model: linopy.Model) -> linopy.LinearExpression:
        """The same as linopy's, whose labels of variables are our numbers of columns."""
        axes = AXES[-len(self.shape) :] if self.shape else ()
        columns, coefficients = (
            np.concatenate([_as_terms(part[side], part, self.shape) for part in self.parts], axis=-1) for side in (0, 1)
        )
        data = {
            "coeffs": ((*axes, "_term"), coefficients),
            "vars": ((*axes, "_term"), columns),
            "const": (axes, np.zeros(self.shape)),
        }
        return linopy.LinearExpression(xr.Dataset(data, coords=_places(self.shape, axes)), model)


def _as_terms(values: NDArray[Any], part: tuple[Index, Array], shape: tuple[int, ...]) -> NDArray[Any]:
    """Columns or coefficients of a part with the axes over which it is summed as one, the last."""
    whole = np.broadcast_shapes(*(side.shape for side in part), shape)
    return np.moveaxis(np.broadcast_to(values, whole).reshape(-1, *shape), 0, -1)


AXES = ("member", "step")


def _places(shape: tuple[int, ...], axes: tuple[str, ...]) -> dict[str, range]:
    return {axis: range(count) for axis, count in zip(axes, shape, strict=True)}


@dataclass(frozen=True, slots=True)
class _Column:
    term: str
    slice: Slice
    lower: Value
    upper: Value
    whole: Mask | None
    stores: Sequence[int] | None


class _Cost(NamedTuple):
    slice: Slice
    per_kwh: bool
    value: Value
    term: str


@dataclass(frozen=True, slots=True)
class _Rows:
    term: str
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
    matrix: Array
    """Coefficients in the order of the compiled model's ``values``; these where none depends on the problem."""

    @property
    def vectors(self) -> tuple[Array, ...]:
        """All numbers."""
        return self.cost, self.lower, self.upper, self.row_lower, self.row_upper, self.matrix


class _Coefficient(NamedTuple):
    column: str
    rows: str
    value: Value


class Model:
    """The model that the terms write into: first all variables and costs, then all equations."""

    def __init__(self, structure: Structure, terms: tuple[Term[Any], ...]) -> None:
        self.structure = structure
        self.terms = terms
        self.columns: dict[str, _Column] = {}
        self.equations: dict[str, _Rows] = {}
        self.costs: list[_Cost] = []
        self.penalties: list[_Cost] = []
        self.coefficients: list[_Coefficient] = []
        self.supplies: list[Expression] = []
        self.demands: list[Callable[[Instance], Iterable[Array]]] = []
        self.n_columns = self.n_rows = 0
        self.linopy = linopy.Model()
        self._stating = ""
        """Name of the term that writes now."""
        for term in terms:
            self._stating = term.name
            term.variables(self)
        for term in terms:
            self._stating = term.name
            term.constraints(self)

    @property
    def steps(self) -> int:
        return self.structure.steps

    @property
    def step_h(self) -> float:
        return self.structure.step_s / 3600

    def shape(self, term: Term[S]) -> S:
        """The structure's entry of a term."""
        return cast("S", self.structure.shapes[self.terms.index(term)])

    def variable(
        self,
        name: str,
        *members: int,
        lower: Value = 0.0,
        upper: Value,
        each_step: bool = True,
        whole: Mask | None = None,
        stores: Sequence[int] | None = None,
    ) -> None:
        """Columns ``name``, one per member and step. In steps that have passed they are fixed at 0.

        ``stores``: each member is of the store with this index alone, see `services.ems.decomposition`.
        """
        where = Slice(self.n_columns, (*members, self.steps) if each_step else members, each_step=each_step)
        self.n_columns = where.stop
        self.columns[name] = _Column(self._stating, where, lower, upper, whole, stores)
        axes = AXES[: len(members)] + AXES[1:] * each_step
        variable = self.linopy.add_variables(lower=0.0, coords=_places(where.shape, axes), dims=axes, name=name)
        assert int(variable.labels.min()) == where.start, "linopy numbers its variables as we do"

    def __getitem__(self, name: str) -> Expression:
        """The variable ``name`` with the coefficient 1."""
        where = self.columns[name].slice
        columns = np.arange(where.start, where.stop, dtype=np.int32).reshape(where.shape)
        return Expression(where.shape, [(columns, np.ones(where.shape))])

    def cost(self, name: str, eur: Value, *, per_kwh: bool = False) -> None:
        """Adds a cost to what a variable costs: [€] for each unit of it, or [€/kWh] for a power [kW]."""
        self.costs.append(_Cost(self.columns[name].slice, per_kwh, eur, self._stating))

    def penalty(self, name: str, eur: Value, *, per_kwh: bool = False) -> None:
        """As `cost`, for the slack of a soft limit or target; added after all costs."""
        self.penalties.append(_Cost(self.columns[name].slice, per_kwh, eur, self._stating))

    def coefficient(self, column: str, rows: str, value: Value) -> None:
        """Makes the coefficient of a variable in the rows of the same member and step depend on the problem.

        The left side of these rows has the variable with any coefficient but 0, which stays in steps that have passed.
        """
        self.coefficients.append(_Coefficient(column, rows, value))

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
        self.equations[name] = _Rows(self._stating, where, lower, upper, mask, first)
        sign = "=" if equal is not None else "<=" if at_most is not None else ">="
        self.linopy.add_constraints(left.linear(self.linopy), sign, 0.0, name=name)


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
    store_of: Index
    """By column: the store whose own it is, or -1."""
    scale: Array
    """By column: what makes a cost per unit one in the solver's unit."""
    places: tuple[tuple[int, Index], ...] = ()
    """Per coefficient that depends on the problem: the step at which its rows begin, and where in ``values`` it stands,
    by member and step."""

    def data(self, instance: Instance) -> LpData:
        """Bounds, costs and right sides of one problem of at most as many steps."""
        steps = instance.problem.steps
        passed = self.structure.steps - steps
        cost, lower, upper = np.zeros((3, self.n_columns))
        row_lower, row_upper = np.zeros((2, self.n_rows))
        whole = np.zeros(self.n_columns, dtype=np.bool_)
        for column in self.model.columns.values():
            if column.lower != 0.0:  # as all of it is
                column.slice.to_come(lower, passed)[...] = _value(column.lower, instance)
            column.slice.to_come(upper, passed)[...] = _value(column.upper, instance)
            if column.whole is not None:
                column.slice.to_come(whole, passed)[...] = column.whole(instance)
        for where, _, value, _ in (*self.model.costs, *self.model.penalties):
            where.to_come(cost, passed)[...] += _value(value, instance)
        for equation in self.model.equations.values():
            _fill(equation, instance, passed, row_lower, row_upper)
        return LpData(cost * self.scale, lower, upper, row_lower, row_upper, whole, self._matrix(instance, passed))

    def _matrix(self, instance: Instance, passed: int) -> Array:
        if not self.places:
            return self.values
        matrix = self.values.copy()
        for (_, _, value), (first, places) in zip(self.model.coefficients, self.places, strict=True):
            steps = instance.problem.steps
            begin = min(max(passed - first, 0), places.shape[-1])
            numbers = np.broadcast_to(_value(value, instance), (*places.shape[:-1], steps))
            matrix[places[..., begin:]] = numbers[..., first + begin - passed : first - passed + places.shape[-1]]
        return matrix


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
    equality, values = equation.lower is equation.upper, None
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
        if values is None or not equality:
            values = np.broadcast_to(value(instance), whole)[..., steps]
        side[..., active] = values if mask is None else np.where(mask, values, free)


@lru_cache(maxsize=MODELS_KEPT)
def compiled(structure: Structure, terms: tuple[Term[Any], ...]) -> CompiledModel:
    """The compiled model of a structure, of which it is a pure function."""
    model = Model(structure, terms)
    matrices = model.linopy.matrices
    assert matrices.A is not None  # it has rows
    matrix = matrices.A.tocoo()
    rows = _row_numbers(model)[matrices.clabels[matrix.row]]
    columns = matrices.vlabels[matrix.col].astype(np.int32)
    there = matrix.data != 0
    rows, columns, values = rows[there], columns[there], matrix.data[there].astype(np.float64)
    order = np.lexsort((rows, columns))
    starts = np.zeros(model.n_columns + 1, dtype=np.int32)
    np.cumsum(np.bincount(columns, minlength=model.n_columns), out=starts[1:])
    scale = np.zeros(model.n_columns)
    for where, per_kwh, _, _ in (*model.costs, *model.penalties):
        where.of(scale)[...] = model.step_h * COST_SCALE if per_kwh else COST_SCALE
    store_of = np.full(model.n_columns, -1, dtype=np.int32)
    for column in model.columns.values():
        if column.stores is not None:
            column.slice.of(store_of)[...] = np.array(column.stores, dtype=np.int32)[:, None]
    return CompiledModel(
        structure=structure,
        store_of=store_of,
        places=tuple(_places_of(model, coefficient, rows[order], columns[order]) for coefficient in model.coefficients),
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


def _places_of(model: Model, coefficient: _Coefficient, rows: Index, columns: Index) -> tuple[int, Index]:
    """Where the coefficient stands in the vectors of entries, which are in the order of columns, then rows."""
    equation = model.equations[coefficient.rows]
    whole = model.columns[coefficient.column].slice
    number = equation.slice.of(np.arange(model.n_rows))
    column = whole.of(np.arange(model.n_columns))[..., equation.first : equation.first + number.shape[-1]]
    entries = columns.astype(np.int64) * model.n_rows + rows
    places = np.searchsorted(entries, column * model.n_rows + number)
    assert (entries[places] == column * model.n_rows + number).all(), "a coefficient is not in its rows"
    return equation.first, places.astype(np.int32)


def _row_numbers(model: Model) -> Index:
    """Our number of each row, by linopy's label of it: the order is the terms' own."""
    numbers = np.full(model.n_rows, -1, dtype=np.int32)
    ours = np.arange(model.n_rows, dtype=np.int32)
    for name, equation in model.equations.items():
        labels = model.linopy.constraints[name].labels
        axes = [axis for axis in AXES if axis in labels.dims]
        numbers[labels.transpose(*axes).values] = equation.slice.of(ours)
    return numbers
