"""Limits from outside: which of those that were received holds when. EMS and devices decide it by this alone."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Limit
from schemas.messages.limit import HEARTBEATS
from schemas.participant import Json, Received

PCC = "pcc"
"""Scope of a limit that names no group: the connection point."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The most power [kW] in one direction, who demands it, and whether it is a failsafe."""

    kw: float
    source: str
    failsafe: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds of one scope; None: not limited."""

    import_: Allowed | None = None
    export: Allowed | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The last limit of one sender and when it was sent, which is its last heartbeat."""

    sent: datetime
    limit: Limit

    @property
    def heartbeat_until(self) -> datetime | None:
        """From this instant on the heartbeat has stopped, unless another message comes. None: there is none."""
        if self.limit.heartbeat_s is None:
            return None
        return self.sent + timedelta(seconds=HEARTBEATS * self.limit.heartbeat_s)

    def stopped(self, now: datetime) -> bool:
        """Whether the heartbeat has stopped."""
        until = self.heartbeat_until
        return until is not None and now >= until

    def within(self, start: datetime, end: datetime) -> bool:
        """Whether the limit is valid in some part of [start, end), or at ``start`` where both are one instant."""
        limit = self.limit
        begun = limit.valid_from <= start or limit.valid_from < end
        return begun and (limit.valid_until is None or start < limit.valid_until)

    def allowed(self, now: datetime) -> InForce:
        """What it allows while it is valid, by what is known at ``now``."""
        limit, lost = self.limit, self.stopped(now)

        def one(ordinary: float | None, failsafe: float | None) -> Allowed | None:
            if lost and failsafe is not None:
                return Allowed(failsafe, limit.source, failsafe=True)
            return None if ordinary is None else Allowed(ordinary, limit.source, failsafe=False)

        return InForce(one(limit.import_kw, limit.failsafe_import_kw), one(limit.export_kw, limit.failsafe_export_kw))


class Limits:
    """The limits of all senders. The state of a participant that reads them."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    @property
    def groups(self) -> frozenset[str]:
        """Groups that a limit names."""
        return frozenset(held.limit.group for held in self._held.values() if held.limit.group is not None)

    def receive(self, received: Received) -> None:
        """Takes a `Limit`. One that was sent before the one that is held, by the same sender, is dropped.

        None was sent after it arrived: a sender whose clock is ahead would count as alive when it is dead.
        """
        assert isinstance(received.body, Limit)
        sender = f"{received.topic.kind}/{received.topic.device}"
        ts, arrived = received.stamp.ts, received.arrived
        sent = ts if arrived is None else min(ts, arrived)
        if sender not in self._held or self._held[sender].sent <= sent:
            limit = Limit.model_validate(received.body.model_dump(include=set(Limit.model_fields)))
            self._held[sender] = Held(sent, limit)

    def over(self, group: str | None, start: datetime, end: datetime, now: datetime) -> InForce:
        """The strictest of what holds in some part of [start, end), by what is known at ``now``."""
        found = [held.allowed(now) for held in self._of(group) if held.within(start, end)]
        imports = [allowed.import_ for allowed in found if allowed.import_ is not None]
        exports = [allowed.export for allowed in found if allowed.export is not None]
        return InForce(min(imports, key=_kw, default=None), min(exports, key=_kw, default=None))

    def at(self, group: str | None, instant: datetime) -> InForce:
        """The strictest of what holds at an instant."""
        return self.over(group, instant, instant, instant)

    def let_flow(self, kw: float, groups: Sequence[str | None], instant: datetime) -> bool:
        """Whether a fallback may flow: not in a direction in which a limit holds for one of the ``groups``.

        How much of the limit is left for it, a device cannot know; the EMS does. See docs/model.md.
        """
        found = (self.at(group, instant) for group in groups)
        return kw == 0 or all((each.import_ if kw > 0 else each.export) is None for each in found)

    @property
    def held(self) -> dict[str, Held]:
        """By sender its last limit."""
        return {sender.partition("/")[2]: held for sender, held in sorted(self._held.items())}

    def stopped(self, now: datetime) -> dict[str, Held]:
        """By sender the valid limits whose heartbeat has stopped."""
        return {sender: held for sender, held in self.held.items() if held.stopped(now) and held.within(now, now)}

    def next_change(self, after: datetime) -> datetime | None:
        """The next instant at which something else may hold, unless a message comes."""
        instants = (
            instant
            for held in self._held.values()
            for instant in (held.limit.valid_from, held.limit.valid_until, held.heartbeat_until)
            if instant is not None and instant > after
        )
        return min(instants, default=None)

    def _of(self, group: str | None) -> Iterator[Held]:
        return (held for _, held in sorted(self._held.items()) if held.limit.group == group)

    def snapshot(self) -> Json:
        return {
            sender: [held.sent.isoformat(), json.loads(held.limit.model_dump_json())]
            for sender, held in sorted(self._held.items())
        }

    def restore(self, state: Json) -> None:
        self._held = {
            sender: Held(datetime.fromisoformat(sent), Limit.model_validate_json(json.dumps(limit)))
            for sender, (sent, limit) in state.items()
        }


def _kw(allowed: Allowed) -> float:
    return allowed.kw
