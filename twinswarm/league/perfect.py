"""Perfect foresight: the least score that any EMS could have had, knowing everything.

It is one linear program over the whole time, not day by day, with the load, PV, prices and sessions as they really
were, the same value of what is left at the end and the same price of a shortfall. Its unknowns are energies by step.
The plant is relaxed: no losses of the network, no dead times, ramps, least powers or tapers, no limits of cables and of
the connection, no demand charge, and vehicles at two overlapping sessions of a charger may both be plugged.

Energies by step of any run satisfy the program: powers are within ratings while a vehicle is there, stores follow the
same efficiencies, SOC stays within the same bounds. Energy imported and exported within one step costs no less than its
net, as long as no energy is sold for more than it is bought for. So no run can have a lower score; what a contestant is
above it is the price of not knowing, of planning worse, and of the plant's limits and losses together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from schemas.cycle import Course
from schemas.errors import Code, InputError, RunFailedError
from schemas.site import Pv, Site
from twinswarm.league.plant import batteries, visits
from twinswarm.league.score import SHORTFALL_EUR_PER_KWH, Score

_INFINITE = math.inf


@dataclass
class _Program:
    """Columns and rows of a linear program, minimised. Rows are: sum of entries {=, ≤} right side."""

    cost: list[float] = field(default_factory=list)
    bounds: list[tuple[float, float]] = field(default_factory=list)
    equal: list[tuple[dict[int, float], float]] = field(default_factory=list)
    below: list[tuple[dict[int, float], float]] = field(default_factory=list)

    def column(self, low: float, high: float, cost: float = 0.0) -> int:
        self.bounds.append((low, high))
        self.cost.append(cost)
        return len(self.cost) - 1

    def minimum(self) -> float:
        """Raises RunFailedError when there is none."""
        from scipy.optimize import linprog

        parts: dict[str, object] = {}
        for name, rows in (("eq", self.equal), ("ub", self.below)):
            if rows:
                parts |= {f"A_{name}": _matrix(rows, len(self.cost)), f"b_{name}": [right for _, right in rows]}
        found = linprog(self.cost, bounds=self.bounds, method="highs-ds", **parts)
        if found.status != 0:
            raise RunFailedError(f"perfect foresight was not found: {found.message}")
        return math.fsum(price * value for price, value in zip(self.cost, found.x.tolist(), strict=True))


def perfect_eur(site: Site, course: Course, scores: Sequence[Score]) -> float:
    """The bound [€] of the score. ``scores``: of the contestants; the first one leaves PV alone and measured the truth.

    Raises InputError where energy is sold for more than it is bought for, and the bound would not hold.
    """
    truth = scores[0]
    steps = len(truth.purchase_eur_per_kwh)
    for step, (buy, sell) in enumerate(zip(truth.purchase_eur_per_kwh, truth.sale_eur_per_kwh, strict=True)):
        if sell > buy:
            at = (course.t0 + step * course.step).isoformat()
            what = (
                f"at {at} energy is sold for more than it is bought for ({buy} €/kWh): it could be passed on for ever"
            )
            raise InputError.one("tariff", what, sell, code=Code.CONFLICT)
    program = _Program()
    balance: list[dict[int, float]] = [{} for _ in range(steps)]
    price = math.fsum(truth.purchase_eur_per_kwh) / steps
    constant = _bess(program, balance, site, course, price) + _vehicles(program, balance, site, course, price)
    curtailed = any(device.curtailable for device in site.devices.values() if isinstance(device, Pv))
    for step in range(steps):
        buy, sell = truth.purchase_eur_per_kwh[step], truth.sale_eur_per_kwh[step]
        row = balance[step]
        row[program.column(0.0, _INFINITE, buy)] = -1.0
        row[program.column(0.0, _INFINITE, -sell)] = 1.0
        pv_kwh = truth.pv_kwh[step]
        row[program.column(0.0 if curtailed else pv_kwh, pv_kwh)] = -1.0
        if min(buy, sell) < 0:  # losses would be paid for: as many as any contestant had
            row[program.column(0.0, max(0.0, *(score.losses_kwh[step] for score in scores)))] = 1.0
        program.equal.append((row, -truth.others_kwh[step]))
    return program.minimum() + constant


def _bess(program: _Program, balance: Sequence[dict[int, float]], site: Site, course: Course, price: float) -> float:
    """Adds the batteries; returns what is constant in the value of what they hold at the end [€]."""
    constant = 0.0
    for spec in batteries(site).values():
        begin = spec.initial_soc_frac * spec.capacity_kwh
        low = min(begin, spec.soc_min_frac * spec.capacity_kwh)
        high = max(begin, spec.soc_max_frac * spec.capacity_kwh)
        hours = course.step / timedelta(hours=1)
        before: int | None = None
        for row in balance:
            charged = program.column(0.0, spec.max_charge_kw * hours)
            given = program.column(0.0, spec.max_discharge_kw * hours)
            after = program.column(low, high)
            row |= {charged: 1.0, given: -1.0}
            _follow(
                program, before, begin, after, (charged, spec.charge_efficiency), (given, spec.discharge_efficiency)
            )
            before = after
        if before is not None:
            program.cost[before] -= price
            constant += price * begin
    return constant


def _vehicles(
    program: _Program, balance: Sequence[dict[int, float]], site: Site, course: Course, price: float
) -> float:
    """Adds the sessions; returns what is constant in the value of what plugged vehicles hold at the end [€]."""
    constant = 0.0
    for visit in visits(site, course):
        spec, session = visit.spec, visit.session
        low = min(visit.arrival_kwh, session.soc_min_frac * session.capacity_kwh)
        high = max(visit.arrival_kwh, session.soc_max_frac * session.capacity_kwh)
        charge_kw = min(spec.max_charge_kw, _or_infinite(session.max_charge_kw))
        discharge_kw = min(spec.max_discharge_kw, _or_infinite(session.max_discharge_kw))
        before: int | None = None
        for step, row in enumerate(balance):
            begin = course.t0 + step * course.step
            there = min(session.departure, begin + course.step) - max(session.arrival, begin)
            if there <= timedelta(0):
                continue
            hours = there / timedelta(hours=1)
            charged, given = program.column(0.0, charge_kw * hours), program.column(0.0, discharge_kw * hours)
            after = program.column(low, high)
            row |= {charged: 1.0, given: -1.0}
            efficiencies = (charged, spec.charge_efficiency), (given, spec.discharge_efficiency)
            _follow(program, before, visit.arrival_kwh, after, *efficiencies)
            before = after
        if before is None:
            continue
        if session.departure <= course.t_end:
            short = program.column(0.0, _INFINITE, SHORTFALL_EUR_PER_KWH)
            program.below.append(({before: -1.0, short: -1.0}, -visit.target_kwh))
        else:
            worth = program.column(-_INFINITE, visit.target_kwh, -price)
            program.below.append(({worth: 1.0, before: -1.0}, 0.0))
            constant += price * min(visit.arrival_kwh, visit.target_kwh)
    return constant


def _follow(
    program: _Program,
    before: int | None,
    begin_kwh: float,
    after: int,
    charged: tuple[int, float],
    given: tuple[int, float],
) -> None:
    """Energy after a step: that before, with what was charged and given at these efficiencies."""
    row = {after: 1.0, charged[0]: -charged[1], given[0]: 1.0 / given[1]}
    if before is not None:
        row[before] = -1.0
    program.equal.append((row, begin_kwh if before is None else 0.0))


def _or_infinite(value: float | None) -> float:
    return _INFINITE if value is None else value


def _matrix(rows: Sequence[tuple[dict[int, float], float]], columns: int) -> object:
    from scipy.sparse import csr_array

    place = [number for number, (entries, _) in enumerate(rows) for _ in entries]
    column = [index for entries, _ in rows for index in entries]
    values = [value for entries, _ in rows for value in entries.values()]
    return csr_array((values, (place, column)), shape=(len(rows), columns))
