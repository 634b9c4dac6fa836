"""The clock in lock-step: opens phases, collects answers, repeats itself when there is silence.

The rules of the clock, numbered as in `runtime.lockstep`:

 1. A day is the course of `schemas.cycle.Course`.
 2. A tick tells what everyone announced in this cycle, in the phases before this one.
 3. It moves on when the whole roster has answered with the rostered boot; the roll call also needs everyone required.
 4. A new phase, silence, a changed roster and the clock's own restart are one action: count the attempt, checkpoint,
    publish.
 5. A birth of an unknown identifier joins at the roll call or the next sense; one of a rostered identifier changes
    nothing.
 6. A birth or done of the rostered boot is a sign of life.
 7. After so many silent attempts the policy applies to each silent member, whether or not it had answered this phase.
 8. A joiner that never answered is forgotten. EMS, network twin and recorder are never dropped, only awaited or fatal;
    forecast and tariff may be dropped after the roll call.
 9. Dropping takes the member's announcements and answer with it; the interval is reported.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime

from broker.transport import Send
from schemas.cycle import Course
from schemas.errors import Code, LocalStateError, RunFailedError
from schemas.messages import Announcement, Birth, Body, Done, Phase, Run, Stamp, Tick, TimeMode
from schemas.participant import Json
from schemas.site import NETWORK, SERVICES, OnSilence, TimeOptions
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.clock.store import Store

CLOCK = "clock"
ANSWERING_SERVICES = frozenset(SERVICES) - {CLOCK}
NEVER_DROPPED = frozenset({"ems", "recorder", NETWORK})
_GATHER_S = 0.05
"""Births come in a swarm; the tick that admits them waits so long for the next one."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A member that stopped answering. Its part of this cycle is lost, and all until it comes back."""

    device: str
    n: int
    phase: Phase
    t: datetime


@dataclass
class _Progress:
    """The state that a restart of the clock needs."""

    boot: str
    n: int = 0
    phase: Phase = Phase.ROLLCALL
    attempt: int = 0
    roster: dict[str, str] = field(default_factory=dict)
    announced: dict[str, list[Announcement]] = field(default_factory=dict)
    proven: list[str] = field(default_factory=list)
    """Members that have answered once: only they are dropped, the others are forgotten."""
    dropped: list[Dropped] = field(default_factory=list)

    @classmethod
    def restored(cls, state: Json) -> "_Progress":
        dropped = [
            Dropped(d["device"], d["n"], Phase(d["phase"]), datetime.fromisoformat(d["t"])) for d in state["dropped"]
        ]
        announced = {device: [(t, a, b) for t, a, b in items] for device, items in state["announced"].items()}
        return cls(**(state | {"phase": Phase(state["phase"]), "announced": announced, "dropped": dropped}))

    def snapshot(self) -> Json:
        dropped = [{**asdict(item), "t": item.t.isoformat()} for item in self.dropped]
        return {**asdict(self), "dropped": dropped}


class LockstepClock:
    """Pure but for ``send``, ``store`` and ``utc``: it is told messages and the time of a monotonic clock [s].

    Attributes: ``due`` when `on_time` is to be called next; ``finished`` once the last commit was answered.
    """

    def __init__(
        self,
        site: str,
        course: Course,
        run: str,
        boot: str,
        time_base: Run,
        required: Iterable[str],
        options: TimeOptions,
        store: Store,
        send: Send,
        utc: Callable[[], datetime],
    ) -> None:
        self._site, self._course, self.run, self._time_base, self._utc = site, course, run, time_base, utc
        self._required = frozenset(required)
        self._options, self._store, self._send = options, store, send
        self._answers: dict[str, list[Announcement]] = {}
        self._joiners: dict[str, str] = {}
        self._heard: set[str] = set()
        self._silent: dict[str, int] = {}
        self.repeated = 0
        self.finished = False
        self.due = 0.0
        self._rollcall_until: float | None = None
        saved = store.load()
        if saved is not None and saved["run"] != run:
            raise LocalStateError(f"the clock's checkpoint is of run {saved['run']}, not of {run}")
        self._at = _Progress(boot) if saved is None else _Progress.restored(saved["progress"])

    # -- what others may look at

    @property
    def n(self) -> int:
        return self._at.n

    @property
    def phase(self) -> Phase:
        return self._at.phase

    @property
    def time(self) -> datetime:
        return self._course.time(self._at.n)

    @property
    def roster(self) -> dict[str, str]:
        return dict(self._at.roster)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        return tuple(self._at.dropped)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Members that owe the answer to this phase, and required ones that are not there."""
        absent = self._required - set(self._at.roster) if self._at.phase is Phase.ROLLCALL else frozenset()
        return tuple(sorted((set(self._at.roster) - set(self._answers)) | absent))

    # -- events

    def start(self, now: float) -> None:
        """Begins, or goes on after a restart: one more attempt of the phase it was in."""
        self._tick(now)

    def on_message(self, topic: Topic, stamp: Stamp, body: Body, now: float) -> None:
        if stamp.run != self.run or self.finished:
            return
        if isinstance(body, Birth):
            self._on_birth(topic.device, stamp.boot, now)
        elif isinstance(body, Done):
            self._on_done(topic.device, stamp.boot, body, now)

    def on_time(self, now: float) -> None:
        """To be called when ``due`` has come. Raises RunFailedError when somebody needed stays silent."""
        if self.finished or now < self.due:
            return
        if self._admit_at_rollcall():
            self._tick(now)
            return
        self.repeated += 1
        self._count_silence()
        if self._at.phase is Phase.ROLLCALL and self._rollcall_until is not None and now >= self._rollcall_until:
            raise RunFailedError(
                f"roll call: no answer from {', '.join(self.waiting_for)} "
                f"within {self._options.rollcall_timeout_s:g} s",
                code=Code.NO_ANSWER,
            )
        self._move_or_repeat(now)

    def _on_birth(self, device: str, boot: str, now: float) -> None:
        rostered = self._at.roster.get(device)
        if rostered is None:
            self._joiners[device] = boot
            if self._at.phase is Phase.ROLLCALL:
                self.due = min(self.due, now + _GATHER_S)
        elif rostered == boot:
            self._heard.add(device)

    def _on_done(self, device: str, boot: str, done: Done, now: float) -> None:
        if self._at.roster.get(device) != boot:
            return
        self._heard.add(device)
        if (done.n, done.phase) != (self._at.n, self._at.phase):
            return
        self._answers[device] = list(done.announced)
        if device not in self._at.proven:
            self._at.proven.append(device)
        if self._complete():
            self._advance(now)

    # -- moving on

    def _complete(self) -> bool:
        at = self._at
        if at.phase is Phase.ROLLCALL and (self._joiners or not self._required <= set(at.roster)):
            return False
        return set(at.roster) <= set(self._answers)

    def _advance(self, now: float) -> None:
        at = self._at
        following = self._course.following(at.n, at.phase)
        if following is None:
            self._end()
            return
        at.announced.update(self._answers)
        self._answers = {}
        if following[0] != at.n:
            at.announced = {}
        at.n, at.phase, at.attempt = *following, 0
        if at.phase is Phase.SENSE:
            self._admit()
        self._tick(now)

    def _admit(self) -> bool:
        """Rule 5."""
        admitted = bool(self._joiners)
        self._at.roster.update(self._joiners)
        self._silent.update(dict.fromkeys(self._joiners, 0))
        self._joiners = {}
        return admitted

    def _admit_at_rollcall(self) -> bool:
        return self._at.phase is Phase.ROLLCALL and self._admit()

    def _tick(self, now: float) -> None:
        """Rule 4."""
        at = self._at
        at.attempt += 1
        self._heard = set()
        self._store.save({"run": self.run, "progress": at.snapshot()})
        if at.n == 0:
            self._publish_run()
            if self._rollcall_until is None:
                self._rollcall_until = now + self._options.rollcall_timeout_s
        tick = Tick(
            n=at.n,
            phase=at.phase,
            t=self.time,
            attempt=at.attempt,
            t0=self._course.t0,
            t_end=self._course.t_end,
            step_s=self._course.step_s,
            roster=at.roster,
            announced={device: tuple(items) for device, items in self._announced().items()},
        )
        seq = (at.n * len(Phase) + at.phase.order) * 1_000_000 + at.attempt
        self._publish(Channel.TICK, seq, tick, retain=False)
        self.due = now + self._options.tick_timeout_s

    def _announced(self) -> dict[str, list[Announcement]]:
        """What was announced in the phases before this one; by the clock itself its message about the run."""
        time_base = [(str(self._topic(Channel.RUN)), 1, 1)] if self._at.n == 0 else []
        return {**self._at.announced, **({CLOCK: time_base} if time_base else {})}

    def _publish_run(self) -> None:
        self._publish(Channel.RUN, 1, self._time_base, retain=True)

    def _end(self) -> None:
        self.finished = True
        ended = self._time_base.model_copy(update={"ended": self._utc()})
        self._publish(Channel.RUN, 2, ended, retain=True)

    def abandon(self) -> None:
        """Ends a run that failed, so that nobody goes on waiting for it."""
        if not self.finished:
            self._end()

    # -- silence

    def _count_silence(self) -> None:
        """Rules 6 to 9."""
        for device in list(self._at.roster):
            self._silent[device] = 0 if device in self._heard else self._silent.get(device, 0) + 1
            if self._silent[device] >= self._options.silent_attempts:
                self._on_silence(device)

    def _on_silence(self, device: str) -> None:
        at = self._at
        if device not in at.proven:
            self._remove(device)
            return
        policy = self._options.on_silence
        core = device in NEVER_DROPPED or (device in ANSWERING_SERVICES and at.n == 0)
        if policy is OnSilence.AWAIT:
            return
        if policy is OnSilence.FATAL or core:
            raise RunFailedError(
                f"{device} has not answered {self._silent[device]} ticks of cycle {at.n} {at.phase} at {self.time}",
                code=Code.NO_ANSWER,
            )
        at.dropped.append(Dropped(device, at.n, at.phase, self.time))
        self._remove(device)

    def _remove(self, device: str) -> None:
        for table in (self._at.roster, self._at.announced, self._answers, self._silent):
            table.pop(device, None)
        if device in self._at.proven:
            self._at.proven.remove(device)

    def _move_or_repeat(self, now: float) -> None:
        """A drop may have left nobody to wait for."""
        if self._at.roster and self._complete():
            self._advance(now)
        else:
            self._tick(now)

    # -- messages out

    def _topic(self, channel: Channel) -> Topic:
        return Topic(self._site, Kind.CLOCK, CLOCK, channel)

    def _publish(self, channel: Channel, seq: int, body: Body, *, retain: bool) -> None:
        stamp = Stamp(ts=self.time, run=self.run, boot=self._at.boot, seq=seq)
        self._send(str(self._topic(channel)), encode(stamp, body), retain=retain)


def lockstep_run(course: Course, wall0: datetime) -> Run:
    """The clock's message about a lock-step run that began at machine time ``wall0``."""
    return Run(mode=TimeMode.LOCKSTEP, step_s=course.step_s, t0=course.t0, t_end=course.t_end, wall0=wall0)
