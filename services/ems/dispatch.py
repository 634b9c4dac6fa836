"""From solution to plan, and from plan to set-points."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from schemas.capabilities import Capability
from schemas.messages import (
    DevicePlan,
    EmsMode,
    Plan,
    PlanStatus,
    Setpoint,
    SetpointCause,
    Shortfall,
    ShortfallKind,
)
from schemas.participant import Outgoing
from schemas.sums import sum_in_order
from schemas.topics import Channel, Topic
from services.ems.causes import Why, causes_of
from services.ems.marginal_prices import marginal_prices
from services.ems.problem import ChargerUnit, FixedUnit, Problem
from services.ems.shortfall_cause import with_causes
from services.ems.solution import Solution
from services.ems.system_state import DeviceState
from services.ems.terms import TERMS
from services.ems.terms.base import SMALL_KWH, Commands, Excess


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan and what it commands in its first step: devices' power and inverters' limits [kW]."""

    plan: Plan
    power_kw: Mapping[str, float]
    limit_kw: Mapping[str, float]
    solution: Solution | None = None
    """What the plan was made from; None: nothing was solved for it."""


def decision_of(solution: Solution, epoch: int, mode: EmsMode) -> Decision:
    """Gathers the terms' parts of the plan and of the commands."""
    problem, commands = solution.problem, commands_of(solution)
    fields: dict[str, Any] = {}
    devices: dict[str, DevicePlan] = {}
    for term in TERMS:
        fields |= term.plan_fields(solution)
        devices |= term.device_plans(solution)
    chargers: tuple[ChargerUnit | FixedUnit, ...] = (*problem.chargers, *problem.fixed)
    notes = {unit.device: unit for unit in chargers}
    excesses = _merged(excess for term in TERMS for excess in term.excesses(solution))
    missed = [shortfall for term in TERMS for shortfall in term.shortfalls(solution)]
    if missed:
        missed = with_causes(missed, solution, devices, fields["pcc_kw"])
    if (prices := marginal_prices(solution)) is not None:
        fields["energy_eur_per_kwh"] = tuple(prices.bus.tolist())
        devices |= {name: _with_cause(devices[name], why) for name, why in causes_of(solution, prices).items()}
    plan = Plan(
        **heading(solution, epoch, mode),
        penalty_eur=penalty_eur(solution),
        shortfalls=(*missed, *(shortfall for excess in excesses if (shortfall := _shortfall(excess, problem)))),
        devices={name: _explained(plan, notes.get(name)) for name, plan in sorted(devices.items())},
        **fields,
    )
    return Decision(plan, commands.power_kw, commands.limit_kw, solution)


def heading(solution: Solution, epoch: int, mode: EmsMode) -> dict[str, Any]:
    """Fields of a plan: who made it, for when, and how it was solved."""
    gap = solution.mip_gap
    return {
        "epoch": epoch,
        "mode": mode,
        "status": PlanStatus.OPTIMAL if solution.proven else PlanStatus.INCUMBENT,
        "reason": None if solution.proven else f"budget of branch and bound used up at a gap of {gap:.2e}",
        "start": solution.problem.start,
        "step_s": solution.problem.step_s,
        "mip_gap": gap,
        "calm_eur": solution.calm_eur,
        "binaries": solution.binaries,
        "iterations": solution.iterations,
    }


def commands_of(solution: Solution) -> Commands:
    """The commands of all terms' devices for the first step."""
    power: dict[str, float] = {}
    limit: dict[str, float] = {}
    for term in TERMS:
        commands = term.commands(solution)
        power |= commands.power_kw
        limit |= commands.limit_kw
    return Commands(power, limit)


def with_cause(plan: Plan, devices: Container[str], cause: SetpointCause) -> Plan:
    """The plan in which these devices are commanded what they are for another cause than the optimisation's."""
    found = {
        name: device.model_copy(update={"cause": cause, "element": None}) if name in devices else device
        for name, device in plan.devices.items()
    }
    return plan.model_copy(update={"devices": found})


def _with_cause(plan: DevicePlan, why: Why) -> DevicePlan:
    return plan.model_copy(
        update={"cause": why.cause, "element": why.element, "stored_eur_per_kwh": why.stored_eur_per_kwh}
    )


def penalty_eur(solution: Solution) -> float:
    """Price of the targets and limits that are missed [€]."""
    excesses = _merged(excess for term in TERMS for excess in term.excesses(solution))
    return sum_in_order(term.penalty_eur(solution) for term in TERMS) + _price_eur(excesses, solution.problem)


def powers_of(solution: Solution) -> Mapping[str, float]:
    """The commands of the first step [kW], by device."""
    return commands_of(solution).power_kw


def _explained(plan: DevicePlan, unit: ChargerUnit | FixedUnit | None) -> DevicePlan:
    """With what was assumed of a charger's vehicles, and why it is left to its fallback, if it is."""
    if unit is None:
        return plan
    left = unit.left_to_fallback if isinstance(unit, FixedUnit) else None
    if not unit.assumptions and left is None:
        return plan
    return plan.model_copy(update={"assumptions": unit.assumptions or None, "left_to_fallback": left})


def _merged(excesses: Iterable[Excess]) -> list[Excess]:
    """One for each limit: the connection's two directions are one, and so are a cable's or the transformer's phases."""
    merged: dict[tuple[ShortfallKind, str | None], Excess] = {}
    for excess in excesses:
        key = excess.kind, excess.element
        over = merged[key].over_kw + excess.over_kw if key in merged else excess.over_kw
        merged[key] = replace(excess, over_kw=over)
    return list(merged.values())


def _price_eur(excesses: Sequence[Excess], problem: Problem) -> float:
    return sum_in_order(excess.eur(problem.step_h) for excess in excesses)


def _shortfall(excess: Excess, problem: Problem) -> Shortfall | None:
    """The first step in which the limit is exceeded, and the energy above it in all."""
    steps = (excess.over_kw * problem.step_h > SMALL_KWH).nonzero()[0]
    if not len(steps):
        return None
    kwh = float(excess.over_kw.sum()) * problem.step_h
    at, eur = problem.step_start(int(steps[0])), excess.eur(problem.step_h)
    return Shortfall(kind=excess.kind, element=excess.element, at=at, kwh=kwh, eur=eur)


def fallback_plan(start: datetime, step_s: int, epoch: int, mode: EmsMode, reason: str) -> Decision:
    """No set-points: every device follows its fallback."""
    plan = Plan(
        epoch=epoch,
        mode=mode,
        status=PlanStatus.SAFE_RULE,
        reason=reason,
        start=start,
        step_s=step_s,
        objective_eur=0.0,
    )
    return Decision(plan, {}, {})


def shifted(
    previous: Plan, start: datetime, present: Mapping[str, DeviceState], reason: str, epoch: int
) -> Decision | None:
    """The previous plan from ``start`` on, or None if it does not reach so far. Its costs are not told again."""
    begin = (start - previous.start).total_seconds() / previous.step_s
    steps = len(next(iter(previous.devices.values())).power_kw) if previous.devices else 0
    first = int(begin)
    if begin != first or not 0 <= first < steps:
        return None
    devices = {
        name: d.model_copy(
            update={
                "power_kw": d.power_kw[first:],
                "soc_frac": None if d.soc_frac is None else d.soc_frac[first:],
                "cause": None if d.cause is None else SetpointCause.PREVIOUS_PLAN,
                "element": None,
                "phases": None,
                "stored_eur_per_kwh": None,
            }
        )
        for name, d in previous.devices.items()
        if name in present
    }
    plan = previous.model_copy(
        update={
            "epoch": epoch,
            "status": PlanStatus.PREVIOUS,
            "reason": reason,
            "start": start,
            "objective_eur": 0.0,
            "wear_eur": 0.0,
            "calendar_wear_eur": None,
            "demand_eur": 0.0,
            "ratchet_eur": None,
            "later_eur": 0.0,
            "ramping_eur": 0.0,
            "calm_eur": 0.0,
            "penalty_eur": 0.0,
            "tie_break_eur": 0.0,
            "shortfalls": (),
            "requests": None,
            "devices": devices,
            **{
                name: None if (values := getattr(previous, name)) is None else values[first:]
                for name in (
                    "load_kw",
                    "pcc_kw",
                    "losses_kw",
                    "purchase_price_eur_per_kwh",
                    "sale_price_eur_per_kwh",
                    "energy_eur_per_kwh",
                )
            },
        }
    )
    power, limit = {}, {}
    for name, device in devices.items():
        plate = present[name].birth.nameplate
        if Capability.CURTAILABLE in plate.capabilities:
            limit[name] = plate.gives_kw
        elif Capability.FLEXIBLE_LOAD in plate.capabilities and device.left_to_fallback is None:
            power[name] = device.power_kw[0]
    return Decision(plan, power, limit)


def setpoints(
    decision: Decision, present: Mapping[str, DeviceState], site: str, valid_from: datetime, valid_until: datetime
) -> list[Outgoing]:
    """One for every device that is there and can be commanded, in the order of their names.

    A charger without a car is told 0 kW.
    """
    stamp = valid_from.strftime("%Y%m%dT%H%M%SZ")
    prices = decision.plan.energy_eur_per_kwh
    messages = []
    for name, known in sorted(present.items()):
        power, limit = decision.power_kw.get(name), decision.limit_kw.get(name)
        if power is None and limit is None:
            continue
        cause, planned = _cause(decision.plan, name), decision.plan.devices.get(name)
        if Capability.VEHICLES in known.birth.capabilities and known.telemetry and known.telemetry.plugged is None:
            power, cause = 0.0, SetpointCause.NO_VEHICLE
        body = Setpoint(
            id=f"{stamp}.{name}",
            epoch=decision.plan.epoch,
            valid_from=valid_from,
            valid_until=valid_until,
            power_kw=power,
            limit_kw=limit,
            phases=planned.phases if power and planned is not None else None,
            fallback=known.birth.fallback,
            cause=cause,
            energy_eur_per_kwh=None if prices is None else prices[0],
        )
        messages.append(Outgoing(Topic(site, known.kind, name, Channel.SETPOINT), body))
    return messages


def _cause(plan: Plan, device: str) -> SetpointCause | None:
    if plan.status is PlanStatus.SAFE_RULE:
        return SetpointCause.FALLBACK
    return plan.devices[device].cause if device in plan.devices else None


def quarter_end(start: datetime, step_s: float) -> datetime:
    return start + timedelta(seconds=step_s)
