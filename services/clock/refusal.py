"""A simulation never commands a site that lives: what has to be looked at before a clock opens a run."""

import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field

from broker.transport import Delivery, Transport
from schemas.errors import RemoteMessageError, SiteBusyError
from schemas.messages import Birth, Presence, Run, RunId, Stamp, State, TimeMode
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import decode

LISTEN_S = 3.0
"""Longer than the longest silence of a run that lives: a lock-step clock repeats its tick sooner."""
TAKEOVERS_MOST = 2
"""A connection may break while we listen; that of two clients with the same name breaks all the time."""
GRACE_S = 10.0
"""So long it reads on after that while messages are waiting: a slow machine must not overlook what is retained."""
WATCHED = (Channel.RUN, Channel.BIRTH, Channel.STATE, Channel.TICK, Channel.TELEMETRY, Channel.SETPOINT)


@dataclass
class _Seen:
    """The messages of one site. Keys are (kind, device)."""

    births: dict[tuple[Kind, str], tuple[Stamp, Birth]] = field(default_factory=dict)
    states: dict[tuple[Kind, str], tuple[Stamp, State]] = field(default_factory=dict)
    time_bases: dict[tuple[Kind, str], tuple[RunId | None, Run]] = field(default_factory=dict)
    live: dict[tuple[Kind, str], Channel] = field(default_factory=dict)
    """Who sent something while we listened."""
    runs: set[RunId | None] = field(default_factory=set)
    """To which that belonged."""
    handed_over: Counter[str] = field(default_factory=Counter)
    """How often we were given what is retained on a topic: once for every connection that we made."""

    def note(self, delivery: Delivery) -> None:
        try:
            topic = Topic.parse(delivery.topic)
            stamp, body = decode(topic, delivery.payload)
        except RemoteMessageError:
            return  # what cannot be understood cannot be alive; an empty payload deletes what was retained
        who = (topic.kind, topic.device)
        self.handed_over[delivery.topic] += delivery.retained
        if isinstance(body, Birth):
            self.births[who] = (stamp, body)
        elif isinstance(body, State):
            self.states[who] = (stamp, body)
        elif isinstance(body, Run):
            self.time_bases[who] = (stamp.run, body)
        elif not delivery.retained:
            self.live[who] = topic.channel
            self.runs.add(stamp.run)

    @property
    def taken_over(self) -> bool:
        """Whether our connection was taken away time and again: a broker keeps one of those who have the same name."""
        return max(self.handed_over.values(), default=0) > TAKEOVERS_MOST

    def online(self, who: tuple[Kind, str]) -> bool:
        """A state that is not offline; with a birth, of the same life."""
        birth, state = self.births.get(who), self.states.get(who)
        if state is None or state[1].state is Presence.OFFLINE:
            return False
        return birth is None or birth[0].boot == state[0].boot


def check_site_is_free(
    transport: Transport,
    site: str,
    mode: TimeMode,
    allowed: Set[str],
    *,
    listen_s: float = LISTEN_S,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Listens to the site for ``listen_s`` and raises SiteBusyError, naming everything that lives there.

    ``allowed``: devices that this run started, which may be online if they can follow ``mode``. A run that was
    left open by a clock that is gone is no obstacle when nobody is online, unless it is one of real devices.
    The transport is connected here, and closed again. Raises BrokerUnreachableError.
    """
    seen = _listen(transport, site, listen_s, now)
    obstacles = [*_double(seen), *_open_runs(seen), *_strangers(seen, allowed), *_unable(seen, mode, allowed)]
    if obstacles:
        raise SiteBusyError(f"site {site} is in use: " + "; ".join(obstacles))


def check_nothing_is_simulated(
    transport: Transport, site: str, *, listen_s: float = LISTEN_S, now: Callable[[], float] = time.monotonic
) -> None:
    """The same before a run of real devices, which may be there already: raises SiteBusyError when the site is
    being simulated, or when another clock is there. A simulated run that was left open is no obstacle when its
    clock is gone and nobody sends anything in its run; an open run of real devices is there to be gone on with.
    """
    seen = _listen(transport, site, listen_s, now)
    obstacles = [
        *_double(seen),
        *(
            f"{kind}/{device} simulates it in run {run}, which has to end first"
            for (kind, device), (run, time_base) in sorted(seen.time_bases.items())
            if time_base.simulated and time_base.ended is None and (seen.online((kind, device)) or run in seen.runs)
        ),
    ]
    if obstacles:
        raise SiteBusyError(f"site {site} is taken: " + "; ".join(obstacles))


def _listen(transport: Transport, site: str, listen_s: float, now: Callable[[], float]) -> _Seen:
    seen = _Seen()
    transport.connect([topic_filter(site, channel=channel) for channel in WATCHED])
    try:
        deadline = now() + listen_s
        while (left := deadline - now()) > -GRACE_S:
            delivery = transport.receive(max(left, 0.0))
            if delivery is not None:
                seen.note(delivery)
                transport.acknowledge(delivery)
            elif left <= 0:
                break
    finally:
        transport.close()
    return seen


def _open_runs(seen: _Seen) -> list[str]:
    found = []
    for (kind, device), (run, time_base) in sorted(seen.time_bases.items()):
        if time_base.ended is not None:
            continue
        who = f"run {run or 'without an identifier'} of {kind}/{device} ({time_base.mode})"
        if not time_base.simulated:
            found.append(f"{who} is open and commands real devices")
        elif seen.online((kind, device)):
            found.append(f"{who} is open and its clock is online")
        elif seen.live:
            found.append(f"{who} is open and messages are being sent")
    return found


def _double(seen: _Seen) -> list[str]:
    return ["another client with this clock's name is connected"] if seen.taken_over else []


def _strangers(seen: _Seen, allowed: Set[str]) -> list[str]:
    found = []
    for who in sorted({*seen.births, *seen.states, *seen.live}):
        kind, device = who
        if device in allowed:
            continue
        if seen.online(who):
            found.append(f"{kind}/{device} is online and was not started by this run")
        elif who in seen.live:
            # A tick and a set-point stand on the topic of the clock and of the device that is to obey.
            found.append(f"a {seen.live[who]} was sent on {kind}/{device}, which was not started by this run")
    return found


def _unable(seen: _Seen, mode: TimeMode, allowed: Set[str]) -> list[str]:
    return [
        f"{kind}/{device} is online and does not follow {mode} time, only {', '.join(birth.time_modes)}"
        for (kind, device), (_, birth) in sorted(seen.births.items())
        if device in allowed and seen.online((kind, device)) and mode not in birth.time_modes
    ]
