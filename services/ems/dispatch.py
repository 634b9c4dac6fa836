"""From solution to plan, and from plan to set-points."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from schemas.messages import (
    ChargerNameplate,
    ChargerTelemetry,
    DevicePlan,
    EmsMode,
    Plan,
    PlanStatus,
    PvNameplate,
    Setpoint,
    Shortfall,
    ShortfallKind,
)
from schemas.participant import Outgoing
from schemas.topics import Channel, Topic
from services.ems.knowledge import Known
from services.ems.problem import Problem
from services.ems.solve import Solution
from services.ems.stores import Array

SMALL_KWH = 1e-6
"""A shortfall below this is the solver's tolerance, not a shortfall."""
SMALL_KW = 1e-6
LARGEST_KW = 1e6
"""Range of `schemas.units.Kw`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan and what it commands in its first step: devices' power and inverters' limits [kW]."""

    plan: Plan
    power_kw: Mapping[str, float]
    limit_kw: Mapping[str, float]


def decision_of(problem: Problem, solution: Solution, epoch: int, mode: EmsMode) -> Decision:
    devices, power, limit = _devices(problem, solution)
    step_h, prices = problem.step_h, problem.prices
    energy_eur = step_h * float(
        np.array(problem.purchase_eur_per_kwh) @ solution.import_kw
        - np.array(problem.sale_eur_per_kwh) @ solution.export_kw
    )
    shortfalls = _shortfalls(problem, solution)
    gap = solution.mip_gap
    plan = Plan(
        epoch=epoch,
        mode=mode,
        status=PlanStatus.OPTIMAL if solution.proven else PlanStatus.INCUMBENT,
        reason=None if solution.proven else f"budget of branch and bound used up at a gap of {gap:.2e}",
        start=problem.start,
        step_s=problem.step_s,
        objective_eur=energy_eur,
        wear_eur=prices.bess_wear_eur_per_kwh * step_h * _bess_kw(solution),
        demand_eur=prices.demand_eur_per_kw * max(solution.peak_kw - problem.month_peak_kw, 0.0),
        penalty_eur=prices.shortfall_eur_per_kwh * float(solution.shortfall_kwh.sum())
        + prices.limit_eur_per_kwh * step_h * float(_over(solution).sum() + solution.group_over_kw.sum()),
        tie_break_eur=tie_break_eur(problem, solution),
        mip_gap=gap,
        binaries=solution.binaries,
        iterations=solution.iterations,
        shortfalls=shortfalls,
        devices=devices,
        load_kw=_told(problem.load_kw),
        pcc_kw=_told(solution.import_kw - solution.export_kw),
        losses_kw=_told(problem.losses_kw),
        purchase_price_eur_per_kwh=problem.purchase_eur_per_kwh,
        sale_price_eur_per_kwh=problem.sale_eur_per_kwh,
    )
    return Decision(plan, power, limit)


def _told(values: Array | tuple[float, ...]) -> tuple[float, ...]:
    """As the contract admits them: a sum of absurd measurements may exceed what one message may say."""
    told = values if isinstance(values, tuple) else tuple(values.tolist())
    if min(told) >= -LARGEST_KW and max(told) <= LARGEST_KW:
        return told
    return tuple(np.clip(told, -LARGEST_KW, LARGEST_KW).tolist())


def tie_break_eur(problem: Problem, solution: Solution) -> float:
    """The secondary objective [€]: throughput, and the bands of import and export."""
    prices = problem.prices
    throughput = float(solution.charge_kw.sum() + solution.discharge_kw.sum())
    flat = float(np.arange(len(solution.import_bands_kw)) @ solution.import_bands_kw.sum(axis=1))
    flat += float(np.arange(len(solution.export_bands_kw)) @ solution.export_bands_kw.sum(axis=1))
    flat += (len(solution.import_bands_kw) - 1) * float(solution.import_over_kw.sum())
    flat += (len(solution.export_bands_kw) - 1) * float(solution.export_over_kw.sum())
    return problem.step_h * (prices.tie_throughput_eur_per_kwh * throughput + prices.tie_flat_eur_per_kwh * flat)


def _bess_kw(solution: Solution) -> float:
    """The batteries' charging plus discharging power, summed over the window's steps."""
    powers = [solution.charge_kw[i] + solution.discharge_kw[i] for i, s in enumerate(solution.stores) if s.is_bess]
    return float(sum(power.sum() for power in powers))


def _over(solution: Solution) -> Array:
    return solution.import_over_kw + solution.export_over_kw


def _devices(problem: Problem, solution: Solution) -> tuple[dict[str, DevicePlan], dict[str, float], dict[str, float]]:
    power: dict[str, Array] = {}
    soc: dict[str, list[float | None]] = {}
    command: dict[str, float] = {}
    for i, store in enumerate(solution.stores):
        net = solution.charge_kw[i] - solution.discharge_kw[i]
        power[store.device] = power.get(store.device, 0.0) + net
        socs = soc.setdefault(store.device, [None] * problem.steps)
        there = store.capacity_kwh > 0
        fractions = np.minimum(solution.energy_kwh[i] / np.where(there, store.capacity_kwh, 1.0), 1.0).tolist()
        for step in there.nonzero()[0].tolist():
            socs[step] = fractions[step]
        # A car that leaves within the step has to take its energy in the part of it in which it is there.
        now = float(net[0] / store.plugged_frac[0]) if store.plugged_frac[0] > 0 else 0.0
        now = min(max(now, -store.rated_discharge_kw), store.rated_charge_kw)
        command[store.device] = command.get(store.device, 0.0) + _settled(now, store.min_power_kw)
    devices = {name: DevicePlan(power_kw=_told(power[name]), soc_frac=tuple(soc[name])) for name in sorted(power)}
    for fixed in problem.fixed:
        devices[fixed.device] = DevicePlan(power_kw=_told(fixed.power_kw))
    limits: dict[str, float] = {}
    curtailed = iter(solution.pv_kw)
    for unit in problem.pv:
        produced = next(curtailed) if unit.curtailable else np.array(unit.available_kw)
        devices[unit.device] = DevicePlan(power_kw=_told(0.0 - produced))
        if unit.curtailable:
            cut = produced[0] < unit.available_kw[0] - SMALL_KW
            limits[unit.device] = float(produced[0]) if cut else unit.rated_kw
    return devices, command, limits


def _settled(power_kw: float, least_kw: float) -> float:
    """Without the solver's tolerance: 0 for what is nearly 0, the smallest power for what is nearly that."""
    if abs(power_kw) < SMALL_KW:
        return 0.0
    if least_kw - SMALL_KW <= abs(power_kw) < least_kw:
        return least_kw if power_kw > 0 else -least_kw
    return power_kw


def _shortfalls(problem: Problem, solution: Solution) -> tuple[Shortfall, ...]:
    """Each wish that is missed. Steps below a minimum, or above a limit, are one entry: the first, and their sum.

    The phases of a cable or of the transformer are one entry, too.
    """
    price, step_h = problem.prices.shortfall_eur_per_kwh, problem.step_h
    found: list[Shortfall] = []
    short = solution.shortfall_kwh > SMALL_KWH
    for i in sorted(set(short.nonzero()[0].tolist())):
        store, missing = solution.stores[i], solution.shortfall_kwh[i]
        below = []
        for step in short[i].nonzero()[0].tolist():
            kind = store.kinds[step]
            if kind is None or kind is ShortfallKind.SOC_MIN:
                below.append(step)
                continue
            kwh = float(missing[step])
            found.append(_shortfall(kind, store.device, problem.step_start(step + 1), kwh, price))
        if below:
            at = problem.step_start(below[0] + 1)
            total = float(missing[below].sum())
            found.append(
                Shortfall(
                    kind=ShortfallKind.SOC_MIN,
                    device=store.device,
                    at=at,
                    kwh=float(missing[below].max()),
                    eur=price * total,
                )
            )
    limits: dict[tuple[ShortfallKind, str | None], Array] = {(ShortfallKind.CONNECTION_LIMIT, None): _over(solution)}
    for group, above in zip(problem.groups, solution.group_over_kw, strict=True):
        limit = group.kind, group.element or None
        limits[limit] = limits[limit] + above if limit in limits else above
    for (kind, element), over in limits.items():
        steps = (over * step_h > SMALL_KWH).nonzero()[0]
        if len(steps):
            kwh = float(over.sum()) * step_h
            at = problem.step_start(int(steps[0]))
            eur = kwh * problem.prices.limit_eur_per_kwh
            found.append(Shortfall(kind=kind, element=element, at=at, kwh=kwh, eur=eur))
    return tuple(found)


def _shortfall(kind: ShortfallKind, device: str, at: datetime, kwh: float, price: float) -> Shortfall:
    return Shortfall(kind=kind, device=device, at=at, kwh=kwh, eur=kwh * price)


def safe_rule(start: datetime, step_s: int, epoch: int, mode: EmsMode, reason: str) -> Decision:
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


def shifted(previous: Plan, start: datetime, present: Mapping[str, Known], reason: str) -> Decision | None:
    """The previous plan from ``start`` on, or None if it does not reach so far. Its costs are not told again."""
    begin = (start - previous.start).total_seconds() / previous.step_s
    steps = len(next(iter(previous.devices.values())).power_kw) if previous.devices else 0
    first = int(begin)
    if begin != first or not 0 <= first < steps:
        return None
    devices = {
        name: DevicePlan(power_kw=d.power_kw[first:], soc_frac=None if d.soc_frac is None else d.soc_frac[first:])
        for name, d in previous.devices.items()
        if name in present
    }
    plan = previous.model_copy(
        update={
            "status": PlanStatus.PREVIOUS,
            "reason": reason,
            "start": start,
            "objective_eur": 0.0,
            "wear_eur": 0.0,
            "demand_eur": 0.0,
            "penalty_eur": 0.0,
            "tie_break_eur": 0.0,
            "shortfalls": (),
            "devices": devices,
            **{
                name: None if (values := getattr(previous, name)) is None else values[first:]
                for name in (
                    "load_kw",
                    "pcc_kw",
                    "losses_kw",
                    "purchase_price_eur_per_kwh",
                    "sale_price_eur_per_kwh",
                )
            },
        }
    )
    power, limit = {}, {}
    for name, device in devices.items():
        plate = present[name].birth.nameplate
        if isinstance(plate, PvNameplate):
            if plate.curtailable:
                limit[name] = plate.rated_kw
        elif not (isinstance(plate, ChargerNameplate) and not plate.controllable):
            power[name] = device.power_kw[0]
    return Decision(plan, power, limit)


def setpoints(
    decision: Decision, present: Mapping[str, Known], site: str, valid_from: datetime, valid_until: datetime
) -> list[Outgoing]:
    """One for every device that is there and can be commanded, in the order of their names.

    A charger without a car is told 0 kW.
    """
    stamp = valid_from.strftime("%Y%m%dT%H%M%SZ")
    messages = []
    for name, known in sorted(present.items()):
        power, limit = decision.power_kw.get(name), decision.limit_kw.get(name)
        if power is None and limit is None:
            continue
        if isinstance(known.telemetry, ChargerTelemetry) and known.telemetry.vehicle is None:
            power = 0.0
        body = Setpoint(
            id=f"{stamp}.{name}",
            epoch=decision.plan.epoch,
            valid_from=valid_from,
            valid_until=valid_until,
            power_kw=power,
            limit_kw=limit,
            fallback=known.birth.fallback,
        )
        messages.append(Outgoing(Topic(site, known.kind, name, Channel.SETPOINT), body))
    return messages


def quarter_end(start: datetime, step_s: float) -> datetime:
    return start + timedelta(seconds=step_s)
