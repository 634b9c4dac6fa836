"""Who is on a broker: what was heard of every participant while listening."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.transport import Delivery, Transport
from schemas.errors import RemoteMessageError
from schemas.messages import Birth, Body, Run, Stamp, State, Telemetry, TimeMode
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode


@dataclass
class Heard:
    """One participant. ``last`` is its newest message: its channel, when it came in, and whether it was retained."""

    site: str
    kind: Kind
    device: str
    birth: Birth | None = None
    state: State | None = None
    power_kw: float | None = None
    soc_frac: float | None = None
    stamp: Stamp | None = None
    channel: Channel | None = None
    arrived: datetime | None = None
    """Machine time; None: only retained messages came."""

    def age_s(self, now: datetime, session: Run | None) -> float | None:
        """Machine seconds since its last message.

        Of a retained message only the stamp tells, in the time that held when it was sent: the machine's outside a
        run, the session's in wall time. In lock-step it says nothing of it, save that of a goodbye or last will,
        which are outside the run's counts (seq 0): None.
        """
        if self.arrived is not None:
            return (now - self.arrived).total_seconds()
        if self.stamp is None:
            return None
        lockstep = session is None or session.mode is TimeMode.LOCKSTEP
        if self.stamp.run is None or (lockstep and self.stamp.seq == 0):
            return (now - self.stamp.ts).total_seconds()
        if session is None or lockstep:
            return None
        return (session.time_at(now) - self.stamp.ts).total_seconds() / (session.speed or 1.0)


@dataclass
class Roster:
    """Everybody of one or more sites, by (site, kind, device)."""

    heard: dict[tuple[str, Kind, str], Heard] = field(default_factory=dict)
    sessions: dict[str, tuple[str | None, Run]] = field(default_factory=dict)
    """By site: run and session, as retained last."""
    rejected: int = 0
    """Messages that are not of the contract."""

    def note(self, delivery: Delivery, now: datetime) -> None:
        if delivery.retained and not delivery.payload:
            return
        try:
            topic = Topic.parse(delivery.topic)
            stamp, body = decode(topic, delivery.payload)
        except RemoteMessageError:
            self.rejected += 1
            return
        if isinstance(body, Run):
            self.sessions[topic.site] = (stamp.run, body)
        if topic.channel is Channel.SETPOINT:
            return  # the EMS speaks there, on the device's topic
        who = (topic.site, topic.kind, topic.device)
        heard = self.heard.setdefault(who, Heard(*who))
        self._learn(heard, body)
        if not delivery.retained:
            heard.arrived = now
        if not delivery.retained or heard.stamp is None or (heard.arrived is None and stamp.ts >= heard.stamp.ts):
            heard.stamp, heard.channel = stamp, topic.channel

    @staticmethod
    def _learn(heard: Heard, body: Body) -> None:
        if isinstance(body, Birth):
            heard.birth = body
        elif isinstance(body, State):
            heard.state = body
        elif isinstance(body, Telemetry):
            vehicle = getattr(body, "vehicle", None)
            heard.power_kw = body.power_kw
            heard.soc_frac = getattr(body, "soc_frac", None) if vehicle is None else vehicle.soc_frac

    def __iter__(self) -> Iterator[Heard]:
        return iter([self.heard[who] for who in sorted(self.heard)])

    def json(self, now: datetime) -> dict[str, Any]:
        """For a program; ages in machine seconds, powers in kW."""
        return {
            "sessions": {
                site: {"run": run, **session.model_dump(mode="json")} for site, (run, session) in self.sessions.items()
            },
            "devices": [self._device(heard, now) for heard in self],
            "rejected": self.rejected,
        }

    def _device(self, heard: Heard, now: datetime) -> dict[str, Any]:
        birth, stamp = heard.birth, heard.stamp
        return {
            "site": heard.site,
            "device": heard.device,
            "kind": str(heard.kind),
            "state": None if heard.state is None else str(heard.state.state),
            "reason": None if heard.state is None else heard.state.reason,
            "time_modes": None if birth is None else [str(mode) for mode in birth.time_modes],
            "nameplate": None if birth is None else birth.nameplate.model_dump(mode="json"),
            "software": None if birth is None else birth.software,
            "power_kw": heard.power_kw,
            "soc_frac": heard.soc_frac,
            "boot": None if stamp is None else stamp.boot,
            "last_channel": None if heard.channel is None else str(heard.channel),
            "last_ts": None if stamp is None else stamp.ts.isoformat(),
            "age_s": self.age_s(heard, now),
        }

    def age_s(self, heard: Heard, now: datetime) -> float | None:
        """See `Heard.age_s`."""
        session = self.sessions.get(heard.site)
        return heard.age_s(now, None if session is None else session[1])


def listen(transport: Transport, seconds: float, monotonic: Callable[[], float], utc: Callable[[], datetime]) -> Roster:
    """Takes what comes in for so long. The transport is connected."""
    roster = Roster()
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        delivery = transport.receive(left)
        if delivery is not None:
            roster.note(delivery, utc())
            transport.acknowledge(delivery)
    return roster
