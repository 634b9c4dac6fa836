"""Stores step by step: the BESS, and every charger's charging sessions, as bounds on flows and energies.

A charger holds one *slot*; a second one only where a car arrives before the step after its predecessor's departure,
so that within a slot a step without a car lies between two stays and no energy is handed from car to car.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from schemas.messages import ShortfallKind
from services.ems.allowances import Allowance, allowances_of, least_left_kwh
from services.ems.problem import AgeingPrice, Asked, BessUnit, ChargerUnit, PhaseGap, Problem, Stay, TaperCurve
from services.ems.taper_row import TaperRow, drawn_kw, taper_row

Array = NDArray[np.float64]

BELOW_TOLERANCE_KWH = 1e-9
"""A measured energy that is less below its minimum than this is not below it."""


@dataclass(frozen=True, slots=True)
class Store:
    """Bounds per step of the window. The arrays have the shape (steps,)."""

    device: str
    is_bess: bool
    charge_efficiency: float
    discharge_efficiency: float
    rated_charge_kw: float
    rated_discharge_kw: float
    min_power_kw: float
    """The least that may be offered, and the least that is given back."""
    least_draw_kw: float
    """What is drawn at the least where that is offered: less if the vehicle that is there now takes no more."""
    plugged_frac: Array
    """Fraction of the step in which the store is there."""
    comes_later: bool
    """Where it is there in the first step, it is so only after the step has begun."""
    charge_max_kw: Array
    """Average over the step: the power limit times ``plugged_frac``."""
    discharge_max_kw: Array
    charge_min_kw: Array
    """0 save where a power is held."""
    discharge_min_kw: Array
    lower_kwh: Array
    """At the end of the step; the greatest of minimum, target and wish."""
    upper_kwh: Array
    shortfall_max_kwh: Array
    """0 where ``lower_kwh`` is hard; where it is soft, what leads to the hard bound below it, or to an empty store."""
    arrives_kwh: Array
    """Energy that comes with a store at the start of the step."""
    leaves: NDArray[np.bool_]
    """First step without the car: its energy has gone with it."""
    capacity_kwh: Array
    """Capacity of the car that is there; 0 where there is none."""
    kinds: tuple[ShortfallKind | None, ...]
    """The kind of a shortfall at the end of the step."""
    shortfall_weight: Array
    """How many times the price of a shortfall it costs there: more at the departure of a vehicle with priority."""
    left_eur_per_kwh: float = 0.0
    """Value of what is in store at the window's end."""
    stays_on: Stay | None = None
    """The stay that goes on after the window, where the problem has steps after it."""
    later_target_kwh: float = 0.0
    """What that stay wants at the end of these steps."""
    taper: TaperCurve | None = None
    """Of vehicles whose power falls near full."""
    taper_row: TaperRow | None = None
    caps: Mapping[str, Allowance] = field(default_factory=dict)
    """Of what vehicles give back, by kind, see `services.ems.allowances`."""
    flowing_kw: float = 0.0
    """Power when the window begins; positive: it charges."""
    ageing: AgeingPrice | None = None
    """None: calendar ageing has no price."""
    asked: Asked | None = None
    """The power that a person asks for; the greatest flows are within it already."""
    phase_gap: PhaseGap | None = None
    """Of a charger that switches its phases, where the ranges of one and of three do not meet."""
    three_phase_draw_kw: float = 0.0
    """With a gap: what is drawn on three phases at the least, as ``least_draw_kw``."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A stay in a slot of its charger, with the first and the last step in which it has a part."""

    slot: int
    stay: Stay
    first: int
    last: int


Places = tuple[tuple[Placed, ...], ...]
"""Per charger of the problem."""


def places_of(problem: Problem) -> Places:
    return tuple(_placed(charger, problem) for charger in problem.chargers)


def least_slots(places: Places) -> tuple[int, ...]:
    return tuple(max((place.slot + 1 for place in placed), default=1) for placed in places)


def stores_of(problem: Problem, places: Places, slots: tuple[int, ...]) -> tuple[Store, ...]:
    """The BESSs, then every charger's slots (``slots[i]`` of charger i, at least `least_slots`)."""
    found = [_bess_store(unit, problem) for unit in problem.bess]
    for charger, placed, count in zip(problem.chargers, places, slots, strict=True):
        for slot in range(count):
            found.append(_charger_store(charger, [place for place in placed if place.slot == slot], problem))
    return tuple(found)


def _steps_of(stay: Stay, problem: Problem) -> tuple[int, int]:
    """First and last step in which the stay has a part; last < first if it has none."""
    first = int((stay.arrival - problem.start).total_seconds() // problem.step_s)
    last = -int(-(stay.commanded_until - problem.start).total_seconds() // problem.step_s) - 1
    return max(first, 0), min(last, problem.steps - 1)


def _placed(charger: ChargerUnit, problem: Problem) -> tuple[Placed, ...]:
    """Every stay with the first slot that has been empty for a whole step before it."""
    found: list[Placed] = []
    ends: list[int] = []
    for stay in charger.stays:
        first, last = _steps_of(stay, problem)
        if last < first or stay.commanded_until <= stay.arrival:
            continue
        slot = next((s for s, end in enumerate(ends) if end + 1 < first), len(ends))
        ends[slot : slot + 1] = [last]
        found.append(Placed(slot, stay, first, last))
    return tuple(found)


def _held(held_kw: float | None, charge_max: Array, discharge_max: Array) -> tuple[Array, Array]:
    """The least flows [kW]; a power that is held narrows both bounds of the first step to it."""
    least_charge, least_discharge = np.zeros((2, len(charge_max)))
    if held_kw is not None:
        least_charge[0] = charge_max[0] = min(max(held_kw, 0.0), charge_max[0])
        least_discharge[0] = discharge_max[0] = min(max(-held_kw, 0.0), discharge_max[0])
    return least_charge, least_discharge


def _bound_to(asked: Asked | None, charge_max: Array, discharge_max: Array) -> None:
    """Narrows the greatest flows to the power that is asked for, in its direction."""
    if asked is not None:
        charge_max[: asked.steps] = np.minimum(charge_max[: asked.steps], max(asked.kw, 0.0))
        discharge_max[: asked.steps] = np.minimum(discharge_max[: asked.steps], max(-asked.kw, 0.0))


def _empty(steps: int) -> Array:
    return np.zeros(steps)


def _bess_store(unit: BessUnit, problem: Problem) -> Store:
    steps = problem.steps
    lower, shortfall = _empty(steps), _empty(steps)
    kinds: list[ShortfallKind | None] = [None] * steps
    upper = max(unit.energy_max_kwh, unit.energy_kwh)
    _floor(lower, shortfall, kinds, slice(0, steps), unit.energy_min_kwh, unit.energy_kwh)
    for wish in unit.wishes:
        energy = min(wish.energy_kwh, upper)
        if energy > lower[wish.step]:
            shortfall[wish.step] = _down_to_floor(energy, lower[wish.step], shortfall[wish.step])
            lower[wish.step] = energy
            kinds[wish.step] = ShortfallKind.TERMINAL
    arrives = _empty(steps)
    arrives[0] = unit.energy_kwh
    charge, discharge = np.full(steps, unit.max_charge_kw), np.full(steps, unit.max_discharge_kw)
    _bound_to(unit.asked, charge, discharge)
    least_charge, least_discharge = _held(unit.held_kw, charge, discharge)
    return Store(
        device=unit.device,
        is_bess=True,
        charge_efficiency=unit.charge_efficiency,
        discharge_efficiency=unit.discharge_efficiency,
        rated_charge_kw=unit.max_charge_kw,
        rated_discharge_kw=unit.max_discharge_kw,
        min_power_kw=0.0,
        least_draw_kw=0.0,
        plugged_frac=np.ones(steps),
        comes_later=False,
        charge_max_kw=charge,
        discharge_max_kw=discharge,
        charge_min_kw=least_charge,
        discharge_min_kw=least_discharge,
        lower_kwh=lower,
        upper_kwh=np.full(steps, upper),
        shortfall_max_kwh=shortfall,
        arrives_kwh=arrives,
        leaves=np.zeros(steps, dtype=np.bool_),
        capacity_kwh=np.full(steps, unit.capacity_kwh),
        kinds=tuple(kinds),
        shortfall_weight=np.ones(steps),
        left_eur_per_kwh=unit.left_eur_per_kwh,
        flowing_kw=unit.flowing_kw,
        ageing=unit.ageing,
        asked=unit.asked,
    )


def _floor(
    lower: Array, shortfall: Array, kinds: list[ShortfallKind | None], there: slice, least: float, energy: float
) -> None:
    """Equations (4)(15): hard, save where the store begins below its minimum; then missing energy is bought off."""
    if energy < least - BELOW_TOLERANCE_KWH:
        lower[there], shortfall[there] = least, least
        kinds[there] = [ShortfallKind.SOC_MIN] * (there.stop - there.start)
    else:
        lower[there] = min(least, energy)


def _down_to_floor(target: float, lower: float, shortfall: float) -> float:
    """The most that a target may be missed by: down to the hard bound below it, or to an empty store."""
    return target - (lower if shortfall == 0 else 0.0)


def _charger_store(charger: ChargerUnit, places: list[Placed], problem: Problem) -> Store:
    steps = problem.steps
    plugged, charge, discharge, lower, upper, shortfall, arrives, capacity = np.zeros((8, steps))
    weight, leaves = np.ones(steps), np.zeros(steps, dtype=np.bool_)
    kinds: list[ShortfallKind | None] = [None] * steps
    stays_on: Stay | None = None
    later_target, least_draw, step_h = 0.0, charger.min_power_kw, problem.step_s / 3600
    gap = charger.phase_gap
    three_phase_draw = 0.0 if gap is None else gap.three_phase_min_kw
    for place in places:
        stay, first, last = place.stay, place.first, place.last
        there, most = slice(first, last + 1), max(stay.energy_max_kwh, stay.energy_kwh)
        for step in (first, last):
            plugged[step] = _fraction(stay, problem.step_start(step), problem.step_s)
        plugged[first + 1 : last] = 1.0
        if first == 0:
            most_drawn = min(stay.max_charge_kw, drawn_kw(charger, stay, plugged[0], step_h))
            least_draw, three_phase_draw = min(least_draw, most_drawn), min(three_phase_draw, most_drawn)
        charge[there] = plugged[there] * min(charger.max_charge_kw, stay.max_charge_kw)
        discharge[there] = plugged[there] * min(charger.max_discharge_kw, stay.max_discharge_kw)
        upper[there], arrives[first], capacity[there] = most, stay.energy_kwh, stay.capacity_kwh
        _floor(lower, shortfall, kinds, there, stay.energy_min_kwh, stay.energy_kwh)
        target = min(wanted_at_end(stay, charger, problem), most)
        if problem.later is not None and stay.commanded_until > problem.end:
            stays_on, later_target = stay, target
        elif target > lower[last]:
            shortfall[last] = _down_to_floor(target, lower[last], shortfall[last])
            lower[last], kinds[last] = target, ShortfallKind.DEPARTURE
            weight[last] = stay.shortfall_weight
        if last + 1 < steps:
            leaves[last + 1] = True
    taper = taper_row(
        charger, step_h, plugged=plugged, charge_max=charge, upper=upper, arrives=arrives, capacity=capacity
    )
    charge[0] = min(charge[0], plugged[0] * charger.most_now_kw)
    here = any(place.first == 0 for place in places)
    caps = allowances_of(places, problem)
    discharge[0] = min(discharge[0], least_left_kwh(caps.values()) / step_h)
    if caps and discharge[0] < plugged[0] * charger.min_power_kw:
        discharge[0] = 0.0
    _bound_to(charger.asked if here else None, charge, discharge)
    least_charge, least_discharge = _held(charger.held_kw if here else None, charge, discharge)
    return Store(
        device=charger.device,
        is_bess=False,
        charge_efficiency=charger.charge_efficiency,
        discharge_efficiency=charger.discharge_efficiency,
        rated_charge_kw=charger.max_charge_kw,
        rated_discharge_kw=charger.max_discharge_kw,
        min_power_kw=charger.min_power_kw,
        least_draw_kw=least_draw,
        plugged_frac=plugged,
        comes_later=any(place.first == 0 and place.stay.arrival > problem.start for place in places),
        charge_max_kw=charge,
        discharge_max_kw=discharge,
        charge_min_kw=least_charge,
        discharge_min_kw=least_discharge,
        lower_kwh=lower,
        upper_kwh=upper,
        shortfall_max_kwh=shortfall,
        arrives_kwh=arrives,
        leaves=leaves,
        capacity_kwh=capacity,
        kinds=tuple(kinds),
        shortfall_weight=weight,
        stays_on=stays_on,
        later_target_kwh=later_target,
        flowing_kw=charger.flowing_kw if here else 0.0,
        asked=charger.asked if here else None,
        phase_gap=gap,
        three_phase_draw_kw=three_phase_draw,
        taper=charger.taper,
        taper_row=taper,
        caps=caps,
        ageing=charger.ageing,
    )


def wanted_at_end(stay: Stay, charger: ChargerUnit, problem: Problem) -> float:
    """Energy [kWh] wanted at the stay's end, or at the end of the steps after the window: the target of (6).

    For a stay that outlasts all that, what leaves the target within reach at full power after it. A target above
    the vehicle's own maximum is lowered to that by the caller.
    """
    outside_h = max((stay.commanded_until - problem.later_end).total_seconds(), 0.0) / 3600
    power = min(charger.max_charge_kw, stay.max_charge_kw)
    return stay.target_kwh - outside_h * power * charger.charge_efficiency


def _fraction(stay: Stay, start: datetime, step_s: int) -> float:
    begin = max((stay.arrival - start).total_seconds(), 0.0)
    end = min((stay.commanded_until - start).total_seconds(), float(step_s))
    return max(end - begin, 0.0) / step_s
