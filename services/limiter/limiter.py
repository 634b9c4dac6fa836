"""The limiter: publishes one limit from outside, and repeats it as its heartbeat."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Birth, Limit, Phase, ServiceNameplate, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.topics import Channel, Kind

LOOK_EVERY_S = 5.0
"""Without a heartbeat: how often it looks whether the limit is over."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be demanded. ``begins`` None: at once; ``length`` None: until it is taken back."""

    source: str
    import_kw: float | None = None
    export_kw: float | None = None
    group: str | None = None
    begins: datetime | None = None
    length: timedelta | None = None
    heartbeat_s: float | None = None
    failsafe_import_kw: float | None = None
    failsafe_export_kw: float | None = None

    def limit(self, now: datetime) -> Limit:
        """The message, of a demand that is made at ``now``. Raises pydantic's ValidationError."""
        begins = now if self.begins is None else self.begins
        return Limit(
            group=self.group,
            source=self.source,
            valid_from=begins,
            valid_until=None if self.length is None else begins + self.length,
            import_kw=self.import_kw,
            export_kw=self.export_kw,
            heartbeat_s=self.heartbeat_s,
            failsafe_import_kw=self.failsafe_import_kw,
            failsafe_export_kw=self.failsafe_export_kw,
        )


class Limiter:
    """Publishes on joining a run, in lock-step in every cycle, in wall time with the period of the heartbeat."""

    kind = Kind.LIMITER

    def __init__(self, site: str, device: str, demand: Demand, on_end: Callable[[], None] = lambda: None) -> None:
        """``on_end`` is called in wall time, from the first turn on at which nothing is left to be published. In
        lock-step a member stays until the run's end."""
        self.site = site
        self.device = device
        self._demand = demand
        self._on_end = on_end
        self._limit: Limit | None = None
        """Fixed at the first turn: a repetition is the same limit."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return ()

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.SENSE: Cadence(period_s=self._demand.heartbeat_s or LOOK_EVERY_S)}

    def birth(self) -> Birth:
        return Birth(
            nameplate=ServiceNameplate(),
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            software=software(),
        )

    def over(self, now: datetime) -> bool:
        """Whether the limit was published, and has ended or was a withdrawal."""
        if self._limit is None:
            return False
        return self._limit.is_withdrawal or (self._limit.valid_until is not None and self._limit.valid_until <= now)

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        first = self._limit is None
        if turn.phase not in (Phase.ROLLCALL, Phase.SENSE):
            return []
        if self.over(turn.t):
            if turn.mode is TimeMode.WALL:
                self._on_end()
            return []
        if self._limit is None:
            self._limit = self._demand.limit(turn.t)
        repeats = turn.mode is TimeMode.LOCKSTEP or self._demand.heartbeat_s is not None
        return [Outgoing(own_topic(self, Channel.LIMIT), self._limit)] if first or repeats else []

    def snapshot(self) -> Json:
        return None if self._limit is None else json.loads(self._limit.model_dump_json())

    def restore(self, state: Json) -> None:
        self._limit = None if state is None else Limit.model_validate_json(json.dumps(state))
