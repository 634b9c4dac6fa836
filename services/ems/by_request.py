"""A problem and its decision with the powers that persons ask for (`ems.requests`).

The EMS alone turns a request into a set-point, so a device has one writer of set-points, whoever wants something of it.
A store that is asked for a power is planned with that power for as long as it is asked for: it bounds the flow in its
direction, and each kWh of it has a price (`services.ems.terms.requests`) above energy and targets and below the limits.
All hard bounds hold: SOC, consent to V2G and its caps, ratings. An inverter is planned with what it is let produce.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from schemas.messages import PlannedRequest, SetpointCause
from services.ems.dispatch import Decision, with_cause
from services.ems.problem import Asked, BessUnit, ChargerUnit, Problem, PvUnit
from services.ems.requests import Wanted

SAME_KW = 1e-3
WORTH = 0.5
"""What a kWh that is asked for is worth, as a part of the least price of a limit."""


@dataclass(frozen=True, slots=True)
class ByRequest:
    """The problem with the requests, and why others have no part in it, by device."""

    problem: Problem
    refused: Mapping[str, str]


def with_requests(problem: Problem, wanted: Mapping[str, Wanted]) -> ByRequest:
    """The problem in which devices have the powers that persons ask of them."""
    if not wanted:
        return ByRequest(problem, {})
    commanded: tuple[BessUnit | ChargerUnit | PvUnit, ...] = (*problem.bess, *problem.chargers, *problem.pv)
    units = {unit.device: unit for unit in commanded}
    refused = {name: why for name, each in wanted.items() if (why := _why_not(problem, name, units.get(name), each))}
    asked = {name: Asked(each.power.kw, _steps(problem, each)) for name, each in wanted.items() if name not in refused}
    prices = problem.prices
    limits = (prices.limit_eur_per_kwh, prices.outside_limit_eur_per_kwh or math.inf)
    found = replace(
        problem,
        bess=tuple(replace(unit, asked=asked.get(unit.device)) for unit in problem.bess),
        chargers=tuple(replace(unit, asked=asked.get(unit.device)) for unit in problem.chargers),
        pv=tuple(_inverter(unit, asked.get(unit.device)) for unit in problem.pv),
        prices=replace(prices, asked_eur_per_kwh=WORTH * min(limits)),
    )
    return ByRequest(found, refused)


def _why_not(problem: Problem, name: str, unit: BessUnit | ChargerUnit | PvUnit | None, wanted: Wanted) -> str:
    """Why a request cannot be planned with; empty: it can."""
    if unit is None:
        left = next((each.left_to_fallback for each in problem.fixed if each.device == name), None)
        return left or "no battery, charger or inverter of this name that can be commanded is heard"
    if isinstance(unit, PvUnit):
        if wanted.power.limit_kw is None:
            return "an inverter takes a limit, no power"
        return "" if unit.curtailable else "this inverter cannot be curtailed"
    if wanted.power.power_kw is None:
        return "it takes a power, no limit"
    if isinstance(unit, ChargerUnit) and not any(stay.arrival <= problem.start for stay in unit.stays):
        return "no vehicle is plugged"
    return ""


def _steps(problem: Problem, wanted: Wanted) -> int:
    """Steps in a part of which it is asked for, at least the one that is commanded."""
    lasts = math.ceil((wanted.power.until - problem.start) / timedelta(seconds=problem.step_s))
    return min(max(lasts, 1), problem.steps)


def _inverter(unit: PvUnit, asked: Asked | None) -> PvUnit:
    if asked is None:
        return unit
    let = [min(kw, asked.kw) if step < asked.steps else kw for step, kw in enumerate(unit.available_kw)]
    return replace(unit, available_kw=tuple(let), asked_limit_kw=min(asked.kw, unit.rated_kw))


def answered(decision: Decision, wanted: Mapping[str, Wanted], by_request: ByRequest | None, why: str = "") -> Decision:
    """The decision whose plan says what comes of every request. Without ``by_request`` none is done, for ``why``."""
    if not wanted:
        return decision
    refused = dict.fromkeys(wanted, why) if by_request is None else by_request.refused
    commands = {**decision.power_kw, **decision.limit_kw}
    answers, done = {}, []
    for name, each in wanted.items():
        planned = None if name in refused else commands.get(name)
        reason = refused.get(name) or (None if by_request is None else _less(by_request.problem, name, each, planned))
        if planned is not None:
            done.append(name)
        answers[name] = PlannedRequest(
            source=each.source,
            asked_kw=each.power.kw,
            until=each.power.until,
            planned_kw=planned,
            reason=None if reason is None else reason[:500],
        )
    plan = with_cause(decision.plan, done, SetpointCause.REQUEST)
    return replace(decision, plan=plan.model_copy(update={"requests": answers}))


def _less(problem: Problem, name: str, wanted: Wanted, planned_kw: float | None) -> str | None:
    """Why less is done than was asked for; None: all of it is."""
    if planned_kw is None:
        return "nothing is commanded to this device now"
    if abs(planned_kw - wanted.power.kw) <= SAME_KW:
        return None
    stores: tuple[BessUnit | ChargerUnit, ...] = (*problem.bess, *problem.chargers)
    unit = next((each for each in stores if each.device == name), None)
    if unit is None:
        return "less may be exported, or it is worth less" if planned_kw < wanted.power.kw else None
    return _less_of_store(unit, wanted.power.kw)


def _less_of_store(unit: BessUnit | ChargerUnit, asked_kw: float) -> str:
    stays = unit.stays[:1] if isinstance(unit, ChargerUnit) else ()
    most = min(each.max_charge_kw if asked_kw > 0 else each.max_discharge_kw for each in (unit, *stays))
    least = unit.min_power_kw if isinstance(unit, ChargerUnit) else 0.0
    if asked_kw < 0 and most <= 0:
        return "it may give nothing back: its vehicle or the charger does not allow it"
    if abs(asked_kw) > most + SAME_KW:
        return f"its rating, or that of its vehicle, is {most:g} kW"
    if abs(asked_kw) < least:
        return f"its smallest power is {least:g} kW"
    return "its SOC, a target or a limit leaves no more"
