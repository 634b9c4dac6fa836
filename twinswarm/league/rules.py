"""EMS that follow a rule instead of a plan: what many sites have.

Each is a class that is made for a site and called with a problem, as docs/own-ems.md says of an algorithm. All keep the
limits of the connection and of shared cables by scaling what charges: that is static load management, and without it a
rule would be compared for what no installer builds.
"""

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from schemas.site import Site
from schemas.sums import sum_in_order
from services.ems.problem import BessUnit, ChargerUnit, Problem, Stay

_NOTHING_KWH = 1e-9
_FROM, _UNTIL = time(11), time(15)
"""When the timer lets vehicles charge, local time: the cheap hours where PV is plenty."""
_NIGHT_FROM, _NIGHT_UNTIL = time(1), time(5)
_EVENING_FROM, _EVENING_UNTIL = time(18), time(22)


class Uncontrolled:
    """Vehicles charge with full power from the plug to their target; the BESS rests."""

    def __init__(self, site: Site) -> None:
        self._zone = site.zone

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        """Set-points [kW] for the problem's first step, by device."""
        return _within_limits(problem, _all_full(problem) | _resting(problem))


class Timer:
    """Vehicles charge from 11:00 to 15:00 local time, and at other hours when their time would not suffice any more.

    The BESS charges from 1:00 to 5:00 and discharges from 18:00 to 22:00, evenly.
    """

    def __init__(self, site: Site) -> None:
        self._zone = site.zone

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        """Set-points [kW] for the problem's first step, by device."""
        clock = problem.start.astimezone(self._zone)
        wanted = {}
        for unit, stay in _plugged(problem):
            open_now = _FROM <= clock.time() < _UNTIL
            wanted[unit.device] = _full_kw(problem, unit, stay) if open_now or _presses(problem, unit, stay) else 0.0
        for bess in problem.bess:
            wanted[bess.device] = self._bess_kw(problem, bess, clock)
        return _within_limits(problem, _idle(problem) | wanted)

    def _bess_kw(self, problem: Problem, bess: BessUnit, clock: datetime) -> float:
        if _NIGHT_FROM <= clock.time() < _NIGHT_UNTIL:
            room_kwh = (bess.energy_max_kwh - bess.energy_kwh) / bess.charge_efficiency
            return min(bess.max_charge_kw, max(0.0, room_kwh) / _hours_left(clock, _NIGHT_UNTIL, problem))
        if _EVENING_FROM <= clock.time() < _EVENING_UNTIL:
            there_kwh = (bess.energy_kwh - bess.energy_min_kwh) * bess.discharge_efficiency
            return -min(bess.max_discharge_kw, max(0.0, there_kwh) / _hours_left(clock, _EVENING_UNTIL, problem))
        return 0.0


class PvSurplus:
    """Vehicles charge with the PV power that the building leaves over, and fully when their time presses.

    The BESS takes what is then left of the surplus, and gives it back when the building needs power.
    """

    def __init__(self, site: Site) -> None:
        self._zone = site.zone

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        """Set-points [kW] for the problem's first step, by device."""
        left_kw = sum_in_order(unit.available_kw[0] for unit in problem.pv) - problem.load_kw[0] - problem.losses_kw[0]
        left_kw -= sum_in_order(unit.power_kw[0] for unit in problem.fixed)
        wanted = {}
        for unit, stay in _plugged(problem):
            full_kw = _full_kw(problem, unit, stay)
            if _presses(problem, unit, stay):
                power_kw = full_kw
            else:
                power_kw = min(full_kw, max(0.0, left_kw))
                power_kw = power_kw if power_kw >= unit.min_power_kw else 0.0
            wanted[unit.device] = power_kw
            left_kw -= power_kw
        for bess in problem.bess:
            wanted[bess.device] = max(-bess.max_discharge_kw, min(left_kw, bess.max_charge_kw))
            left_kw -= wanted[bess.device]
        return _within_limits(problem, _idle(problem) | wanted)


def _plugged(problem: Problem) -> list[tuple[ChargerUnit, Stay]]:
    return [
        (unit, stay)
        for unit in problem.chargers
        for stay in unit.stays
        if stay.arrival <= problem.start < stay.departure
    ]


def _idle(problem: Problem) -> dict[str, float]:
    return {unit.device: 0.0 for unit in problem.chargers} | _resting(problem)


def _resting(problem: Problem) -> dict[str, float]:
    return {unit.device: 0.0 for unit in problem.bess}


def _all_full(problem: Problem) -> dict[str, float]:
    """A free charger is told full power, too: a vehicle that comes within the step charges from the plug."""
    free = {unit.device: unit.max_charge_kw for unit in problem.chargers}
    return free | {unit.device: _full_kw(problem, unit, stay) for unit, stay in _plugged(problem)}


def _missing_kwh(unit: ChargerUnit, stay: Stay) -> float:
    """Energy at the charger's AC terminals until the target."""
    return max(0.0, stay.target_kwh - stay.energy_kwh) / unit.charge_efficiency


def _full_kw(problem: Problem, unit: ChargerUnit, stay: Stay) -> float:
    """Full power, in the last step what is missing, and no less than the charger can."""
    missing_kwh = _missing_kwh(unit, stay)
    if missing_kwh <= _NOTHING_KWH:
        return 0.0
    full_kw = min(unit.max_charge_kw, stay.max_charge_kw)
    return min(full_kw, max(missing_kwh / problem.step_h, unit.min_power_kw))


def _presses(problem: Problem, unit: ChargerUnit, stay: Stay) -> bool:
    """Whether the time after this step would not suffice for what is missing."""
    after_h = max(0.0, (stay.departure - problem.start) / timedelta(hours=1) - problem.step_h)
    return _missing_kwh(unit, stay) > min(unit.max_charge_kw, stay.max_charge_kw) * after_h


def _hours_left(clock: datetime, until: time, problem: Problem) -> float:
    end = clock.replace(hour=until.hour, minute=until.minute, second=0, microsecond=0)
    return max(problem.step_h, (end - clock) / timedelta(hours=1))


def _within_limits(problem: Problem, wanted_kw: Mapping[str, float]) -> dict[str, float]:
    """Scales down what charges behind a limit that would be exceeded on import; below its least power it pauses."""
    least_kw = {unit.device: unit.min_power_kw for unit in problem.chargers}
    found = dict(wanted_kw)
    pcc_kw = problem.load_kw[0] + problem.losses_kw[0] + sum_in_order(unit.power_kw[0] for unit in problem.fixed)
    pcc_kw -= sum_in_order(unit.available_kw[0] for unit in problem.pv)
    limits = [(problem.import_limit_kw - pcc_kw, dict.fromkeys(found, 1.0))]
    for group in problem.groups:
        load_kw = group.loads_kw(problem.steps)[0][0]
        limits.append((group.limit_kw - load_kw, {device: group.share(device) for device in found}))
    for room_kw, shares in limits:
        behind = {device: share for device, share in shares.items() if share and found[device] > 0}
        charging_kw = sum_in_order(found[device] * share for device, share in behind.items())
        given_kw = -sum_in_order(found[device] * share for device, share in shares.items() if found[device] < 0)
        if charging_kw <= room_kw + given_kw or not charging_kw:
            continue
        part = max(0.0, (room_kw + given_kw) / charging_kw)
        for device in behind:
            found[device] = scaled if (scaled := found[device] * part) >= least_kw.get(device, 0.0) else 0.0
    return found
