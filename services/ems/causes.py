"""Why a device is asked for what it is asked for in the first step: read from the prices that support the solution.

A store charges while a kWh in it is worth more than one at its terminals costs, and discharges while it is worth less,
each after losses and wear; in between it rests. An inverter produces while energy at its terminals is worth anything.
A limit, the month's peak or the bound of a store is the cause where, without what it adds to these prices, another
power would be asked for. Where none is, the price is, or what the energy is for.
"""

from dataclasses import dataclass

from schemas.messages import SetpointCause
from schemas.sums import sum_in_order
from services.ems.marginal_prices import PEAK, MarginalPrices
from services.ems.problem import HeatUnit, Problem
from services.ems.shortfall_cause import TARGETS
from services.ems.solution import Solution
from services.ems.stores import Array, Store
from services.ems.terms.base import SMALL_KW
from services.ems.terms.calendar_wear import holding_eur_per_kwh
from services.ems.terms.exchange import IMPORT
from services.ems.terms.heat import HEAT_POWER, electricity_to_heat, heat_kwh
from services.ems.terms.pv import curtailable
from services.ems.terms.storage import energy_kwh
from services.ems.terms.wear import WEAR

NEAR_KWH = 1e-4
"""A level that is nearer to its bound than this is at it."""


@dataclass(frozen=True, slots=True)
class Why:
    """The cause of a set-point."""

    cause: SetpointCause
    element: str | None = None
    """The limit, where that is the cause: ``connection``, ``pcc`` (from outside), a group or an element."""
    stored_eur_per_kwh: float | None = None
    """What another kWh in the device's store is worth."""


def causes_of(solution: Solution, prices: MarginalPrices) -> dict[str, Why]:
    """By device that is commanded."""
    found: dict[str, Why] = {}
    powers, energies = solution.of("charge") - solution.of("discharge"), energy_kwh(solution)
    surplus = _is_surplus(solution)
    for index, store in enumerate(solution.stores):
        if store.device not in found or store.plugged_frac[0] > 0:
            held = holding_eur_per_kwh(store, energies[index], solution.problem.step_h)
            flows = _Flows(powers[index], energies[index], prices.stored[index], held, surplus)
            found[store.device] = _of_store(solution.problem, store, prices, flows)
    for index, unit in enumerate(solution.problem.heat):
        found[unit.device] = _of_heat_pump(solution, prices, index, unit, surplus=surplus)
    for index, inverter in enumerate(curtailable(solution.problem)):
        cut = float(solution.of("pv")[index, 0]) < inverter.available_kw[0] - SMALL_KW
        choice = _Choice(power_kw=0.0 if cut else -1.0, most_kw=0.0, most_back_kw=1.0)
        found[inverter.device] = _by_price(choice, prices, inverter.device) or Why(SetpointCause.PRICE)
    return found


@dataclass(frozen=True, slots=True)
class _Choice:
    """A power that was chosen, what it could have been, and what a kWh in store is worth."""

    power_kw: float
    most_kw: float
    most_back_kw: float
    least_kw: float = 0.0
    """The smallest power, at which nothing can be said of the price."""
    into: float = 1.0
    out_of: float = 1.0
    """Efficiencies."""
    effort_in: float = 0.0
    """Wear and the secondary objective, for each kWh in ..."""
    effort_out: float = 0.0
    """... and out."""
    worth_eur_per_kwh: float = 0.0
    near_eur_per_kwh: float = 1e-6
    """Gains below this are none."""

    def fits(self, price: float, worth: float | None = None) -> bool:
        """Whether this power would be chosen at such a price and worth, too."""
        worth = self.worth_eur_per_kwh if worth is None else worth
        charging = worth * self.into - price - self.effort_in
        discharging = price - worth / self.out_of - self.effort_out
        power, near = self.power_kw, self.near_eur_per_kwh
        if abs(power) <= SMALL_KW:
            return charging <= near and discharging <= near
        gain, most = (charging, self.most_kw) if power > 0 else (discharging, self.most_back_kw)
        if abs(abs(power) - self.least_kw) <= SMALL_KW:
            return True
        return gain >= -near if abs(power) >= most - SMALL_KW else abs(gain) <= near


def _by_price(choice: _Choice, prices: MarginalPrices, device: str) -> Why | None:
    """A limit or the peak, where without its part of the price something else would be chosen; None: neither."""
    parts = {name: float(part[0]) for name, part in prices.at(device).items()}
    price = prices.local(device)
    if not choice.fits(price):
        return None  # what else stands in the problem decides, such as a price on changes
    for name, part in sorted(parts.items(), key=lambda item: -abs(item[1])):
        if abs(part) > choice.near_eur_per_kwh and not choice.fits(price - part):
            return Why(SetpointCause.PEAK) if name == PEAK else Why(SetpointCause.LIMIT, name)
    return None


@dataclass(frozen=True, slots=True)
class _Flows:
    """Power of one store, its energy and the worth of a kWh in it at the end of each step, shape (step,)."""

    power_kw: Array
    energy_kwh: Array
    worth_eur_per_kwh: Array
    holding_eur_per_kwh: Array
    """What another kWh at the end of a step costs by calendar ageing."""
    is_surplus: bool
    """Whether the site has a surplus in the first step, see `_is_surplus`."""


def _of_store(problem: Problem, store: Store, prices: MarginalPrices, flows: _Flows) -> Why:
    if store.plugged_frac[0] <= 0:
        return Why(SetpointCause.NO_VEHICLE)
    power, energy, worth = flows.power_kw, flows.energy_kwh, flows.worth_eur_per_kwh
    now, tie = float(worth[0]), problem.prices.tie_throughput_eur_per_kwh
    wear_in, wear_out = WEAR.prices_eur_per_kwh(problem, store)
    choice = _Choice(
        power_kw=float(power[0]),
        most_kw=float(store.charge_max_kw[0]),
        most_back_kw=float(store.discharge_max_kw[0]),
        least_kw=store.min_power_kw * float(store.plugged_frac[0]),
        into=store.charge_efficiency,
        out_of=store.discharge_efficiency,
        effort_in=tie + wear_in,
        effort_out=tie + wear_out,
        worth_eur_per_kwh=now,
        near_eur_per_kwh=_near(problem),
    )
    if (why := _by_price(choice, prices, store.device)) is not None:
        return Why(why.cause, why.element, now)
    cause = _of_bound(choice, prices.local(store.device), store, float(energy[0]), worth)
    if cause is None and power[0] > SMALL_KW:
        if flows.is_surplus:
            cause = SetpointCause.PV_SURPLUS
        elif _serves_target(store, energy, power):
            cause = SetpointCause.TARGET
    if cause is None and _waits(store, prices, flows, _near(problem)):
        cause = SetpointCause.CALENDAR_WEAR
    return Why(cause or SetpointCause.PRICE, None, now)


def _of_bound(choice: _Choice, price: float, store: Store, energy: float, worth: Array) -> SetpointCause | None:
    """The bound that the level meets at the end of the step, where another power would be chosen without it."""
    goes_on = len(worth) > 1 and store.plugged_frac[1] > 0 and not store.leaves[1]
    without_bound = float(worth[1]) if goes_on else 0.0
    if not choice.fits(price) or choice.fits(price, without_bound):
        return None
    if energy <= store.lower_kwh[0] + NEAR_KWH:
        return SetpointCause.TARGET if store.kinds[0] in TARGETS else SetpointCause.RESERVE
    return SetpointCause.FULL if energy >= store.upper_kwh[0] - NEAR_KWH else None


def _waits(store: Store, prices: MarginalPrices, flows: _Flows, near: float) -> bool:
    """Whether a store rests and charges later at no lower price: it ages less while it is emptier."""
    power = flows.power_kw
    if abs(power[0]) > SMALL_KW or store.charge_max_kw[0] <= 0:
        return False
    for step in range(1, len(power)):
        if store.leaves[step] or power[step] < -SMALL_KW:
            return False
        if power[step] > SMALL_KW:
            price = prices.local_by_step(store.device)
            return bool(price[step] >= price[0] - near and flows.holding_eur_per_kwh[:step].sum() > near)
    return False


def _serves_target(store: Store, energy: Array, power: Array) -> bool:
    """Whether what is charged now is for a target: it comes before the store gives anything back."""
    for step in range(len(power)):
        if step > 0 and (store.leaves[step] or power[step] < -SMALL_KW):
            return False
        if store.kinds[step] in TARGETS and energy[step] <= store.lower_kwh[step] + NEAR_KWH:
            return True
    return False


def _of_heat_pump(solution: Solution, prices: MarginalPrices, index: int, unit: HeatUnit, *, surplus: bool) -> Why:
    problem, power = solution.problem, float(solution.of(HEAT_POWER)[index, 0])
    worth = -(solution.dual("heat-balance_initial") + solution.dual("heat-balance"))[index]
    now = float(worth[0])
    choice = _Choice(
        power_kw=power,
        most_kw=unit.max_power_kw,
        most_back_kw=0.0,
        least_kw=unit.min_power_kw,
        into=float(electricity_to_heat(solution)[index, 0]),
        out_of=1e-9,  # it gives nothing back
        effort_in=problem.prices.tie_throughput_eur_per_kwh,
        worth_eur_per_kwh=now,
        near_eur_per_kwh=_near(problem),
    )
    if (why := _by_price(choice, prices, unit.device)) is not None:
        return Why(why.cause, why.element, now)
    if heat_kwh(solution)[index, 0] <= unit.energy_min_kwh + NEAR_KWH:
        return Why(SetpointCause.TARGET, None, now)
    cause = SetpointCause.PV_SURPLUS if power > SMALL_KW and surplus else SetpointCause.PRICE
    return Why(cause, None, now)


def _is_surplus(solution: Solution) -> bool:
    """Whether the site has more PV than it needs without its stores, and imports nothing."""
    problem = solution.problem
    needs = problem.load_kw[0] + problem.losses_kw[0] + sum_in_order(unit.power_kw[0] for unit in problem.fixed)
    produced = sum_in_order(unit.available_kw[0] for unit in problem.pv)
    return produced > needs + SMALL_KW and float(IMPORT.total_kw(solution)[0]) <= SMALL_KW


def _near(problem: Problem) -> float:
    """Prices differ by the flat-PCC tie-break at most, which is no reason to anyone."""
    return 1e-6 + 4 * problem.prices.tie_flat_eur_per_kwh
