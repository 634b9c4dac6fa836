"""The accepted set-points of one device in time: which is to be followed at an instant, and when that changes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.messages import Fallback, Phases
from schemas.participant import Json
from schemas.plain import fields_of


@dataclass(frozen=True, slots=True)
class Accepted:
    """A set-point that was accepted. It is active from ``effective_from`` on, and followed from ``followed_from`` on.

    In between, the dead time, the value before is held. Once a set-point is active, the validity of the one before it
    does not matter any more.
    """

    id: str
    value_kw: float
    effective_from: datetime
    followed_from: datetime
    valid_until: datetime
    fallback: Fallback
    phases: Phases | None = None
    """On which a charger that switches them is to charge; None: it chooses."""


@dataclass(frozen=True, slots=True)
class Target:
    """The value [kW] to follow, or a fallback. ``value_kw`` is the last value followed, None before the first."""

    value_kw: float | None
    fallback: Fallback | None
    phases: Phases | None = None
    setpoint: str | None = None
    """The identifier of the set-point that is followed; None: none is."""

    def value_or(self, idle_kw: float, uncontrolled_kw: float, unknown_kw: float) -> float:
        """The value [kW] that it means, by the fallback; ``unknown_kw`` for holding a value that never was."""
        if self.fallback is Fallback.IDLE:
            return idle_kw
        if self.fallback is Fallback.UNCONTROLLED:
            return uncontrolled_kw
        return unknown_kw if self.value_kw is None else self.value_kw


class SetpointQueue:
    """Set-points in the order of their half-open validity [valid_from, valid_until), with the device's dead time.

    ``target`` is what is followed at the instant that `settle` was last called for.
    """

    def __init__(self, fallback: Fallback) -> None:
        self.target = Target(None, fallback)
        self._active: Accepted | None = None
        self._ahead: list[Accepted] = []
        self._delayed: list[Accepted] = []
        self._next_event: tuple[datetime, int] | None = None
        """Found again whenever a set-point comes or goes."""

    def insert(self, accepted: Accepted, *, most: int) -> Accepted | None:
        """Takes a set-point that is not active yet; of two for the same instant the later one counts.

        With more than ``most`` waiting, the one that becomes active last is given up and returned.
        """
        self._ahead = [known for known in self._ahead if known.effective_from != accepted.effective_from]
        self._ahead.append(accepted)
        self._ahead.sort(key=lambda known: known.effective_from)
        given_up = self._ahead.pop() if len(self._ahead) + len(self._delayed) > most else None
        self._next_event = self._find_next_event()
        return given_up

    def withdraw(self, fallback: Fallback) -> list[Accepted]:
        """Gives up all set-points, the active one among them; ``fallback`` holds from now on. Returns them."""
        given_up = [*([] if self._active is None else [self._active]), *self._ahead]
        self._active, self._ahead, self._delayed, self._next_event = None, [], [], None
        self.target = Target(self.target.value_kw, fallback)
        return given_up

    def settle(self, at: datetime, *, expire: bool) -> None:
        """Brings ``target`` to the instant ``at``. ``expire``: a set-point valid until ``at`` itself is over, too."""
        while self._next_event is not None and self._next_event[0] <= at:
            instant, rank = self._next_event
            if rank == _BECOMES_ACTIVE:
                self._active = self._ahead.pop(0)
                self._delayed.append(self._active)
                self._delayed.sort(key=lambda accepted: accepted.followed_from)
            elif rank == _IS_FOLLOWED:
                followed = self._delayed.pop(0)
                self.target = Target(followed.value_kw, None, followed.phases, followed.id)
            else:
                if instant == at and not expire:
                    return
                assert self._active is not None
                self.target = Target(self.target.value_kw, self._active.fallback)
                self._active = None
                self._delayed = []
            self._next_event = self._find_next_event()

    def next_change(self) -> datetime | None:
        """The next instant at which something changes; None: nothing will."""
        return None if self._next_event is None else self._next_event[0]

    def _find_next_event(self) -> "tuple[datetime, int] | None":
        events = []
        if self._ahead:
            events.append((self._ahead[0].effective_from, _BECOMES_ACTIVE))
        if self._delayed:
            events.append((self._delayed[0].followed_from, _IS_FOLLOWED))
        if self._active is not None:
            events.append((self._active.valid_until, _EXPIRES))
        return min(events, default=None)

    def snapshot(self) -> Json:
        return {
            "target": fields_of(self.target),
            "active": None if self._active is None else _to_json(self._active),
            "ahead": [_to_json(accepted) for accepted in self._ahead],
            "delayed": [_to_json(accepted) for accepted in self._delayed],
        }

    def restore(self, state: Json) -> None:
        target = state["target"]
        fallback = None if target["fallback"] is None else Fallback(target["fallback"])
        # A checkpoint of an earlier version has neither phases nor the set-point's identifier.
        self.target = Target(target["value_kw"], fallback, target.get("phases"), target.get("setpoint"))
        self._active = None if state["active"] is None else _from_json(state["active"])
        self._ahead = [_from_json(accepted) for accepted in state["ahead"]]
        self._delayed = [_from_json(accepted) for accepted in state["delayed"]]
        self._next_event = self._find_next_event()


# At one instant a new set-point becomes active before the old one could expire, and is followed before it expires.
_BECOMES_ACTIVE, _IS_FOLLOWED, _EXPIRES = 0, 1, 2


def _to_json(accepted: Accepted) -> dict[str, Any]:
    return {
        "id": accepted.id,
        "value_kw": accepted.value_kw,
        "effective_from": accepted.effective_from.isoformat(),
        "followed_from": accepted.followed_from.isoformat(),
        "valid_until": accepted.valid_until.isoformat(),
        "fallback": accepted.fallback.value,
        "phases": accepted.phases,
    }


def _from_json(state: Json) -> Accepted:
    return Accepted(
        id=state["id"],
        value_kw=state["value_kw"],
        effective_from=datetime.fromisoformat(state["effective_from"]),
        followed_from=datetime.fromisoformat(state["followed_from"]),
        valid_until=datetime.fromisoformat(state["valid_until"]),
        fallback=Fallback(state["fallback"]),
        phases=state.get("phases"),  # a checkpoint of an earlier version has none
    )
