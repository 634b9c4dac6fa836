"""A site as its broker shows it now: the run, who is there, who leads. For commands that act on a running site."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from broker.transport import Delivery, Transport
from schemas.errors import Code, Fault, InputError, RemoteMessageError, RunFailedError
from schemas.messages import Birth, EmsMode, Plan, Presence, Run, RunId, Setpoint, Stamp, State, TimeMode
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import decode

WATCHED = (Channel.RUN, Channel.BIRTH, Channel.STATE, Channel.PLAN, Channel.SETPOINT, Channel.ACK)
LISTEN_S = 1.0
"""Wait for retained messages [s]: they come at once; so long is enough on a slow machine, too."""


@dataclass(frozen=True, slots=True)
class LiveDevice:
    """A device that was born. ``online``: its state is of the same life, and online."""

    topic: Topic
    birth: Birth
    online: bool


@dataclass
class LiveSite:
    """The messages of one site. Fed with deliveries."""

    site: str
    run: RunId | None = None
    time_base: Run | None = None
    births: dict[str, tuple[Topic, Stamp, Birth]] = field(default_factory=dict)
    states: dict[str, tuple[Stamp, State]] = field(default_factory=dict)
    plan: tuple[Stamp, Plan] | None = None
    epoch: int = 0
    """The highest of the run's plans and set-points."""

    def note(self, topic: Topic, stamp: Stamp, body: object) -> None:
        """Takes a message of this site in."""
        if isinstance(body, Run):
            if self.run is None or (stamp.run or "") >= self.run:
                if stamp.run != self.run:
                    self.epoch, self.plan = 0, None
                self.run, self.time_base = stamp.run, body
        elif isinstance(body, Birth):
            self.births[topic.device] = (topic, stamp, body)
        elif isinstance(body, State):
            self.states[topic.device] = (stamp, body)
        elif isinstance(body, Plan) and stamp.run in (self.run, None):
            self.plan = (stamp, body)
            self.epoch = max(self.epoch, body.epoch)
        elif isinstance(body, Setpoint) and stamp.run in (self.run, None):
            self.epoch = max(self.epoch, body.epoch)

    def device(self, name: str) -> LiveDevice | None:
        """None: no device of this name was born here."""
        if name not in self.births:
            return None
        topic, stamp, birth = self.births[name]
        state = self.states.get(name)
        online = state is not None and state[0].boot == stamp.boot and state[1].state is Presence.ONLINE
        return LiveDevice(topic, birth, online)

    @property
    def leading_ems(self) -> str | None:
        """The EMS that commands the devices now: its latest plan is of this run and says so, and it is online."""
        if self.plan is None or self.plan[1].mode is not EmsMode.CONTROL:
            return None
        boot = self.plan[0].boot
        for name, (topic, stamp, _) in self.births.items():
            if topic.kind is Kind.EMS and stamp.boot == boot:
                device = self.device(name)
                return name if device is not None and device.online else None
        return None

    def wall_run(self) -> tuple[RunId, Run]:
        """The run in wall time that goes on now. Raises RunFailedError when there is none.

        In lock-step nobody from outside can act: only what a member of the run announced to the clock is taken in.
        """
        time_base, run = self.time_base, self.run
        if time_base is None or run is None or time_base.ended is not None:
            raise RunFailedError(f"no run goes on at site {self.site}: start one, as with `twinswarm up --speed 1`")
        if time_base.mode is not TimeMode.WALL:
            what = "in lock-step only members of the run act; use --speed, or --scenario for a scripted event"
            raise RunFailedError(f"the run of site {self.site} is in lock-step: {what}")
        return run, time_base


def look_around(
    transport: Transport,
    site: str,
    monotonic: Callable[[], float],
    *,
    seconds: float = LISTEN_S,
    and_on: tuple[Channel, ...] = (),
) -> dict[str, LiveSite]:
    """Connects, listens for so long, and returns what was heard by site. ``site``: ``+`` for all.

    The transport stays connected, and listens on the channels ``and_on``, too. Raises BrokerUnreachableError.
    """
    transport.connect([topic_filter(site, channel=channel) for channel in (*WATCHED, *and_on)])
    found: dict[str, LiveSite] = {}
    kept: list[tuple[Topic, Stamp, object]] = []
    for topic, stamp, body in _heard(transport, monotonic, monotonic() + seconds):
        kept.append((topic, stamp, body))
    # Runs first: what belongs to another run does not count, and the order of what is retained is the broker's.
    for topic, stamp, body in sorted(kept, key=lambda each: not isinstance(each[2], Run)):
        found.setdefault(topic.site, LiveSite(topic.site)).note(topic, stamp, body)
    return found


def _heard(
    transport: Transport, monotonic: Callable[[], float], deadline: float
) -> Iterator[tuple[Topic, Stamp, object]]:
    while (left := deadline - monotonic()) > 0:
        delivery = transport.receive(left)
        if delivery is not None and (message := _decoded(transport, delivery)) is not None:
            yield message


def _decoded(transport: Transport, delivery: Delivery) -> tuple[Topic, Stamp, object] | None:
    transport.acknowledge(delivery)
    try:
        topic = Topic.parse(delivery.topic)
        stamp, body = decode(topic, delivery.payload)
    except RemoteMessageError:
        return None
    return topic, stamp, body


def await_answer(
    transport: Transport,
    topic: Topic,
    fits: Callable[[object], bool],
    monotonic: Callable[[], float],
    seconds: float,
) -> object | None:
    """The first message on ``topic`` that fits; None when none came within ``seconds``."""
    for heard_on, _, body in _heard(transport, monotonic, monotonic() + seconds):
        if heard_on == topic and fits(body):
            return body
    return None


def site_with(found: dict[str, LiveSite], device: str) -> tuple[LiveSite, LiveDevice]:
    """The only site that has a device of this name. Raises InputError naming what there is."""
    having = [(site, live) for site in found.values() if (live := site.device(device)) is not None]
    if not having:
        known = sorted(name for site in found.values() for name in site.births)
        what = f"there are {', '.join(known)}" if known else "nobody was born on this broker"
        raise InputError([Fault("DEVICE", what, repr(device), code=Code.UNKNOWN)])
    if len(having) > 1:
        named = ", ".join(sorted(site.site for site, _ in having))
        raise InputError.one("--site", f"is needed: the sites {named} have this device", device, code=Code.MISSING)
    return having[0]
