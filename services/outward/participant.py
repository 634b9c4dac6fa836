"""A twin with two doors: MQTT, and the face of another protocol with a master behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from schemas.messages import VALIDITY_MOST, Ack, Birth, Setpoint, TimeMode
from schemas.participant import Json, Outgoing, Received, Turn, own_topic
from schemas.topics import Channel, Kind
from schemas.wrapped import Wrapped
from services.outward.face import Asked, Face
from twin_devices.base import Twin

REFRESH_S = 1.0
"""Machine seconds between two looks at what the face shows."""
COMMANDED = "a master at this device commands it, by another protocol than MQTT"
RENEWED = VALIDITY_MOST / 4
"""What lasts longer than a set-point may is asked again when so little of its validity is left."""


class Outward(Wrapped[Twin]):
    """Hands a master's commands to the twin as set-points: accepted, clipped, expired as those of the EMS.

    Who commands: the master, as long as it asks for something; meanwhile set-points from MQTT are refused with that
    reason, and those that were accepted before are given up. When the master asks no longer, or its time-out has
    passed, the twin's fallback holds until a set-point comes. After a restart of the twin what it asked is gone.
    Masters count seconds of the machine, however fast the run's time passes, and so is their time-out counted here.
    """

    def __init__(self, twin: Twin, face: Face) -> None:
        super().__init__(twin)
        self._face = face
        self.sources = (face,)
        self._asked: Asked | None = None
        """What the twin follows of it."""
        self._ends: datetime | None = None
        """When that is over by itself; None: never."""
        self._until: datetime | None = None
        """The end of the set-point that was made of it."""
        self._count = 0
        """Set-points made in all lives, for their names."""
        self._lost = False
        """A master commanded before the restart."""
        self._pace = 1.0

    def birth(self) -> Birth:
        return self.inner.birth().model_copy(update={"time_modes": (TimeMode.WALL,)})

    @property
    def registers(self) -> dict[str, float]:
        return self.inner.registers

    def continue_registers(self, registers: Mapping[str, float]) -> None:
        self.inner.continue_registers(registers)

    def wake_at(self, now: datetime) -> datetime:
        """Once a second, so that the face shows what is, and at the end of what was asked."""
        refresh = now + timedelta(seconds=REFRESH_S * self._pace)
        return refresh if self._ends is None else min(refresh, self._ends)

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        at, self._pace = turn.t, turn.pace
        acks: list[Ack] = []
        mine = inbox
        if self._asked is not None:
            mine = [received for received in inbox if not isinstance(received.body, Setpoint)]
            acks = [_refused(each.body) for each in inbox if isinstance(each.body, Setpoint)]
        sent = self.inner.act(replace(turn, inputs=()), mine)
        if self._lost:
            self._lost = False
            acks += self.inner.withdraw(at, "the twin was started again, and what its master asked is gone")
        if self._ends is not None and self._ends <= at:
            self._end()
        for given in turn.inputs:
            assert isinstance(given.value, Asked)
            acks += self._take(given.value, at)
        acks += self._renew(at)
        self._show(at)
        return sent + [Outgoing(own_topic(self.inner, Channel.ACK), ack) for ack in acks]

    def _take(self, asked: Asked, at: datetime) -> list[Ack]:
        if asked.value_kw is None:
            over = self._asked is not None
            self._asked = self._ends = self._until = None
            return self.inner.withdraw(at, "the master at this device commands no longer") if over else []
        withdrawn = [] if self._asked is not None else self.inner.withdraw(at, COMMANDED)
        self._ends = at + timedelta(seconds=asked.for_s * self._pace) if asked.for_s else None
        return withdrawn + self._follow(asked, at)

    def _renew(self, at: datetime) -> list[Ack]:
        """Asks again for what lasts longer than a set-point may."""
        if self._asked is None or self._until is None or self._until == self._ends or self._until - at > RENEWED:
            return []
        return self._follow(self._asked, at)

    def _follow(self, asked: Asked, at: datetime) -> list[Ack]:
        """Makes a set-point of what is asked, valid from now on."""
        self._count += 1
        longest = at + VALIDITY_MOST
        until = longest if self._ends is None else min(self._ends, longest)
        is_limit = self.kind is Kind.PV
        setpoint = Setpoint(
            id=f"master-{self._count}",
            epoch=self.inner.epoch,
            valid_from=at,
            valid_until=until,
            power_kw=None if is_limit else asked.value_kw,
            limit_kw=asked.value_kw if is_limit else None,
            phases=asked.phases,
            fallback=self.inner.birth().fallback,
        )
        acks = self.inner.command(setpoint, at)
        self._asked, self._until = asked, until
        if not acks[0].accepted:
            self._end()
        return acks

    def _end(self) -> None:
        """What was asked is over."""
        if self._asked is not None:
            self._face.over(self._asked.number)
        self._asked = self._ends = self._until = None

    def _show(self, at: datetime) -> None:
        remaining_s = None if self._ends is None else (self._ends - at).total_seconds() / self._pace
        self._face.show(self.inner.reading(at), remaining_s)

    def snapshot(self) -> Json:
        return {**self.inner.snapshot(), "master": {"count": self._count, "commands": self._asked is not None}}

    def restore(self, state: Json) -> None:
        self.inner.restore(state)
        master = state.get("master", {"count": 0, "commands": False})  # a checkpoint of the twin without a face
        self._count, self._lost = master["count"], master["commands"]


def _refused(setpoint: Setpoint) -> Ack:
    return Ack(id=setpoint.id, accepted=False, reason=COMMANDED)
