"""The wall clock: says which time holds at a site, as one retained message, and when it is over."""

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.transport import Delivery, Transport, Will
from runtime.life import Life
from runtime.steady_clock import STEP_S, SteadyClock, stepped
from schemas.errors import BrokerUnreachableError, LocalStateError, RemoteMessageError, RunFailedError
from schemas.messages import (
    Ack,
    Birth,
    BootId,
    Metric,
    Presence,
    Run,
    RunId,
    ServiceNameplate,
    Setpoint,
    State,
    TimeMode,
)
from schemas.participant import Outgoing, Received, software
from schemas.presence import HEARTBEAT_S
from schemas.topics import BROKER_DROPPED, Channel, Kind, Topic, topic_filter
from schemas.wire import decode
from services.clock.dropped import DroppedWatch
from services.clock.lateness import TOO_LATE_FRAC, LatenessWatch, WhenLate, slower, too_fast
from services.clock.store import NoStore, Store

LOG = logging.getLogger(__name__)

WATCH_S = 0.5
"""Machine time between looks at whether set-points come in time."""
SETTLE_S = 1.0
"""So long a clock that starts waits for a run of its own that the broker may retain."""
GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class WallTime:
    """The run that a wall clock opens. ``t0`` None: the machine's time at the start, as with real devices."""

    step_s: int
    t0: datetime | None = None
    length: timedelta | None = None
    """In run time; None: it has no end."""
    speed: float = 1.0
    """Run seconds per machine second."""
    simulated: bool = True
    lead_s: float = 0.0
    """Machine time from the announcement to ``t0``, for participants to get ready in."""
    wall0: datetime | None = None
    """The machine's time at ``t0``, so that several runs have one time; None: ``lead_s`` after the announcement."""

    def fits(self, time_base: Run) -> bool:
        """Whether it is one that this clock could have opened."""
        length = None if time_base.t_end is None else time_base.t_end - time_base.t0
        ordered = (self.step_s, self.simulated, self.length)
        if (time_base.step_s, time_base.simulated, length) != ordered:
            return False
        # It may have been slowed down since.
        if time_base.speed is None or time_base.speed > self.speed:
            return False
        if self.wall0 not in (None, time_base.wall0):
            return False
        return time_base.mode is TimeMode.WALL and self.t0 in (None, time_base.t0)


class WallClock:
    """Opens the run, or resumes the one that it kept or finds retained and open, and ends it at its end.

    It is driven by `runtime.wall.drive`. When it dies the run goes on without it: all others know the time by
    themselves. When it is stopped it ends a simulated run (``end_when_stopped``); a real site's goes on.
    ``store`` keeps the run, so that it is resumed also when the broker has forgotten it. ``clock``: the clock that it
    is driven by, to notice when the machine's clock is set (`runtime.steady_clock`). It then announces the run again,
    so that whoever joins begins no earlier than now; a simulated run with a time base in the machine's new time.

    A simulated run that is faster than real time may be too fast for its machine. ``when_late`` says what happens then:
    the clock announces the same run again with half its speed (``t0`` stays, ``wall0`` moves, so that time goes on from
    where it is), ends it, or lets it go on.
    """

    def __init__(
        self,
        site: str,
        transport: Transport,
        time: WallTime,
        *,
        run: RunId,
        boot: BootId,
        device: str = "clock",
        resume: bool = True,
        end_when_stopped: bool | None = None,
        store: Store | None = None,
        when_late: WhenLate = WhenLate.GO_ON,
        clock: SteadyClock | None = None,
    ) -> None:
        """``run``: identifier of the run that it opens if it does not resume one; ``boot``: new for every process.

        Raises LocalStateError for a store that holds no run.
        """
        self._transport = transport
        self._time = time
        self._run = run
        self._resume = resume
        self._end_when_stopped = time.simulated if end_when_stopped is None else end_when_stopped
        self._life = Life(boot)
        self._birth = Topic(site, Kind.CLOCK, device, Channel.BIRTH)
        self._state = Topic(site, Kind.CLOCK, device, Channel.STATE)
        self._topic = Topic(site, Kind.CLOCK, device, Channel.RUN)
        self._alarm = Topic(site, Kind.CLOCK, device, Channel.ALARM)
        self._metric = Topic(site, Kind.CLOCK, device, Channel.METRIC)
        self._beaten: datetime | None = None
        self._clock = clock
        self._store = store or NoStore()
        self._found = _kept(self._store)
        self._time_base: Run | None = None
        """In terms of the clock that this one is driven by."""
        self._shift = timedelta()
        """How far the machine's clock is ahead of that, in a simulated run."""
        self._started: datetime | None = None
        self._said_goodbye = False
        self._when_late = when_late
        self._watch: LatenessWatch | None = None
        if time.simulated and time.speed > 1 and when_late is not WhenLate.GO_ON:
            self._watch = LatenessWatch(timedelta(seconds=time.step_s))
        self.stopped_for: str | None = None
        """Why the run was ended before its end; None: it was not, or by whoever stopped the clock."""
        self.rejected = 0
        self._dropped = DroppedWatch()

    @property
    def run(self) -> RunId | None:
        """Identifier of the run that it opened or resumed."""
        return self._life.run

    @property
    def time_base(self) -> Run | None:
        return self._time_base

    @property
    def finished(self) -> bool:
        return self._time_base is not None and self._time_base.ended is not None

    def start(self, now: datetime) -> None:
        """Raises BrokerUnreachableError."""
        self._started = now
        offline = Outgoing(self._state, State(state=Presence.OFFLINE, reason="connection lost"))
        will = Will(str(self._state), self._life.encode_unnumbered(offline, now))
        wanted = [str(self._topic), str(self._state), BROKER_DROPPED]
        if self._watch is not None:
            site = self._topic.site
            wanted += [topic_filter(site, channel=channel) for channel in (Channel.SETPOINT, Channel.ACK)]
        self._transport.connect(tuple(wanted), will)

    def handle(self, delivery: Delivery, now: datetime) -> None:
        """Takes in the retained run of a clock before it, and its own last will."""
        self._transport.acknowledge(delivery)
        if delivery.topic == BROKER_DROPPED:
            self._dropped.hear(delivery.payload)
            return
        try:
            stamp, body = decode(Topic.parse(delivery.topic), delivery.payload)
        except RemoteMessageError:
            self.rejected += 1  # the recorder keeps it as a dead letter; an empty one deletes what is retained
            return
        if isinstance(body, Setpoint | Ack):
            if self._watch is not None and stamp.run == self._life.run:
                self._watch.hear(Received(Topic.parse(delivery.topic), stamp, body))
        elif isinstance(body, Run):
            if self._found is None and body.ended is None and stamp.run is not None and self._time.fits(body):
                # What was decoded carries its old stamp, too, which must not be sent again.
                self._found = (stamp.run, Run(**{name: getattr(body, name) for name in Run.model_fields}))
        elif isinstance(body, State) and stamp.boot == self._life.boot and body.state is Presence.OFFLINE:
            self._send([Outgoing(self._state, State(state=Presence.ONLINE))], now)  # the connection broke, not I

    def run_due(self, now: datetime) -> datetime | None:
        """Opens the run when that is due, ends it at its end. Returns the machine time of the next of these.

        Raises RunFailedError for a run that was to begin before now.
        """
        if self._time_base is None:
            assert self._started is not None
            settled = self._started + timedelta(seconds=SETTLE_S if self._resume else 0.0)
            if not (self._resume and self._found) and now < settled:
                return settled
            self._open(now)
        assert self._time_base is not None
        now = self._look_at_the_clock(self._time_base, now)
        time_base = self._time_base
        if time_base.ended is not None:
            return None
        if time_base.t_end is not None and time_base.time_at(now) >= time_base.t_end:
            self.end(now)
            return None
        if (alarm := self._dropped.look(now)) is not None:
            LOG.warning("%s", alarm.text)
            self._send([Outgoing(self._alarm, alarm)], now)
        looks = [now + timedelta(seconds=WATCH_S)] if self._keeps_pace(time_base, now) else []
        time_base = self._time_base
        assert time_base is not None
        if time_base.ended is not None:
            return None
        ends = [] if time_base.t_end is None else [time_base.machine_time_at(time_base.t_end)]
        return min([*ends, *looks, self._beat(time_base, now)])

    def _beat(self, time_base: Run, now: datetime) -> datetime:
        """The heartbeat, for others to see that the clock is there. Returns when the next one is due."""
        period = timedelta(seconds=HEARTBEAT_S)
        if self._beaten is None:
            self._beaten = now  # birth and state have just been sent
        if now - self._beaten >= period and time_base.time_at(now) >= time_base.t0:
            self._beaten = now
            values = {"rejected": float(self.rejected)}
            if self._dropped.count is not None:
                values["broker_dropped"] = float(self._dropped.count)
            self._send([Outgoing(self._metric, Metric(values=values))], now)
        return self._beaten + period

    def _keeps_pace(self, time_base: Run, now: datetime) -> bool:
        """Acts when set-points come too late. Returns whether to look again."""
        if self._watch is None or time_base.pace <= 1 or time_base.time_at(now) < time_base.t0:
            return self._watch is not None and time_base.pace > 1
        share = self._watch.share(time_base.time_at(now), now)
        if share is None or share <= TOO_LATE_FRAC:
            return True
        reason = too_fast(share, time_base.pace)
        if self._when_late is WhenLate.STOP:
            self.stopped_for = reason
            self.end(now)
            return False
        speed = slower(time_base.pace)
        LOG.warning("%s; the run goes on at %g times", reason, speed)
        self._watch.slowed()
        self._time_base = time_base.at_speed(speed, now)
        self._keep()
        self._send([Outgoing(self._topic, self._announced)], now)
        return speed > 1

    def _look_at_the_clock(self, time_base: Run, now: datetime) -> datetime:
        """Announces the run again when the machine's clock was set. Returns the time that holds."""
        if self._clock is None or time_base.ended is not None:
            return now
        apart = self._clock.step()
        follows = not time_base.simulated and self._clock.is_to_follow
        if apart is None and not follows:
            return now
        if follows:
            self._clock.take_the_machines()
            apart = timedelta()
        elif time_base.simulated and apart is not None:
            self._shift = apart if abs(apart.total_seconds()) > STEP_S else timedelta()
            self._keep()
        now = self._clock.now()
        self._send([Outgoing(self._alarm, stepped(apart or timedelta())), Outgoing(self._topic, self._announced)], now)
        return now

    @property
    def _announced(self) -> Run:
        """The run in terms of the machine's clock, as whoever joins reads it."""
        assert self._time_base is not None
        return self._time_base.moved(self._shift)

    def _keep(self) -> None:
        assert self._time_base is not None
        self._store.save({"run": self._life.run, "body": self._announced.model_dump(mode="json")})

    def _open(self, now: datetime) -> None:
        if self._resume and self._found is not None:
            self._life.run, self._time_base = self._found
        else:
            wall0 = self._time.wall0 or now + timedelta(seconds=self._time.lead_s)
            if wall0 < now:
                late_s = (now - wall0).total_seconds()
                what = f"the run was to begin at {wall0.isoformat()}, and its clock was ready {late_s:.1f} s after that"
                raise RunFailedError(f"{what}: give a later start")
            t0 = wall0 if self._time.t0 is None else self._time.t0
            self._life.run = self._run
            self._time_base = Run(
                mode=TimeMode.WALL,
                step_s=self._time.step_s,
                t0=t0,
                t_end=None if self._time.length is None else t0 + self._time.length,
                wall0=wall0,
                speed=self._time.speed,
                simulated=self._time.simulated,
            )
        self._keep()
        birth = Birth(
            nameplate=ServiceNameplate(), time_modes=(TimeMode.WALL,), software=software(), heartbeat_s=HEARTBEAT_S
        )
        self._send(
            [
                Outgoing(self._birth, birth),
                Outgoing(self._state, State(state=Presence.ONLINE)),
                Outgoing(self._topic, self._announced),
            ],
            now,
        )

    def end(self, now: datetime) -> None:
        """Ends the run now, at its end or before. Without effect when it is over."""
        if self._time_base is not None and self._time_base.ended is None:
            self._time_base = self._time_base.model_copy(update={"ended": now})
            self._send([Outgoing(self._topic, self._announced)], now)

    def finish(self, now: datetime) -> None:
        if self._end_when_stopped:
            self.end(now)
        self._part(Presence.OFFLINE, None, now)

    def fail(self, reason: str, now: datetime) -> None:
        """Leaves state fault and why; the run goes on, for a restarted clock to resume."""
        try:
            self._part(Presence.FAULT, reason, now)
        except BrokerUnreachableError:
            return  # nobody is there to be told; the error that brought us here is raised to our caller

    def step_aside(self) -> None:
        """Another process of this name announces the run: nothing is to be said."""

    def _part(self, state: Presence, reason: str | None, now: datetime) -> None:
        if self._time_base is not None and not self._said_goodbye:
            self._said_goodbye = True
            self._send([Outgoing(self._state, State(state=state, reason=reason))], now)
            self._transport.flush(GOODBYE_S)

    def _send(self, outgoing: list[Outgoing], now: datetime) -> None:
        ts = now if self._time_base is None else self._time_base.time_at(now)
        for message in outgoing:
            payload = self._life.encode(message, ts)
            self._transport.publish(str(message.topic), payload, retain=message.topic.retained)


def _kept(store: Store) -> tuple[RunId, Run] | None:
    saved = store.load()
    if saved is None:
        return None
    try:
        return saved["run"], Run.model_validate_json(json.dumps(saved["body"]))
    except (KeyError, TypeError, ValueError) as error:
        raise LocalStateError(f"the clock's checkpoint holds no run: {error}") from None
