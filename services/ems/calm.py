"""Calm: a store keeps its power unless a change is worth it (`schemas.site.Calm`).

The problem is solved freely first. Then the powers that it would change are held, in the step that is commanded, where
that is possible within hard bounds and costs no more than allowed: nothing that a target or limit needs, and less than
the least gain. Within a hold, and for a change within the deadband, only targets and limits count. What a held power
costs is known, since the problem is solved with it.

Power that a vehicle takes or leaves by coming and going is no change. Where a hold cannot be kept because of a limit or
a target, the power goes to 0 before it is reversed, if that is enough. A power that a person asks for is not calmed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.participant import Json
from schemas.site import Calm as CalmOptions
from services.ems.problem import BessUnit, ChargerUnit, Problem
from services.ems.solution import NoSolution, Solution

Solve = Callable[[Problem], Solution | NoSolution]
Penalty = Callable[[Solution], float]
"""Price of the targets and limits that a solution misses [€]."""
Powers = Callable[[Solution], Mapping[str, float]]
"""What a solution commands [kW], by device."""

SAME_KW = 1e-3
"""A change below this is none."""
SAME_EUR = 1e-6
HOLD_FACTOR = 10.0
"""Within a hold a change must gain this many times what it must gain else."""
SOLVES_WITH_BINARIES = 3
"""More problems than so many are not solved for calm where branch and bound may be needed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device was asked for last."""

    kw: float
    changed: datetime
    """Since when."""
    until: datetime
    """End of the step for which it was asked."""
    store: str
    """Which one it was: a vehicle, by its name, or the BESS."""


@dataclass(frozen=True, slots=True)
class Calmed:
    """A solution, the powers that are kept in its first step [kW], and what keeping them costs."""

    solution: Solution
    kept_kw: Mapping[str, float]
    cost_eur: float


class Calm:
    """Remembers what the stores were asked for. ``options`` None: every solution is taken as it is."""

    def __init__(self, options: CalmOptions | None) -> None:
        self._options = options
        self._asked: dict[str, Asked] = {}

    def solve(self, problem: Problem, solve: Solve, powers: Powers, penalty: Penalty) -> Calmed | NoSolution:
        """The solution that is to be commanded; ``commanded`` is to be called with what is."""
        free = solve(problem)
        if isinstance(free, NoSolution) or self._options is None:
            return free if isinstance(free, NoSolution) else Calmed(free, {}, 0.0)
        wanted = powers(free)
        units: tuple[BessUnit | ChargerUnit, ...] = (*problem.bess, *problem.chargers)
        given = {unit.device for unit in units if unit.asked is not None}
        before = {name: asked for name, asked in self._in_force(problem).items() if name in wanted.keys() - given}
        changes = sorted(
            (name for name, asked in before.items() if abs(wanted[name] - asked.kw) > SAME_KW),
            key=lambda name: (abs(wanted[name] - before[name].kw), name),
        )
        left = SOLVES_WITH_BINARIES if free.binaries else 2 * len(changes) + 1

        def held(kept: Mapping[str, float], best: Solution, least_gain_eur: float | None) -> Solution | None:
            """With these powers, or None where they are impossible or cost too much; None: only penalties count."""
            nonlocal left
            if left == 0:
                return None
            left -= 1
            found = solve(with_power(problem, kept))
            if isinstance(found, NoSolution) or penalty(found) > penalty(best) + SAME_EUR:
                return None
            loss = found.total_eur - best.total_eur
            return found if least_gain_eur is None or loss < least_gain_eur else None

        least = self._options.min_gain_eur
        everything = {name: before[name].kw for name in changes}
        if changes and (found := held(everything, free, least)) is not None:
            return Calmed(found, everything, max(found.total_eur - free.total_eur, 0.0))
        kept: dict[str, float] = {}
        best = free
        for name in changes:
            asked, change = before[name], abs(wanted[name] - before[name].kw)
            rests = problem.start - asked.changed < timedelta(seconds=self._options.hold_s)
            enough: float | None = HOLD_FACTOR * least if rests else least
            if change <= self._options.deadband_kw:
                enough = None
            if (found := held(kept | {name: asked.kw}, best, enough)) is not None:
                best, kept = found, kept | {name: asked.kw}
            elif rests and wanted[name] * asked.kw < 0 and (found := held(kept | {name: 0.0}, best, None)) is not None:
                best, kept = found, kept | {name: 0.0}
        return Calmed(best, kept, max(best.total_eur - free.total_eur, 0.0))

    def commanded(self, problem: Problem, power_kw: Mapping[str, float]) -> None:
        """What is asked of the stores in the first step of ``problem``."""
        stores = _stores(problem)
        until = problem.step_start(1)
        known, self._asked = self._asked, {}
        for name, store in sorted(stores.items()):
            if store is None or name not in power_kw:
                continue
            kw, before = power_kw[name], known.get(name)
            same = before is not None and before.store == store and abs(kw - before.kw) <= SAME_KW
            self._asked[name] = Asked(kw, before.changed if same and before else problem.start, until, store)

    def _in_force(self, problem: Problem) -> dict[str, Asked]:
        """What was asked for the step before, or earlier in this one, of the stores that are still the same."""
        stores = _stores(problem)
        return {
            name: asked
            for name, asked in self._asked.items()
            if asked.until in (problem.start, problem.step_start(1))
            and stores.get(name) == asked.store
            and _may(name, asked.kw, problem)
        }

    def snapshot(self) -> Json:
        return {
            name: [asked.kw, asked.changed.isoformat(), asked.until.isoformat(), asked.store]
            for name, asked in self._asked.items()
        }

    def restore(self, state: Json) -> None:
        self._asked = {
            name: Asked(kw, datetime.fromisoformat(changed), datetime.fromisoformat(until), store)
            for name, (kw, changed, until, store) in state.items()
        }


def with_power(problem: Problem, power_kw: Mapping[str, float]) -> Problem:
    """The problem in which these stores have these powers in the first step."""

    def held(unit: BessUnit | ChargerUnit) -> float | None:
        return power_kw.get(unit.device)

    return replace(
        problem,
        bess=tuple(replace(unit, held_kw=held(unit)) for unit in problem.bess),
        chargers=tuple(replace(unit, held_kw=held(unit)) for unit in problem.chargers),
    )


def _stores(problem: Problem) -> dict[str, str | None]:
    """By store, which vehicle is there for the whole first step; None: none, and so nothing can be kept."""
    found: dict[str, str | None] = {unit.device: "battery" for unit in problem.bess}
    for unit in problem.chargers:
        here = [s for s in unit.stays if s.arrival <= problem.start and s.commanded_until >= problem.step_start(1)]
        found[unit.device] = f"vehicle {here[0].vehicle}" if here else None
    return found


def _may(device: str, kw: float, problem: Problem) -> bool:
    """Whether the store may still have this power: while nobody measures the PCC, for instance, nothing discharges."""
    units: tuple[BessUnit | ChargerUnit, ...] = (*problem.bess, *problem.chargers)
    for unit in units:
        if unit.device == device:
            stays = unit.stays[:1] if isinstance(unit, ChargerUnit) else ()
            most_kw = unit.most_now_kw if isinstance(unit, ChargerUnit) else unit.max_charge_kw
            if isinstance(unit, ChargerUnit) and 0 < kw < unit.min_power_kw - SAME_KW:
                return False
            least = min(unit.max_discharge_kw, *(stay.max_discharge_kw for stay in stays), math.inf)
            return -least - SAME_KW <= kw <= most_kw + SAME_KW
    return False
