"""What the EMS does while nobody measures the PCC: nothing that could exceed a limit unseen.

Load and losses are then a forecast at best. A battery that discharges by a forecast may export what nobody buys, or
more than the connection allows; one that charges may overload it. Neither has a deadline, so batteries rest at 0 kW.
Vehicles have one: they charge by the plan, which keeps to the limits with the load that is known, as they would by
their fallback without an EMS, and give nothing back.
"""

from collections.abc import Mapping
from dataclasses import replace

from schemas.capabilities import Capability
from schemas.messages import Fallback, SetpointCause
from services.ems.dispatch import Decision, with_cause
from services.ems.problem import Problem
from services.ems.system_state import DeviceState

UNMETERED = "nobody measures the PCC"


def resting(problem: Problem) -> Problem:
    """The problem without power of batteries, and without power from vehicles."""
    return replace(
        problem,
        bess=tuple(replace(unit, max_charge_kw=0.0, max_discharge_kw=0.0) for unit in problem.bess),
        chargers=tuple(replace(unit, max_discharge_kw=0.0) for unit in problem.chargers),
    )


def held(decision: Decision, problem: Problem) -> Decision:
    """The decision on such a problem, whatever algorithm made it: what it may not command it does not."""
    batteries = {unit.device for unit in problem.bess}
    chargers = {unit.device for unit in problem.chargers}
    power = {name: 0.0 if name in batteries else kw for name, kw in decision.power_kw.items()}
    power |= {name: max(power[name], 0.0) for name in chargers & power.keys()}
    return replace(decision, plan=with_cause(decision.plan, batteries, SetpointCause.NO_METER), power_kw=power)


def resting_fallback(decision: Decision, present: Mapping[str, DeviceState]) -> Decision:
    """Adds commands to a decision that has none: a device whose fallback is to hold its power holds none."""
    holding = {
        name: 0.0
        for name, device in present.items()
        if Capability.TWO_WAY in device.birth.capabilities and device.birth.fallback is Fallback.HOLD
    }
    return replace(decision, power_kw={**decision.power_kw, **holding})
