"""Bounds, right-hand sides and costs of one problem in the columns and rows of its form.

A form may be longer than the problem: its first steps have passed. Their flows, energies and right-hand sides are 0
and fixed; the rows stay, so that the basis of the quarter before is still a basis, and a feasible one wherever the
measurement agrees with the plan.
"""

import itertools
from dataclasses import dataclass

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
        self.cost, self.lower, self.upper = (np.zeros(form.n_columns) for _ in range(3))
        self.row_lower, self.row_upper = np.zeros(form.n_rows), np.zeros(form.n_rows)
        self.whole = np.zeros(form.n_columns, dtype=np.bool_)
        self.scale = problem.step_h * COST_SCALE

    def columns(self, name: str) -> NDArray[np.int32]:
        """Of the steps that are still to come."""
        return self.form.columns_of[name][..., self.passed :]

    def rows(self, name: str) -> NDArray[np.int32]:
        return self.form.rows_of[name][..., self.passed :]

    def pcc(self, needed: Needed) -> None:
        problem = self.problem
        purchase, sale = np.array(problem.purchase_eur_per_kwh), np.array(problem.sale_eur_per_kwh)
        prices, flat = problem.prices, problem.prices.tie_flat_eur_per_kwh
        imports, exports = self.columns("imports"), self.columns("exports")
        for band, width in enumerate(import_band_widths(problem)):
            self.upper[imports[band]] = width
            self.cost[imports[band]] = self.scale * (purchase + band * flat)
        for band, width in enumerate(export_band_widths(problem)):
            self.upper[exports[band]] = width
            self.cost[exports[band]] = self.scale * (band * flat - sale)
        over = (
            ("import_over", purchase + (IMPORT_BANDS - 1) * flat),
            ("export_over", (EXPORT_BANDS - 1) * flat - sale),
        )
        for name, price in over:
            self.upper[self.columns(name)] = OVER_LIMIT_KW
            self.cost[self.columns(name)] = self.scale * (price + prices.limit_eur_per_kwh)
        rows = self.rows("pcc-power_balance")
        self.row_lower[rows] = self.row_upper[rows] = fixed_demand(problem)
        if self.form.structure.pcc_flagged:
            for name in ("import_flag", "export_flag"):
                self.upper[self.columns(name)] = 1.0
                self.whole[self.columns(name)[needed.pcc]] = True
            self._at_most("pcc-import_flag", 0.0)
            self._at_most("pcc-export_flag", 0.0)
            self._at_most("pcc-one_flag", 1.0)
        if self.form.structure.demand_charge:
            peak = self.form.columns_of["peak"]
            self.lower[peak], self.upper[peak] = problem.month_peak_kw, np.inf
            self.cost[peak] = COST_SCALE * prices.demand_eur_per_kw
            self._at_most("pcc-demand_peak", 0.0)

    def pv(self) -> None:
        curtailable = [unit for unit in self.problem.pv if unit.curtailable]
        for index, unit in enumerate(curtailable):
            self.upper[self.columns("pv")[index]] = unit.available_kw

    def stores(self, stores: tuple[Store, ...], needed: Needed) -> None:
        if not stores:
            return
        prices = self.problem.prices
        charge, discharge = self.columns("charge"), self.columns("discharge")
        level, shortfall = self.columns("level"), self.columns("shortfall")
        balance = self._energy_rows()[:, self.passed :]
        for i, store in enumerate(stores):
            self.upper[charge[i]], self.upper[discharge[i]] = store.charge_max_kw, store.discharge_max_kw
            self.lower[level[i]], self.upper[level[i]] = store.lower_kwh, store.upper_kwh
            self.upper[shortfall[i]] = store.shortfall_max_kwh
            self.cost[shortfall[i]] = COST_SCALE * prices.shortfall_eur_per_kwh
            wear = prices.bess_wear_eur_per_kwh if store.is_bess else 0.0
            self.cost[charge[i]] = self.cost[discharge[i]] = self.scale * (prices.tie_throughput_eur_per_kwh + wear)
            self.row_lower[balance[i]] = np.where(store.leaves, -np.inf, store.arrives_kwh)
            self.row_upper[balance[i]] = np.where(store.leaves, np.inf, store.arrives_kwh)
        self._flags(stores, needed)

    def _energy_rows(self) -> NDArray[np.int32]:
        rows = self.form.rows_of
        if "store-energy_balance" not in rows:
            return rows["store-energy_initial"]
        return np.concatenate([rows["store-energy_initial"], rows["store-energy_balance"]], axis=1)

    def _flags(self, stores: tuple[Store, ...], needed: Needed) -> None:
        flagged = flagged_stores(self.form.structure)
        if not flagged:
            return
        for name in ("charge_flag", "discharge_flag"):
            columns = self.columns(name)
            self.upper[columns] = 1.0
            for position, i in enumerate(flagged):
                self.whole[columns[position][needed.store[i]]] = True
        self._at_most("store-charge_flag", 0.0)
        self._at_most("store-discharge_flag", 0.0)
        self._at_most("store-one_flag", 1.0)
        self._at_most("store-tightening", 1.0)
        for name in ("store-smallest_charge", "store-smallest_discharge"):
            everywhere = self.form.rows_of[name]
            self.row_lower[everywhere], self.row_upper[everywhere] = -np.inf, np.inf
            for position, i in enumerate(flagged):
                # In the step that is commanded now only, see `binaries.needed_for_smallest_power`.
                now = everywhere[position, self.passed]
                self.row_lower[now] = -stores[i].min_power_kw * (1 - stores[i].plugged_frac[0])
        if "store-cut_full" in self.form.rows_of:
            self._cuts(stores, flagged)

    def _cuts(self, stores: tuple[Store, ...], flagged: list[int]) -> None:
        full, empty = self.form.rows_of["store-cut_full"], self.form.rows_of["store-cut_empty"]
        for rows in (full, empty):
            self.row_lower[rows], self.row_upper[rows] = -np.inf, np.inf
        for position, i in enumerate(flagged):
            store = stores[i]
            # Rows begin with the form's second step; a cut needs the car there in the step before, too.
            first = 1 if self.passed == 0 else 0
            here = (store.plugged_frac[first:] > 0) & ~store.leaves[first:]
            rows_full, rows_empty = (
                full[position, self.passed - 1 + first :],
                empty[position, self.passed - 1 + first :],
            )
            room = store.upper_kwh[first:] - store.arrives_kwh[first:]
            self.row_upper[rows_full] = np.where(here, room, np.inf)
            least = np.where(store.shortfall_max_kwh[first:] > 0, 0.0, store.lower_kwh[first:])
            self.row_lower[rows_empty] = np.where(here, least - store.arrives_kwh[first:], -np.inf)

    def groups(self, stores: tuple[Store, ...]) -> None:
        problem = self.problem
        for index, group in enumerate(problem.groups):
            for name in ("group_up", "group_down"):
                self.upper[self.columns(name)[index]] = OVER_LIMIT_KW
                self.cost[self.columns(name)[index]] = self.scale * problem.prices.limit_eur_per_kwh
            most, least = map(np.array, group.loads_kw(problem.steps))
            fixed = np.zeros(problem.steps)
            for unit in problem.fixed:
                if unit.device in group.devices:
                    fixed = fixed + group.share(unit.device) * np.array(unit.power_kw)
            for pv in problem.pv:
                if pv.device in group.devices and not pv.curtailable:
                    fixed = fixed - group.share(pv.device) * np.array(pv.available_kw)
            rows = self.rows(f"group-limit_{index}")
            passed = self.form.rows_of[f"group-limit_{index}"][: self.passed]
            self.row_lower[passed], self.row_upper[passed] = -np.inf, np.inf
            upper = group.limit_kw - (most + fixed)
            # A load that may be there or not, and is greater than both limits together, leaves no room for either.
            self.row_lower[rows] = np.minimum(-group.limit_kw - (least + fixed), upper)
            self.row_upper[rows] = upper

    def _at_most(self, name: str, value: float) -> None:
        rows = self.form.rows_of[name]
        self.row_lower[rows], self.row_upper[rows] = -np.inf, value


def fixed_demand(problem: Problem) -> Array:
    """Right-hand side of (2) [kW]: load, losses and uncontrolled chargers minus PV that cannot be curtailed."""
    demand: Array = np.array(problem.load_kw) + np.array(problem.losses_kw)
    for unit in problem.fixed:
        demand = demand + np.array(unit.power_kw)
    for pv in problem.pv:
        if not pv.curtailable:
            demand = demand - np.array(pv.available_kw)
    return demand
