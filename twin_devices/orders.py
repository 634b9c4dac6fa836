"""The set-points of one device in time: what is to be followed at an instant, and when that changes."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from schemas.messages import Fallback
from schemas.participant import Json

MAX_WAITING = 200
"""Set-points that may lie ahead at once; two days of quarter-hours. Bounds what a mistaken sender can pile up."""


@dataclass(frozen=True, slots=True)
class Order:
    """An accepted set-point. It is in charge from ``takes_over`` on, and followed from ``begins`` on.

    In between (the dead time) the value before is held; once an order is in charge the validity of the one before it
    does not matter any more.
    """

    value_kw: float
    takes_over: datetime
    begins: datetime
    until: datetime
    fallback: Fallback


@dataclass(frozen=True, slots=True)
class Target:
    """What is followed: a value [kW], or a fallback. ``value_kw`` is the last value followed, None before the first."""

    value_kw: float | None
    fallback: Fallback | None

    def value_or(self, idle_kw: float, uncontrolled_kw: float, unknown_kw: float) -> float:
        """The value [kW] that it means, by the fallback; ``unknown_kw`` for holding a value that never was."""
        if self.fallback is Fallback.IDLE:
            return idle_kw
        if self.fallback is Fallback.UNCONTROLLED:
            return uncontrolled_kw
        return unknown_kw if self.value_kw is None else self.value_kw


class Orders:
    """A delay line of set-points with validity in half-open intervals [valid_from, valid_until)."""

    def __init__(self, fallback: Fallback) -> None:
        self.target = Target(None, fallback)
        self._in_charge: Order | None = None
        self._ahead: list[Order] = []
        self._delayed: list[Order] = []
        self._due: tuple[datetime, int] | None = None
        """What changes next; found again whenever an order comes or goes."""

    @property
    def full(self) -> bool:
        return len(self._ahead) + len(self._delayed) >= MAX_WAITING

    def receive(self, order: Order) -> None:
        """Takes an order that is not in charge yet; of two for the same instant the later one counts."""
        self._ahead = [known for known in self._ahead if known.takes_over != order.takes_over]
        self._ahead.append(order)
        self._ahead.sort(key=lambda known: known.takes_over)
        self._due = self._next()

    def settle(self, at: datetime, *, expire: bool) -> None:
        """Brings ``target`` to the instant ``at``. ``expire``: an order valid until ``at`` itself is over, too."""
        while self._due is not None and self._due[0] <= at:
            instant, rank = self._due
            if rank == _TAKES_OVER:
                self._in_charge = self._ahead.pop(0)
                self._delayed.append(self._in_charge)
                self._delayed.sort(key=lambda order: order.begins)
            elif rank == _BEGINS:
                self.target = Target(self._delayed.pop(0).value_kw, None)
            else:
                if instant == at and not expire:
                    return
                assert self._in_charge is not None
                self.target = Target(self.target.value_kw, self._in_charge.fallback)
                self._in_charge = None
                self._delayed = []
            self._due = self._next()

    def next_change(self) -> datetime | None:
        """The next instant at which something changes."""
        return None if self._due is None else self._due[0]

    def _next(self) -> "tuple[datetime, int] | None":
        events = []
        if self._ahead:
            events.append((self._ahead[0].takes_over, _TAKES_OVER))
        if self._delayed:
            events.append((self._delayed[0].begins, _BEGINS))
        if self._in_charge is not None:
            events.append((self._in_charge.until, _EXPIRES))
        return min(events, default=None)

    def snapshot(self) -> Json:
        return {
            "target": asdict(self.target),
            "in_charge": None if self._in_charge is None else _order_to_json(self._in_charge),
            "ahead": [_order_to_json(order) for order in self._ahead],
            "delayed": [_order_to_json(order) for order in self._delayed],
        }

    def restore(self, state: Json) -> None:
        fallback = state["target"]["fallback"]
        self.target = Target(state["target"]["value_kw"], None if fallback is None else Fallback(fallback))
        self._in_charge = None if state["in_charge"] is None else _order_from_json(state["in_charge"])
        self._ahead = [_order_from_json(order) for order in state["ahead"]]
        self._delayed = [_order_from_json(order) for order in state["delayed"]]
        self._due = self._next()


# At one instant a new order takes over before the old one could expire, and is followed before anything expires.
_TAKES_OVER, _BEGINS, _EXPIRES = 0, 1, 2


def order_for(
    value_kw: float,
    received: datetime,
    valid_from: datetime,
    valid_until: datetime,
    dead_time_s: float,
    fallback: Fallback,
) -> Order | None:
    """The order that a set-point received at an instant means; None when its validity ends before it is followed."""
    takes_over = max(received, valid_from)
    begins = max(received + timedelta(seconds=dead_time_s), valid_from)
    return None if begins >= valid_until else Order(value_kw, takes_over, begins, valid_until, fallback)


def _order_to_json(order: Order) -> dict[str, Any]:
    return {
        "value_kw": order.value_kw,
        "takes_over": order.takes_over.isoformat(),
        "begins": order.begins.isoformat(),
        "until": order.until.isoformat(),
        "fallback": order.fallback.value,
    }


def _order_from_json(state: Json) -> Order:
    return Order(
        value_kw=state["value_kw"],
        takes_over=datetime.fromisoformat(state["takes_over"]),
        begins=datetime.fromisoformat(state["begins"]),
        until=datetime.fromisoformat(state["until"]),
        fallback=Fallback(state["fallback"]),
    )
