"""Devices that leave a set-point without an answer: an alarm, and a plan that does not count on them.

A device answers every set-point at once (contract, `ack`). One whose set-point of the decision before has no answer
when the next decision is made may not hear the EMS although the EMS hears it, and may then be on its fallback; one that
refused it is. Until it accepts one, a plan that limits from outside bind counts on nothing that it would have to hear:

- a battery does nothing, and a vehicle gives nothing back;
- where the limit is one of export, a charger takes in nothing for it.

An inverter stays in the plan: on its fallback it keeps to the limits from outside by itself. Each device is commanded
what it is planned with, so that this is safe whether it hears or not, and its answer shows when it hears again. A
device that measures what it was asked for, which is not what it does on its fallback, hears: only its answers are
lost. One that has begun a new life is judged anew.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.messages import Ack, Alarm, Setpoint, Severity
from schemas.participant import Json, Outgoing, Received, Turn
from schemas.topics import Channel
from services.ems.problem import BessUnit, ChargerUnit, Problem
from services.ems.system_state import DeviceState

UNANSWERED = "setpoint_unanswered"
ANSWER_S = 10.0
"""Machine time that an answer may take."""
SAME_KW = 0.2
"""A power that differs by less is the same."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A set-point that waits for its answer. ``power_kw`` None: a limit, which a measurement does not show."""

    id: str
    boot: str
    at: datetime
    until: datetime
    power_kw: float | None


class AnswerWatch:
    """Remembers the set-point that each device was sent last, until it answers."""

    def __init__(self) -> None:
        self._waiting: dict[str, Sent] = {}
        self._unanswered: dict[str, str] = {}
        """By device that did not answer, the life in which it did not."""
        self._raised: set[str] = set()
        """Devices whose alarm stands."""

    def sent(self, messages: Sequence[Outgoing], present: Mapping[str, DeviceState], at: datetime) -> None:
        """Takes in what this EMS sends now."""
        for message in messages:
            name, body = message.topic.device, message.body
            if message.topic.channel is Channel.SETPOINT and isinstance(body, Setpoint) and name in present:
                self._waiting[name] = Sent(body.id, present[name].boot, at, body.valid_until, body.power_kw)

    def receive(self, inbox: Sequence[Received]) -> None:
        """Takes in answers, late ones too. One that refuses the set-point says that the device is on its fallback."""
        for received in inbox:
            name, body = received.topic.device, received.body
            if isinstance(body, Ack) and body.accepted and name in self._waiting and self._waiting[name].id == body.id:
                del self._waiting[name]
                self._unanswered.pop(name, None)

    def overdue(self, present: Mapping[str, DeviceState], turn: Turn) -> list[str]:
        """Why a plan must not wait, in words: devices that have not answered by now and are still counted on."""
        return [
            f"{name} has not answered its set-point"
            for name, waiting in sorted(self._waiting.items())
            if name in present and name not in self._unanswered and _is_late(waiting, turn)
        ]

    def observe(self, present: Mapping[str, DeviceState], turn: Turn) -> list[Alarm]:
        """Judges who has not answered by now. The alarms that begin or end with it."""
        for name, boot in list(self._unanswered.items()):
            if name in present and present[name].boot != boot:
                del self._unanswered[name]
        for name, waiting in list(self._waiting.items()):
            known = present.get(name)
            if known is None or not _is_late(waiting, turn):
                continue
            # After its end by more than a period this EMS was away, and so may the answer be.
            void = waiting.boot != known.boot or turn.t > waiting.until + timedelta(seconds=turn.step_s)
            if _follows(known, waiting):
                del self._waiting[name]
                self._unanswered.pop(name, None)
            elif void:
                del self._waiting[name]
            else:
                self._unanswered[name] = known.boot
        before, after = self._raised, set(self._unanswered)
        self._raised = after
        return [*(_alarm(name, active=False) for name in sorted(before - after)),
                *(_alarm(name, active=True) for name in sorted(after - before))]  # fmt: skip

    def within(self, problem: Problem) -> Problem:
        """The problem that counts on nothing that devices without answers would have to hear, if a limit from outside
        holds in it: money alone is worth the doubt."""
        if not self._unanswered or not problem.outside_limits:
            return problem
        takes_in = not any(math.isfinite(kw) for limit in problem.outside_limits for kw in limit.export_kw)
        return replace(
            problem,
            bess=tuple(self._battery(unit) for unit in problem.bess),
            chargers=tuple(self._charger(unit, takes_in=takes_in) for unit in problem.chargers),
        )

    def _battery(self, unit: BessUnit) -> BessUnit:
        if unit.device not in self._unanswered:
            return unit
        return replace(unit, max_charge_kw=0.0, max_discharge_kw=0.0)

    def _charger(self, unit: ChargerUnit, *, takes_in: bool) -> ChargerUnit:
        if unit.device not in self._unanswered:
            return unit
        here = tuple(
            replace(stay, max_discharge_kw=0.0, max_charge_kw=stay.max_charge_kw if takes_in else 0.0)
            for stay in unit.stays
        )
        return replace(unit, stays=here)

    def in_words(self, device: str) -> str | None:
        """Why the device has no part in the plan; None: it has, or it answers."""
        if device not in self._unanswered:
            return None
        return "it has not accepted its last set-point: a plan within a limit from outside does not count on it"

    def snapshot(self) -> Json:
        return {
            "waiting": {
                name: [each.id, each.boot, each.at.isoformat(), each.until.isoformat(), each.power_kw]
                for name, each in self._waiting.items()
            },
            "unanswered": dict(self._unanswered),
            "raised": sorted(self._raised),
        }

    def restore(self, state: Json) -> None:
        """A checkpoint of an earlier version has none; then everybody is counted on."""
        moment = datetime.fromisoformat
        self._waiting = {
            name: Sent(key, boot, moment(at), moment(until), kw)
            for name, (key, boot, at, until, kw) in state.get("waiting", {}).items()
        }
        self._unanswered = dict(state.get("unanswered", {}))
        self._raised = set(state.get("raised", ()))


def _is_late(waiting: Sent, turn: Turn) -> bool:
    return turn.t - waiting.at >= timedelta(seconds=ANSWER_S * turn.pace)


def _follows(known: DeviceState, waiting: Sent) -> bool:
    """Whether the measured power shows that the set-point was heard."""
    plate, body = known.birth.nameplate, known.telemetry
    if waiting.power_kw is None or body is None:
        return False
    fallback_kw = plate.draws_on(known.birth.fallback) or -plate.gives_on(known.birth.fallback)
    differs = abs(waiting.power_kw - fallback_kw) > SAME_KW
    return differs and abs(body.power_kw - waiting.power_kw) <= SAME_KW


def _alarm(name: str, *, active: bool) -> Alarm:
    text = f"{name} has not accepted its last set-point: a plan within a limit from outside does not count on it"
    return Alarm(
        code=UNANSWERED,
        severity=Severity.WARNING,
        active=active,
        device=name,
        text=text if active else f"{name} answers set-points again, or is in a new life",
    )
