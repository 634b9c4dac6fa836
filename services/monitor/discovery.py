"""Finds out who is on a broker, and how they are: the newest messages of each participant while listening.

The one model of a site's state from outside. `twinswarm devices` shows it by participant, `services.monitor.health`
judges it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.transport import Delivery, Transport
from schemas.errors import RemoteMessageError
from schemas.messages import (
    Alarm,
    Birth,
    Body,
    KnownDevice,
    Metric,
    Plan,
    Presence,
    Receipt,
    Reject,
    Run,
    Stamp,
    State,
    Telemetry,
    TimeMode,
)
from schemas.plausibility import bounds_of
from schemas.presence import ahead_bound_s, behind_bound_s, lag_s
from schemas.roles import writer_of
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode

LOOK_S = 0.25
"""How often it is looked at whether everybody was heard."""


@dataclass
class Seen:
    """One participant, with what its messages say. ``stamp`` and ``channel`` are those of its newest message."""

    site: str
    kind: Kind
    device: str
    birth: Birth | None = None
    state: State | None = None
    state_run: str | None = None
    """The run in which it said its state."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Numbers about its own work, the newest by name."""
    receipt: Receipt | None = None
    power_kw: float | None = None
    soc_frac: float | None = None
    stamp: Stamp | None = None
    channel: Channel | None = None
    arrived: datetime | None = None
    """Machine time; None: only retained messages came."""
    doubts: tuple[str, ...] = ()
    """An EMS: what it does not act on, because it cannot be, each with its reason."""
    lag_s: float | None = None
    """Least time from the ``ts`` of a telemetry or metric to its arrival [s of the run]; negative when the sender's
    clock is ahead."""

    def clock_behind_s(self, run: Run | None) -> float | None:
        """By how much its clock is behind this machine's [s of the run], negative when ahead; None: within the bound,
        or not known. The time of a network twin is that up to which the slowest device was heard."""
        if self.lag_s is None or run is None or run.mode is TimeMode.LOCKSTEP or self.kind is Kind.NETWORK:
            return None
        wrong = self.lag_s < -ahead_bound_s(run.pace) or self.lag_s > behind_bound_s(run.pace)
        return self.lag_s if wrong else None

    def expected_s(self, run: Run) -> float | None:
        """Machine time within which it sends something, in wall time; None: its birth promises nothing."""
        if self.birth is None:
            return None
        if self.birth.heartbeat_s is not None:
            return self.birth.heartbeat_s
        period_s = self.birth.telemetry_period_s
        return None if period_s is None else period_s / run.pace

    def takes_part(self, run_id: str | None) -> bool:
        """Whether it has shown itself in the run, as far as is known, and not only before it."""
        return self.state is not None and self.state_run in (None, run_id)

    def is_kept(self, run: Run | None) -> bool | None:
        """Whether it keeps what it sends until that is stored, so that nothing of it is lost; None: not known, or a
        matter of lock-step's barrier, or the clock, whose messages are retained."""
        if self.birth is None or run is None or run.mode is TimeMode.LOCKSTEP or self.kind is Kind.CLOCK:
            return None
        return bool(self.birth.store_and_forward)

    @property
    def doubt(self) -> str | None:
        """Why its newest power cannot be, by its nameplate; None: it can, or nothing is known to judge it by."""
        bounds = None if self.birth is None else bounds_of(self.birth.nameplate, None)
        return None if bounds is None or self.power_kw is None else bounds.doubt(self.power_kw)

    def age_s(self, now: datetime, run: Run | None) -> float | None:
        """Machine seconds since its last message.

        For a retained message the stamp decides. Its time is the machine's outside a run, and the run's in wall time.
        In lock-step it says nothing about the machine's time, except in a goodbye or a last will, which are outside
        the run's counts (seq 0). None: not known.
        """
        if self.arrived is not None:
            return (now - self.arrived).total_seconds()
        if self.stamp is None:
            return None
        lockstep = run is None or run.mode is TimeMode.LOCKSTEP
        if self.stamp.run is None or (lockstep and self.stamp.seq == 0):
            return (now - self.stamp.ts).total_seconds()
        if run is None or lockstep:
            return None
        return run.machine_s(run.time_at(now) - self.stamp.ts)


@dataclass
class Roster:
    """Everybody of one or more sites, by (site, kind, device)."""

    seen: dict[tuple[str, Kind, str], Seen] = field(default_factory=dict)
    runs: dict[str, tuple[str | None, Run]] = field(default_factory=dict)
    """By site: the identifier and the message of the run that is retained."""
    plans: dict[str, Plan] = field(default_factory=dict)
    """By site: the newest plan of its EMS."""
    alarms: dict[tuple[str, str, str, str], Alarm] = field(default_factory=dict)
    """Raised and not ended while listening, by site, sender, code and what it is about."""
    rejects: dict[tuple[str, str, str], Reject] = field(default_factory=dict)
    """The newest by site, who ignored a message, and that message's topic."""
    rejected: int = 0
    """How many messages were not of the contract."""

    kept_at_broker: dict[tuple[str, Kind, str], dict[Channel, int]] = field(default_factory=dict)
    """Bytes that the broker retains, of messages of the contract or not, by participant and channel."""

    def note(self, delivery: Delivery, now: datetime) -> None:
        if delivery.retained and not delivery.payload:
            return
        try:
            topic = Topic.parse(delivery.topic)
            if delivery.retained:
                kept = self.kept_at_broker.setdefault((topic.site, topic.kind, topic.device), {})
                kept[topic.channel] = len(delivery.payload)
            stamp, body = decode(topic, delivery.payload)
        except RemoteMessageError:
            self.rejected += 1
            return
        if isinstance(body, Run):
            self.runs[topic.site] = (stamp.run, body)
        if isinstance(body, Plan):
            self.plans[topic.site] = body
        if writer_of(topic) not in (f"{topic.kind}/{topic.device}", topic.kind):
            return  # a set-point, an event or a receipt: another's message, on the device's topic
        who = (topic.site, topic.kind, topic.device)
        seen = self.seen.setdefault(who, Seen(*who))
        self._learn(seen, stamp, body)
        self._note_trouble(seen, body)
        if not delivery.retained:
            seen.arrived = now
            self._compare_clocks(seen, stamp, body, now)
        if not delivery.retained or seen.stamp is None or (seen.arrived is None and stamp.ts >= seen.stamp.ts):
            seen.stamp, seen.channel = stamp, topic.channel

    def _compare_clocks(self, seen: Seen, stamp: Stamp, body: Body, now: datetime) -> None:
        _, run = self.runs.get(seen.site, (None, None))
        if isinstance(body, Telemetry | Metric) and run is not None and run.ended is None and run.mode is TimeMode.WALL:
            lag = lag_s(stamp.ts, run.time_at(now))
            seen.lag_s = lag if seen.lag_s is None else min(seen.lag_s, lag)

    def known(self, seen: Seen) -> KnownDevice | None:
        """What the EMS said of it in its newest plan; None: nothing."""
        plan = self.plans.get(seen.site)
        return None if plan is None or plan.knowledge is None else plan.knowledge.get(seen.device)

    def clock_behind_s(self, seen: Seen) -> float | None:
        """See `Seen.clock_behind_s`; without telemetry meanwhile as the EMS has said."""
        _, run = self.runs.get(seen.site, (None, None))
        known = self.known(seen)
        if seen.lag_s is None and known is not None:
            return known.clock_behind_s
        return seen.clock_behind_s(run)

    def heard_all(self) -> bool:
        """Whether everybody has sent what it promises, so that there is nothing more to wait for.

        Only in a run in wall time that goes on: elsewhere nobody promises anything.
        """
        return bool(self.runs) and all(
            run.ended is not None or run.mode is TimeMode.LOCKSTEP or self._heard_all_of(site, run_id, run)
            for site, (run_id, run) in self.runs.items()
        )

    def _heard_all_of(self, site: str, run_id: str | None, run: Run) -> bool:
        online = [
            seen
            for seen in self
            if seen.site == site
            and seen.takes_part(run_id)
            and seen.state is not None
            and seen.state.state is Presence.ONLINE
            and seen.expected_s(run) is not None
        ]
        beating = [seen for seen in online if seen.birth is not None and seen.birth.heartbeat_s is not None]
        return all(seen.arrived is not None for seen in online) and all(seen.metrics for seen in beating)

    def _note_trouble(self, seen: Seen, body: Body) -> None:
        if isinstance(body, Alarm):
            key = (seen.site, seen.device, body.code, body.device or body.element or "")
            self.alarms.pop(key, None)
            if body.active:
                self.alarms[key] = body
        elif isinstance(body, Reject):
            self.rejects[seen.site, seen.device, body.topic] = body

    def is_kept(self, seen: Seen) -> bool | None:
        """See `Seen.is_kept`."""
        _, run = self.runs.get(seen.site, (None, None))
        return seen.is_kept(run)

    @staticmethod
    def _learn(seen: Seen, stamp: Stamp, body: Body) -> None:
        if isinstance(body, Birth):
            seen.birth = body
        elif isinstance(body, State):
            seen.state, seen.state_run = body, stamp.run
        elif isinstance(body, Metric):
            seen.metrics |= body.values
        elif isinstance(body, Receipt):
            seen.receipt = body
        elif isinstance(body, Plan):
            seen.doubts = body.doubts or ()
        elif isinstance(body, Telemetry):
            vehicle = getattr(body, "vehicle", None)
            seen.power_kw = body.power_kw
            seen.soc_frac = getattr(body, "soc_frac", None) if vehicle is None else vehicle.soc_frac

    def doubts(self) -> list[tuple[str, str]]:
        """Site and text of everything that is implausible: by the plan of its EMS, or by a device's nameplate."""
        found = []
        for seen in self:
            found += [(seen.site, text) for text in seen.doubts]
            of_power = f"power of {seen.device}: "
            if seen.doubt is not None and not any(s == seen.site and t.startswith(of_power) for s, t in found):
                found.append((seen.site, of_power + seen.doubt))
        return found

    def __iter__(self) -> Iterator[Seen]:
        return iter([self.seen[who] for who in sorted(self.seen)])

    def json(self, now: datetime) -> dict[str, Any]:
        """For a program; ages in machine seconds, powers in kW."""
        return {
            "runs": {site: {"run": run_id, **run.model_dump(mode="json")} for site, (run_id, run) in self.runs.items()},
            "devices": [self._device(seen, now) for seen in self],
            "rejected": self.rejected,
            "doubts": [{"site": site, "text": text} for site, text in self.doubts()],
        }

    def _device(self, seen: Seen, now: datetime) -> dict[str, Any]:
        birth, stamp = seen.birth, seen.stamp
        return {
            "site": seen.site,
            "device": seen.device,
            "kind": str(seen.kind),
            "state": None if seen.state is None else str(seen.state.state),
            "reason": None if seen.state is None else seen.state.reason,
            "time_modes": None if birth is None else [str(mode) for mode in birth.time_modes],
            "nameplate": None if birth is None else birth.nameplate.model_dump(mode="json"),
            "software": None if birth is None else birth.software,
            "power_kw": seen.power_kw,
            "soc_frac": seen.soc_frac,
            "boot": None if stamp is None else stamp.boot,
            "last_channel": None if seen.channel is None else str(seen.channel),
            "last_ts": None if stamp is None else stamp.ts.isoformat(),
            "age_s": self.age_s(seen, now),
            "clock_behind_s": self.clock_behind_s(seen),
            "kept": self.is_kept(seen),
            "ems": None if (known := self.known(seen)) is None else known.model_dump(mode="json"),
        }

    def age_s(self, seen: Seen, now: datetime) -> float | None:
        """See `Seen.age_s`."""
        _, run = self.runs.get(seen.site, (None, None))
        return seen.age_s(now, run)


def listen(
    transport: Transport,
    seconds: float,
    monotonic: Callable[[], float],
    utc: Callable[[], datetime],
    *,
    enough_after_s: float | None = None,
) -> Roster:
    """Takes what comes in for so long. The transport is connected.

    ``enough_after_s``: from then on it ends as soon as everybody has sent what it promises.
    """
    roster = Roster()
    began = monotonic()
    while (left := began + seconds - monotonic()) > 0:
        if enough_after_s is not None:
            if monotonic() - began >= enough_after_s and roster.heard_all():
                break
            left = min(left, LOOK_S)
        delivery = transport.receive(left)
        if delivery is not None:
            roster.note(delivery, utc())
            transport.acknowledge(delivery)
    return roster
