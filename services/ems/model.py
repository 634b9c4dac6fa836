"""The model as a table of contents: variables, then equations. Built by linopy once per structure, kept as a matrix."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.ems import constraints as eq
from services.ems.stores import Array
from services.ems.structure import EXPORT_BANDS, IMPORT_BANDS, Structure

Index = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Block:
    """Where a named variable or equation stands: side by side in the vector of all columns or rows."""

    start: int
    stop: int
    shape: tuple[int, ...]
    """In the order of dimensions that linopy chose."""
    axes: tuple[int, ...]
    """Of these dimensions, so that ``step`` comes last."""

    def of(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Its part of a vector, to read and to write: no copy. Shapes: see `Form`."""
        return vector[self.start : self.stop].reshape(self.shape).transpose(self.axes)


@dataclass(frozen=True, slots=True)
class Form:
    """The matrix in HiGHS' column-wise form and where each named variable and row stands in it."""

    structure: Structure
    starts: Index
    rows: Index
    values: Array
    columns_of: Mapping[str, Block]
    """By name; shapes (store, step), (band, step), (pv, step), (group, step), (step,) or ()."""
    rows_of: Mapping[str, Block]
    n_columns: int
    n_rows: int


@lru_cache(maxsize=16)
def form_of(structure: Structure) -> Form:
    """A pure function of the structure; kept because linopy needs some 0.3 s for it."""
    model = build(structure)
    matrices = model.matrices
    matrix = matrices.A.tocsc()
    matrix.sort_indices()
    column = {int(label): i for i, label in enumerate(matrices.vlabels)}
    row = {int(label): i for i, label in enumerate(matrices.clabels)}
    return Form(
        structure=structure,
        starts=matrix.indptr.astype(np.int32),
        rows=matrix.indices.astype(np.int32),
        values=matrix.data.astype(np.float64),
        columns_of={name: _block(model.variables[name].labels, column) for name in model.variables},
        rows_of={name: _block(model.constraints[name].labels, row) for name in model.constraints},
        n_columns=len(column),
        n_rows=len(row),
    )


def build(structure: Structure) -> Any:
    """The linopy model of a structure."""
    m = eq.empty_model()
    _variables(m, structure)
    eq.power_balance(m, structure)  # (2)
    eq.energy_balance(
        m, structure
    )  # (3)(14); bounds (4)(5)(15)(16), windows (9)(10)(12)(13) and targets (6) on columns
    eq.store_exclusion(m, structure)  # (7)(8)(11)(17)(18)(19)
    eq.store_cuts(m, structure)
    eq.smallest_power(m, structure)
    eq.pcc_exclusion(m, structure)  # (20)(21)
    eq.group_limit(m, structure)
    eq.demand_peak(m, structure)
    m.add_objective(m.variables["import_over"].sum())  # (1): the costs are filled in by `vectors`
    return m


def _variables(m: Any, s: Structure) -> None:
    step = pd.RangeIndex(s.steps, name="step")
    m.add_variables(lower=0, coords=[pd.RangeIndex(IMPORT_BANDS, name="band"), step], name="imports")
    m.add_variables(lower=0, coords=[step], name="import_over")
    m.add_variables(lower=0, coords=[pd.RangeIndex(EXPORT_BANDS, name="export_band"), step], name="exports")
    m.add_variables(lower=0, coords=[step], name="export_over")
    if s.pv:
        m.add_variables(lower=0, coords=[pd.RangeIndex(s.pv, name="pv"), step], name="pv")
    if s.stores:
        store = pd.RangeIndex(len(s.stores), name="store")
        for name in ("charge", "discharge", "level", "shortfall"):
            m.add_variables(lower=0, coords=[store, step], name=name)
    if flagged := eq.flagged_stores(s):
        for name in ("charge_flag", "discharge_flag"):
            m.add_variables(lower=0, upper=1, coords=[pd.Index(flagged, name="flagged"), step], name=name)
    if s.pcc_flagged:
        for name in ("import_flag", "export_flag"):
            m.add_variables(lower=0, upper=1, coords=[step], name=name)
    if s.groups:
        for name in ("group_up", "group_down"):
            m.add_variables(lower=0, coords=[pd.RangeIndex(len(s.groups), name="group"), step], name=name)
    if s.demand_charge:
        m.add_variables(lower=0, name="peak")


def _block(labels: Any, position: Mapping[int, int]) -> Block:
    """Of a labelled array. linopy numbers it in one go, so that its members stand side by side, which is asserted."""
    found = [position[int(label)] for label in np.ravel(labels.values)]
    start, stop = found[0], found[0] + len(found)
    assert found == list(range(start, stop)), "columns or rows of one name do not stand side by side"
    ordered = labels.transpose(..., "step").dims if "step" in labels.dims else labels.dims
    return Block(start, stop, labels.shape, tuple(labels.dims.index(dim) for dim in ordered))
