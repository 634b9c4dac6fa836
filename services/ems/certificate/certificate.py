"""The certificate of one plan: the program as data, the plan's values, and a proof that no plan costs much less."""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.messages import DevicePlan, Plan, Setpoint, SetpointCause
from schemas.participant import Json
from schemas.sums import sum_in_order
from services.ems.certificate.proof import leaves_of, whole_values
from services.ems.certificate.statement import Statement, statement_of
from services.ems.compile import COST_SCALE
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import SMALL_KW
from services.ems.terms.heat import HEAT_POWER
from services.ems.terms.pv import curtailable

FORMAT = "twinswarm certificate 1"


def certificate_of(solution: Solution, plan: Plan, setpoints: Mapping[str, Setpoint]) -> dict[str, Json]:
    """For ``json.dumps``; docs/certificates.md has the fields. ``plan`` and ``setpoints`` (by device): what was
    published."""
    program = statement_of(solution.values.model, solution.values.instance)
    values = _values(solution, program)
    costs = {part: math.fsum(cost * values) for part, cost in program.costs.items()}
    total = math.fsum(costs.values())
    duals = None if solution.binaries or solution.duals is None else solution.duals[program.kept_rows] / COST_SCALE
    leaves = leaves_of(program, total, duals)
    bound = min(leaf.bound_eur for leaf in leaves)
    made_of = {device: _of_first_step(solution, device, program) for device in sorted(setpoints)}
    problem = _problem(program, solution.problem, {device: found.pairs for device, found in made_of.items()})
    return {
        "format": FORMAT,
        "problem": problem,
        "problem_sha256": digest_of(problem),
        "values": values.tolist(),
        "leaves": [
            {"fixed": [[column, value] for column, value in leaf.fixed.items()], "duals": leaf.duals.tolist()}
            for leaf in leaves
        ],
        "costs_eur": costs,
        "total_eur": total,
        "bound_eur": bound if math.isfinite(bound) else None,
        "gap": max(total - bound, 0.0) / max(abs(total), 1e-9) if math.isfinite(bound) else None,
        "setpoints": {
            device: _setpoint(setpoints[device], found, values, plan.devices.get(device))
            for device, found in made_of.items()
        },
        "plan": plan.model_dump(mode="json", exclude_none=True),
    }


def digest_of(problem: Json) -> str:
    """SHA-256 of all names and numbers of a problem in their order: numbers as 8 bytes (IEEE 754, little end first),
    texts in UTF-8 with a line's end behind them, as is ``null``."""
    digest = hashlib.sha256()
    for part in _flat(problem):
        digest.update(part)
    return digest.hexdigest()


def _flat(part: Json) -> Iterator[bytes]:
    if isinstance(part, dict):
        part = [value for item in part.items() for value in item]
    if isinstance(part, list):
        for each in part:
            yield from _flat(each)
    elif isinstance(part, int | float):
        yield struct.pack("<d", part)
    else:
        yield f"{'null' if part is None else part}\n".encode()


def _problem(program: Statement, stated: Problem, setpoints: Mapping[str, list[float]]) -> dict[str, Any]:
    """Columns ``[name, lower, upper, whole]``, rows ``[name, term, lower, upper, [column, coefficient, …]]``, costs by
    part ``[column, €, …]``, set-points by device ``[column, factor, …]``; ``null`` is infinite. ``money``: its
    weight in the objective and the demand charge, by which the plan's sums are made from the costs."""
    matrix = program.matrix
    entries = [
        _pairs(matrix.indices[start:stop], matrix.data[start:stop])
        for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]
    return {
        "columns": [
            [name, lower, upper, int(whole)]
            for name, lower, upper, whole in zip(
                program.columns, _finite(program.lower), _finite(program.upper), program.whole, strict=True
            )
        ],
        "rows": [
            [name, term, lower, upper, pairs]
            for name, term, lower, upper, pairs in zip(
                program.rows,
                program.terms,
                _finite(program.row_lower),
                _finite(program.row_upper),
                entries,
                strict=True,
            )
        ],
        "costs": [[part, _pairs(cost.nonzero()[0], cost[cost != 0])] for part, cost in program.costs.items()],
        "setpoints": [[device, pairs] for device, pairs in setpoints.items()],
        "money": {"weight": stated.weights.cost, "demand_eur_per_kw": stated.prices.demand_eur_per_kw},
    }


def _pairs(places: NDArray[Any], numbers: Array) -> list[float]:
    return [part for pair in zip(places.tolist(), numbers.tolist(), strict=True) for part in pair]


def _finite(values: Array) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _values(solution: Solution, program: Statement) -> Array:
    values: Array = solution.values.vector[program.kept]
    flags = values[program.whole]
    if not (np.abs(flags - np.round(flags)) > 1e-9).any():
        return values
    return whole_values(program, values)


class _MadeOf(NamedTuple):
    """Columns of the first step, each with a factor, that make a set-point; and why it may be another number."""

    pairs: list[float]
    why: str


def _of_first_step(solution: Solution, device: str, program: Statement) -> _MadeOf:
    there = [
        (store.comes_later, i)
        for i, store in enumerate(solution.stores)
        if store.device == device and store.plugged_frac[0] > 0
    ]
    if there:
        _, i = min(there)
        store = solution.stores[i]
        part = 1.0 / float(store.plugged_frac[0])
        charge, discharge = (program.columns.index(f"{flow}[{i},0]") for flow in ("charge", "discharge"))
        return _MadeOf([charge, part, discharge, -part], "smallest_power" if store.taper is None else "taper")
    of_flows = {
        "pv": [unit.device for unit in curtailable(solution.problem)],
        HEAT_POWER: [unit.device for unit in solution.problem.heat],
    }
    for name, devices in of_flows.items():
        for i, other in enumerate(devices):
            if other == device:
                return _MadeOf([program.columns.index(f"{name}[{i},0]"), 1.0], "smallest_power")
    return _MadeOf([], "no_vehicle")


def _setpoint(setpoint: Setpoint, made_of: _MadeOf, values: Array, planned: DevicePlan | None) -> dict[str, Json]:
    if setpoint.power_kw is None:
        return {"limit_kw": setpoint.limit_kw}
    kw = sum_in_order(
        factor * values[int(column)] for column, factor in zip(made_of.pairs[::2], made_of.pairs[1::2], strict=True)
    )
    if abs(kw - setpoint.power_kw) <= SMALL_KW:
        return {"power_kw": setpoint.power_kw}
    why = made_of.why
    if setpoint.cause in (SetpointCause.NO_VEHICLE, SetpointCause.NO_METER):
        why = str(setpoint.cause)
    elif planned is not None and planned.bounded is not None:
        why = "bounded"
    return {"power_kw": setpoint.power_kw, "why": why}
