"""Bounds, right-hand sides and costs of one problem in the columns and rows of its form.

A form may be longer than the problem: its first steps have passed. Their flows, energies and right-hand sides are 0
and fixed; the rows stay, so that the basis of the quarter before is still a basis, and a feasible one wherever the
measurement agrees with the plan.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.ems.constraints import flagged_stores
from services.ems.model import Form
from services.ems.problem import Problem
from services.ems.stores import Array, Store
from services.ems.structure import EXPORT_BANDS, IMPORT_BANDS, Needed

COST_SCALE = 1000.0
"""The solver sees thousandths of a euro: its dual tolerance of 1e-7 is then well below the tie-break's weights."""

OVER_LIMIT_KW = 1e6
"""Upper bound of what exceeds a limit, so that no price makes a problem unbounded."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """All in the order of the form. ``whole`` marks columns that must be whole numbers."""

    cost: Array
    lower: Array
    upper: Array
    row_lower: Array
    row_upper: Array
    whole: NDArray[np.bool_]


def vectors(problem: Problem, form: Form, stores: tuple[Store, ...], needed: Needed) -> Vectors:
    passed = form.structure.steps - problem.steps
    fill = _Fill(problem, form, passed)
    fill.pcc(needed)
    fill.pv()
    fill.stores(stores, needed)
    fill.groups(stores)
    return Vectors(fill.cost, fill.lower, fill.upper, fill.row_lower, fill.row_upper, fill.whole)


def import_band_widths(problem: Problem) -> tuple[float, ...]:
    """Widths [kW] of the import bands up to 1, 1.25, 1.5 m and above, cut off at the limit."""
    return _widths((1.0, 1.25, 1.5), problem.flat_reference_kw, problem.import_limit_kw)


def export_band_widths(problem: Problem) -> tuple[float, ...]:
    """Widths [kW] of the export bands up to 0.5 m and above, cut off at the limit."""
    return _widths((0.5,), problem.flat_reference_kw, problem.export_limit_kw)


def _widths(factors: tuple[float, ...], reference_kw: float, limit_kw: float) -> tuple[float, ...]:
    edges = [0.0, *(min(factor * reference_kw, limit_kw) for factor in factors), limit_kw]
    return tuple(above - below for below, above in itertools.pairwise(edges))


class _Fill:
    def __init__(self, problem: Problem, form: Form, passed: int) -> None:
        self.problem, self.form, self.passed = problem, form, passed
        self.cost, self.lower, self.upper = np.zeros((3, form.n_columns))
        self.row_lower, self.row_upper = np.zeros((2, form.n_rows))
        self.whole = np.zeros(form.n_columns, dtype=np.bool_)
        self.scale = problem.step_h * COST_SCALE

    def columns(self, vector: NDArray[Any], name: str) -> NDArray[Any]:
        """The part of a vector of columns that is about the steps still to come."""
        return self.form.columns_of[name].of(vector)[..., self.passed :]

    def rows(self, vector: Array, name: str) -> Array:
        return self.form.rows_of[name].of(vector)[..., self.passed :]

    def pcc(self, needed: Needed) -> None:
        problem = self.problem
        purchase, sale = np.array(problem.purchase_eur_per_kwh), np.array(problem.sale_eur_per_kwh)
        prices, flat = problem.prices, problem.prices.tie_flat_eur_per_kwh
        upper, cost = self.columns(self.upper, "imports"), self.columns(self.cost, "imports")
        upper[:] = np.array(import_band_widths(problem))[:, None]
        cost[:] = self.scale * (purchase + np.arange(IMPORT_BANDS)[:, None] * flat)
        upper, cost = self.columns(self.upper, "exports"), self.columns(self.cost, "exports")
        upper[:] = np.array(export_band_widths(problem))[:, None]
        cost[:] = self.scale * (np.arange(EXPORT_BANDS)[:, None] * flat - sale)
        over = (
            ("import_over", purchase + (IMPORT_BANDS - 1) * flat),
            ("export_over", (EXPORT_BANDS - 1) * flat - sale),
        )
        for name, price in over:
            self.columns(self.upper, name)[:] = OVER_LIMIT_KW
            self.columns(self.cost, name)[:] = self.scale * (price + prices.limit_eur_per_kwh)
        demand = fixed_demand(problem)
        for side in (self.row_lower, self.row_upper):
            self.rows(side, "pcc-power_balance")[:] = demand
        if self.form.structure.pcc_flagged:
            for name in ("import_flag", "export_flag"):
                self.columns(self.upper, name)[:] = 1.0
                self.columns(self.whole, name)[needed.pcc] = True
            self._at_most("pcc-import_flag", 0.0)
            self._at_most("pcc-export_flag", 0.0)
            self._at_most("pcc-one_flag", 1.0)
        if self.form.structure.demand_charge:
            peak = self.form.columns_of["peak"]
            peak.of(self.lower)[...], peak.of(self.upper)[...] = problem.month_peak_kw, np.inf
            peak.of(self.cost)[...] = COST_SCALE * prices.demand_eur_per_kw
            self._at_most("pcc-demand_peak", 0.0)

    def pv(self) -> None:
        curtailable = [unit for unit in self.problem.pv if unit.curtailable]
        for index, unit in enumerate(curtailable):
            self.columns(self.upper, "pv")[index] = unit.available_kw

    def stores(self, stores: tuple[Store, ...], needed: Needed) -> None:
        if not stores:
            return
        prices = self.problem.prices
        charge_max, discharge_max = self.columns(self.upper, "charge"), self.columns(self.upper, "discharge")
        level_min, level_max = self.columns(self.lower, "level"), self.columns(self.upper, "level")
        shortfall_max = self.columns(self.upper, "shortfall")
        charge_cost, discharge_cost = self.columns(self.cost, "charge"), self.columns(self.cost, "discharge")
        for i, store in enumerate(stores):
            charge_max[i], discharge_max[i] = store.charge_max_kw, store.discharge_max_kw
            level_min[i], level_max[i] = store.lower_kwh, store.upper_kwh
            shortfall_max[i] = store.shortfall_max_kwh
            wear = prices.bess_wear_eur_per_kwh if store.is_bess else 0.0
            charge_cost[i] = discharge_cost[i] = self.scale * (prices.tie_throughput_eur_per_kwh + wear)
        self.columns(self.cost, "shortfall")[:] = COST_SCALE * prices.shortfall_eur_per_kwh
        arrives, leaves = np.array([s.arrives_kwh for s in stores]), np.array([s.leaves for s in stores])
        self._energy(self.row_lower, np.where(leaves, -np.inf, arrives))
        self._energy(self.row_upper, np.where(leaves, np.inf, arrives))
        self._flags(stores, needed)

    def _energy(self, side: Array, values: Array) -> None:
        """Right-hand side of the energy balance, of which the form's first step is a block of rows by itself."""
        rows = self.form.rows_of
        if self.passed == 0:
            rows["store-energy_initial"].of(side)[:] = values[:, :1]
            values = values[:, 1:]
        if "store-energy_balance" in rows:
            rows["store-energy_balance"].of(side)[:, max(self.passed - 1, 0) :] = values

    def _flags(self, stores: tuple[Store, ...], needed: Needed) -> None:
        flagged = flagged_stores(self.form.structure)
        if not flagged:
            return
        for name in ("charge_flag", "discharge_flag"):
            self.columns(self.upper, name)[:] = 1.0
            self.columns(self.whole, name)[needed.store[flagged]] = True
        self._at_most("store-charge_flag", 0.0)
        self._at_most("store-discharge_flag", 0.0)
        self._at_most("store-one_flag", 1.0)
        self._at_most("store-tightening", 1.0)
        for name in ("store-smallest_charge", "store-smallest_discharge"):
            lower, _ = self._free(name)
            for position, i in enumerate(flagged):
                # In the step that is commanded now only, see `binaries.needed_for_smallest_power`.
                lower[position, self.passed] = -stores[i].min_power_kw * (1 - stores[i].plugged_frac[0])
        if "store-cut_full" in self.form.rows_of:
            self._cuts(stores, flagged)

    def _cuts(self, stores: tuple[Store, ...], flagged: list[int]) -> None:
        _, upper = self._free("store-cut_full")
        lower, _ = self._free("store-cut_empty")
        for position, i in enumerate(flagged):
            store = stores[i]
            # Rows begin with the form's second step; a cut needs the car there in the step before, too.
            first = 1 if self.passed == 0 else 0
            here = (store.plugged_frac[first:] > 0) & ~store.leaves[first:]
            begin = self.passed - 1 + first
            room = store.upper_kwh[first:] - store.arrives_kwh[first:]
            upper[position, begin:] = np.where(here, room, np.inf)
            least = np.where(store.shortfall_max_kwh[first:] > 0, 0.0, store.lower_kwh[first:])
            lower[position, begin:] = np.where(here, least - store.arrives_kwh[first:], -np.inf)

    def groups(self, stores: tuple[Store, ...]) -> None:
        problem = self.problem
        for index, group in enumerate(problem.groups):
            for name in ("group_up", "group_down"):
                self.columns(self.upper, name)[index] = OVER_LIMIT_KW
                self.columns(self.cost, name)[index] = self.scale * problem.prices.limit_eur_per_kwh
            most, least = map(np.array, group.loads_kw(problem.steps))
            fixed = np.zeros(problem.steps)
            for unit in problem.fixed:
                if unit.device in group.devices:
                    fixed = fixed + group.share(unit.device) * np.array(unit.power_kw)
            for pv in problem.pv:
                if pv.device in group.devices and not pv.curtailable:
                    fixed = fixed - group.share(pv.device) * np.array(pv.available_kw)
            lower, upper = self._free(f"group-limit_{index}")
            room = group.limit_kw - (most + fixed)
            # A load that may be there or not, and is greater than both limits together, leaves no room for either.
            lower[self.passed :] = np.minimum(-group.limit_kw - (least + fixed), room)
            upper[self.passed :] = room

    def _free(self, name: str) -> tuple[Array, Array]:
        """Lower and upper side of rows in all steps, the passed ones too, without a limit so far."""
        rows = self.form.rows_of[name]
        lower, upper = rows.of(self.row_lower), rows.of(self.row_upper)
        lower[:], upper[:] = -np.inf, np.inf
        return lower, upper

    def _at_most(self, name: str, value: float) -> None:
        _, upper = self._free(name)
        upper[:] = value


def fixed_demand(problem: Problem) -> Array:
    """Right-hand side of (2) [kW]: load, losses and uncontrolled chargers minus PV that cannot be curtailed."""
    demand: Array = np.array(problem.load_kw) + np.array(problem.losses_kw)
    for unit in problem.fixed:
        demand = demand + np.array(unit.power_kw)
    for pv in problem.pv:
        if not pv.curtailable:
            demand = demand - np.array(pv.available_kw)
    return demand
