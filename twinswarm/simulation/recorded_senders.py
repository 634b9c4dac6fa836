"""Participants that say in lock-step what others said in a recorded run: forecasts, prices, limits, set-points."""

import bisect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from schemas.messages import Birth, Limit, Phase, Series, ServiceNameplate, Setpoint, TimeMode
from schemas.messages.limit import HEARTBEATS
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, software
from schemas.topics import Kind

KNOWN_WITHIN = timedelta(seconds=2)
"""What was sent so soon after a step had begun was known to the plan that was made then, in wall time."""
LATE_FRAC = 0.1
"""Part of a settlement period within which a set-point counts as sent at its beginning, as in `schemas.punctuality`."""


class RecordedSender(ABC):
    """A service of a recorded run. It keeps no state: what it says at a time follows from the record."""

    def __init__(self, site: str, kind: Kind, device: str) -> None:
        self.site, self.kind, self.device = site, kind, device

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return ()

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {}

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.LOCKSTEP,), software=software())

    @abstractmethod
    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]: ...

    def snapshot(self) -> Json:
        return None

    def restore(self, state: Json) -> None:
        del state


class RecordedService(RecordedSender):
    """Sends what one sender said on one channel, each in the step in which the EMS of the recorded run knew it.

    A limit whose heartbeat went on until the step's end is sent without one, since lock-step has no time between.
    """

    def __init__(self, site: str, kind: Kind, device: str, messages: Iterable[Received]) -> None:
        super().__init__(site, kind, device)
        self._messages = sorted(messages, key=_sent)

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if turn.phase not in (Phase.ROLLCALL, Phase.SENSE):
            return []
        known = bisect.bisect_right(self._messages, turn.t + KNOWN_WITHIN, key=_sent)
        before = turn.t + KNOWN_WITHIN - timedelta(seconds=turn.step_s)
        new = bisect.bisect_right(self._messages, before, key=_sent)
        if known == 0:
            return []
        message = self._messages[known - 1]
        if new == known and turn.phase is Phase.SENSE and not isinstance(message.body, Limit):
            return []
        return [Outgoing(message.topic, self._at(message, known, turn))]

    def _at(self, message: Received, place: int, turn: Turn) -> Series | Limit:
        body = message.body
        if not isinstance(body, Limit):
            assert isinstance(body, Series)
            return body
        if body.heartbeat_s is None:
            return body
        patience = timedelta(seconds=HEARTBEATS * body.heartbeat_s)
        end = turn.t + timedelta(seconds=turn.step_s)
        later = self._messages[place : bisect.bisect_right(self._messages, end, key=_sent)]
        beats = [m.stamp.ts for m in (message, *later)]
        goes_on = all(after - before < patience for before, after in zip(beats, [*beats[1:], end], strict=True))
        if not goes_on:
            return body
        return body.model_copy(update={"heartbeat_s": None, "failsafe_import_kw": None, "failsafe_export_kw": None})


class RecordedEms(RecordedSender):
    """Sends the set-points of a recorded run, in the steps in which they were sent.

    One that was sent in the first tenth of its settlement period holds from its beginning, since the time that a plan
    took is no part of it; a later one from when it was sent. The grace after a settlement period is left out.
    """

    def __init__(self, site: str, device: str, setpoints: Iterable[tuple[Received, Setpoint]], grace_s: float) -> None:
        super().__init__(site, Kind.EMS, device)
        self._setpoints = sorted(setpoints, key=lambda found: found[0].stamp.ts)
        self._grace = timedelta(seconds=grace_s)

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if turn.phase is not Phase.DECIDE:
            return []
        step = timedelta(seconds=turn.step_s)
        sent = []
        for received, setpoint in self._setpoints:
            if turn.t <= received.stamp.ts < turn.t + step:
                body = self._in_lockstep(setpoint, received.stamp.ts, turn)
                if body is not None:
                    sent.append(Outgoing(received.topic, body))
        return sent

    def _in_lockstep(self, setpoint: Setpoint, sent: datetime, turn: Turn) -> Setpoint | None:
        """None: it was over before it could hold."""
        in_time = sent - turn.t <= timedelta(seconds=LATE_FRAC * turn.step_s)
        begin = max(setpoint.valid_from, turn.t if in_time else sent)
        beyond = (setpoint.valid_until - turn.t0) % timedelta(seconds=turn.step_s)
        until = setpoint.valid_until - beyond if beyond <= self._grace else setpoint.valid_until
        if until <= begin:
            return None
        return setpoint.model_copy(update={"epoch": 0, "valid_from": begin, "valid_until": until})


def services_of(site: str, messages: Iterable[Received]) -> list[RecordedService]:
    """One for each sender of series or limits, by name. ``messages``: series and limits."""
    by_sender: dict[tuple[Kind, str], list[Received]] = {}
    for received in messages:
        by_sender.setdefault((received.topic.kind, received.topic.device), []).append(received)
    return [RecordedService(site, kind, device, found) for (kind, device), found in sorted(by_sender.items())]


def _sent(received: Received) -> datetime:
    return received.stamp.ts
