"""What happened within a settlement period that the next plan does not wait for (`ems.replan_least_s`), in wall time.

A vehicle came or left, its target or departure changed, a limit from outside or a request came, changed or ended, a
device fell silent or came back or left a set-point without an answer, this EMS took the lead again: the EMS then plans
anew along the same path, for what is left of the period. Found by comparing what is known now with what was known at
the last plan, so that nothing is missed that two looks lie between, and what has gone back to as it was makes no plan.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from schemas.capabilities import Capability
from schemas.messages import Provenance, TimeMode, VehicleValue
from schemas.participant import Json, Turn
from services.ems.system_state import DeviceState, SystemState

REPLAN_LEAST_S = 30.0
"""Least time [s] between plans where the site says nothing and the run is as fast as time."""
LOOK_S = 5.0
"""Time [s] between looks."""
WORDS_MOST = 500
_TARGETS = (
    VehicleValue.TARGET_SOC,
    VehicleValue.ENERGY_WANTED,
    VehicleValue.DEPARTURE,
    VehicleValue.SOC_MIN,
    VehicleValue.SOC_MAX,
)

Situation = Mapping[str, Mapping[str, str | None]]
"""By subject (``presence``, ``vehicle``, ``target``, ``limit``, ``request``) and by whose it is, what is known of it,
as text."""


class EventWatch:
    """Why a plan is due before the next settlement period. ``least_s`` is the site's option."""

    def __init__(self, least_s: float | None) -> None:
        self._option_s = least_s
        self._known: Situation | None = None
        """At the last plan; None: there was none."""
        self._planned: tuple[datetime, datetime] | None = None
        """When the last plan was made, and the start of its first step."""
        self._pace: float | None = None
        """Of the run; None: unknown, or nobody looks."""
        self._takes_the_lead = False
        """This EMS was started again and has not planned since."""
        self._first_look: datetime | None = None
        """In this process."""
        self.trigger: str | None = None
        """Why the decision of this turn is made within the period; None: it is made at its start."""

    def _least_s(self, turn: Turn) -> float:
        """Least run time between plans; 0: plans are made at the start of a period only."""
        if turn.mode is TimeMode.LOCKSTEP:
            return 0.0
        if self._option_s is None:
            return REPLAN_LEAST_S if turn.pace == 1.0 else 0.0
        return self._option_s

    def wake_at(self, now: datetime) -> datetime | None:
        """When to look next; None: never. In a fast run a look takes as much of the machine as in a slow one."""
        return None if self._pace is None else now + timedelta(seconds=LOOK_S * max(self._pace, 1.0))

    def look(self, state: SystemState, turn: Turn, start: datetime, overdue: Sequence[str] = ()) -> bool:
        """Whether a plan is due now; `trigger` then says why. ``start``: of the settlement period of ``turn.t``.

        ``overdue``: answers that are missing, in words.
        """
        self.trigger = None
        least_s = self._least_s(turn)
        self._pace = turn.pace if least_s else None
        if not least_s or self._planned is None or self._known is None:
            return False
        self._first_look = self._first_look or turn.t
        made, planned_start = self._planned
        end = start + timedelta(seconds=turn.step_s)
        least = timedelta(seconds=least_s)
        if planned_start != start and not self._takes_the_lead:
            return False  # the plan of this period is still to come
        if turn.t - made < least or end - turn.t < least or not self._has_listened(turn):
            return False
        events = ["this EMS was started again"] if self._takes_the_lead else []
        events += [*_differences(self._known, situation_of(state, turn, end)), *overdue]
        self.trigger = "; ".join(events)[:WORDS_MOST] or None
        return self.trigger is not None

    def _has_listened(self, turn: Turn) -> bool:
        """Whether devices had time to be heard since this process began."""
        assert self._first_look is not None
        return turn.t - self._first_look >= timedelta(seconds=2 * LOOK_S * max(turn.pace, 1.0))

    def planned(self, state: SystemState, turn: Turn, start: datetime) -> None:
        """A plan is made now, whatever for."""
        least_s = self._least_s(turn)
        self._pace = turn.pace if least_s else None
        self._takes_the_lead, self.trigger = False, None
        self._planned = turn.t, start
        self._known = situation_of(state, turn, start + timedelta(seconds=turn.step_s)) if least_s else None

    def snapshot(self) -> Json:
        return {
            "known": None if self._known is None else {subject: dict(of) for subject, of in self._known.items()},
            "planned": None if self._planned is None else [at.isoformat() for at in self._planned],
            "pace": self._pace,
            "trigger": self.trigger,
        }

    def restore(self, state: Json) -> None:
        self._known, self._pace, self.trigger = state.get("known"), state.get("pace"), state.get("trigger")
        planned = state.get("planned")
        self._planned = None if planned is None else (_time(planned[0]), _time(planned[1]))
        self._takes_the_lead = self._known is not None


def situation_of(state: SystemState, turn: Turn, end: datetime) -> Situation:
    """What a plan depends on and may change within a period, up to its ``end``."""
    present = state.present(turn)
    plugged = {name: known for name, known in present.items() if Capability.VEHICLES in known.birth.capabilities}
    groups = [None, *sorted(state.limits.groups)]
    return {
        "presence": {name: "there" if name in present else None for name in sorted(state.devices)},
        "vehicle": {name: _vehicle(known) for name, known in plugged.items()},
        "target": {name: _target(known) for name, known in plugged.items()},
        "limit": {group or "pcc": _limit(state, group, turn, end) for group in groups},
        "request": _requests(state, turn),
    }


def _vehicle(known: DeviceState) -> str | None:
    """Which charging session is at the plug."""
    if known.telemetry is None or known.telemetry.plugged is None or known.plugged is None:
        return None
    return f"{known.telemetry.plugged.vehicle or 'a vehicle'} since {known.plugged.since.isoformat()}"


def _target(known: DeviceState) -> str | None:
    """What vehicle or driver said they want, as far as nobody assumed it."""
    if known.telemetry is None or (vehicle := known.telemetry.plugged) is None:
        return None
    wanted = {
        value: getattr(vehicle, value.value) for value in _TARGETS if vehicle.source(value) is not Provenance.ASSUMED
    }
    return ", ".join(f"{value} {said}" for value, said in wanted.items() if said is not None) or None


def _requests(state: SystemState, turn: Turn) -> dict[str, str | None]:
    """What persons ask for now."""
    asked: dict[str, str | None] = {
        name: f"{each.power.kw:g} kW" for name, each in state.requests.wanted(turn.t).items()
    }
    return asked if (source := state.requests.standby(turn.t)) is None else {**asked, "ems": f"standby, by {source}"}


def _limit(state: SystemState, group: str | None, turn: Turn, end: datetime) -> str | None:
    held = state.limits.over(group, turn.t, end, turn.t)
    ways = (("import", held.import_), ("export", held.export))
    return ", ".join(f"{way} {allowed.kw:g} kW" for way, allowed in ways if allowed is not None) or None


def _differences(before: Situation, now: Situation) -> list[str]:
    """In words, presence first: of a device that is gone nothing else is said."""
    words = []
    was_there, is_there = before.get("presence", {}), now["presence"]
    for name, there in is_there.items():
        if there != was_there.get(name):
            words.append(f"{name} is {'heard' if there else 'gone'}")
    for name, vehicle in now["vehicle"].items():
        if not was_there.get(name):
            continue
        known, target = before.get("vehicle", {}).get(name), now["target"][name]
        if vehicle != known:
            words += [f"{known.partition(' since ')[0]} left {name}"] if known else []
            words += [f"{vehicle.partition(' since ')[0]} came to {name}"] if vehicle else []
        elif target != before.get("target", {}).get(name):
            words.append(f"target at {name}: {target or 'none'}")
    for scope in sorted({*before.get("limit", {}), *now["limit"]}):
        value = now["limit"].get(scope)
        if value != before.get("limit", {}).get(scope):
            words.append(f"limit at {scope}: {value or 'none'}")
    requests = before.get("request", {})
    for name in sorted({*requests, *now["request"]}):
        value = now["request"].get(name)
        if value != requests.get(name):
            words.append(f"request for {name}: {value or 'over'}")
    return words


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
