"""Phases of chargers that switch between one and three: which may be used now, and which a power is charged on.

The optimisation sees powers alone: from the least to the most that the phases give which may be used in the step that
is commanded, and `services.ems.terms.phase_gap` where the two ranges do not meet. The phases follow from the power: the
present ones as long as they can, so that nothing is switched that need not be. While phases are held they are the only
ones. A switch interrupts charging for the charger's ``pause_s``, which is in no plan: the mean power of that step is
less than planned by ``pause_s`` of its length at most, and the next plan begins with what is really in store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from schemas.messages import ChargerNameplate, ChargerTelemetry, Nameplate, Phases
from schemas.sums import sum_in_order
from services.ems.dispatch import Decision
from services.ems.network_limits import Bottleneck
from services.ems.problem import Group, PhaseGap
from services.ems.system_state import DeviceState

Usable = tuple[Phases, ...]
"""Phases that may be used in the step that is commanded, the present ones first; empty: the charger does not switch."""


def usable_phases(known: DeviceState, at: datetime) -> Usable:
    """On which a charger may charge by a set-point from ``at`` on, for all that it says itself."""
    plate, telemetry = known.birth.nameplate, known.telemetry
    if not (isinstance(plate, ChargerNameplate) and isinstance(telemetry, ChargerTelemetry)):
        return ()
    if plate.phase_switch is None:
        return ()
    if telemetry.vehicle is not None and telemetry.vehicle.phases == 1:
        return (1,)
    present: Phases = telemetry.phases or plate.phases
    if telemetry.phases_held_until is not None and telemetry.phases_held_until > at:
        return (present,)
    return (present, 1 if present == 3 else 3)


def within_network(
    present: Mapping[str, DeviceState], limits: Sequence[tuple[Bottleneck, Group]], at: datetime
) -> tuple[dict[str, Usable], list[Group]]:
    """The phases that may be used by charger, and the network's limits with what they mean for these.

    A charger that can be on one phase alone loads that phase with all of its power, and no other. One that may choose
    may be on one where that overloads nothing, whatever all devices behind the limit draw at once; else it stays on
    three, where it counts a third on each.
    """
    usable = {name: phases for name, known in present.items() if (phases := usable_phases(known, at))}
    here = {name for name, known in present.items() if known.telemetry is None or not _is_empty(known)}
    groups = []
    for bottleneck, of_three in limits:
        group = of_three
        alone = {name: float(name in bottleneck.switched) for name in group.devices if usable.get(name) == (1,)}
        if alone and bottleneck.of_phase:
            shares = tuple(alone.get(name, group.share(name)) for name in group.devices)
            group = replace(group, shares=shares)
        groups.append(group)
        choosing = [name for name in bottleneck.switched if name in here and len(usable.get(name, ())) > 1]
        draws_kw = sum_in_order(
            group.share(name) * present[name].birth.nameplate.draws_kw for name in group.devices if name in here
        )
        extra_kw = sum_in_order(_one_phase_kw(present[name]) * 2 / 3 for name in choosing)
        if choosing and draws_kw + extra_kw > group.limit_kw - (group.load_kw[0] if group.load_kw else 0.0):
            usable |= dict.fromkeys(choosing, (3,))
    return usable, groups


def _is_empty(known: DeviceState) -> bool:
    """Whether it is a charger without a vehicle."""
    return isinstance(known.telemetry, ChargerTelemetry) and known.telemetry.vehicle is None


def _one_phase_kw(known: DeviceState) -> float:
    plate = known.birth.nameplate
    return plate.range_kw(1)[1] if isinstance(plate, ChargerNameplate) else 0.0


def range_now_kw(plate: ChargerNameplate, usable: Usable) -> tuple[float, float]:
    """Smallest and most charging power by the set-point of the first step [kW]."""
    ranges = [plate.range_kw(phases) for phases in usable or (plate.phases,)]
    return min(least for least, _ in ranges), max(most for _, most in ranges)


def gap_of(plate: ChargerNameplate) -> PhaseGap | None:
    """What the charger's ranges leave out between them; None: they meet, or it does not switch."""
    if plate.phase_switch is None or plate.phase_switch.max_charge_kw >= plate.min_power_kw:
        return None
    return PhaseGap(plate.phase_switch.max_charge_kw, plate.min_power_kw)


def with_phases(decision: Decision, present: Mapping[str, DeviceState], at: datetime) -> Decision:
    """The decision whose plan says on which phases chargers charge that switch them.

    Without a solution, as of a plan that is shifted, by what the chargers say themselves.
    """
    chargers = () if decision.solution is None else decision.solution.problem.chargers
    usable = {unit.device: unit.phases for unit in chargers}
    found = {}
    for name, plan in decision.plan.devices.items():
        if (known := present.get(name)) is None:
            continue
        power_kw = decision.power_kw.get(name, 0.0)
        allowed = usable[name] if name in usable else usable_phases(known, at)
        phases = _phases_for(known.birth.nameplate, power_kw, allowed) if not _is_empty(known) else None
        if phases != plan.phases:
            found[name] = plan.model_copy(update={"phases": phases})
    if not found:
        return decision
    return replace(decision, plan=decision.plan.model_copy(update={"devices": {**decision.plan.devices, **found}}))


def _phases_for(plate: Nameplate, power_kw: float, usable: Usable) -> Phases | None:
    if not usable or power_kw <= 0 or not isinstance(plate, ChargerNameplate):
        return None
    now, *others = usable
    return plate.phases_for(power_kw, now) if others else now
