"""Drives the product's clock and members over the chaos bus, in virtual time, until the run ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runtime.checkpoint import CheckpointStore, NoCheckpoint
from runtime.lockstep import Member
from runtime.pump import ClockPump, Pump
from schemas.cycle import Course
from schemas.participant import Participant
from schemas.site import TimeOptions
from services.clock.lockstep import LockstepClock, lockstep_run
from tests.lockstep.bus import ChaosBus, ChaosTransport, Killed, MortalCheckpoint

RUN = "20240517T000000.000000Z-0001"


@dataclass
class Process:
    """A member in a process that can die and be started again with the checkpoint that it left."""

    name: str
    make: Callable[[], Participant]
    store: CheckpointStore
    starts_at: float = 0.0
    restarts: bool = True
    transport: ChaosTransport | None = None
    pump: Pump | None = None
    member: Member | None = None
    deaths: int = 0


@dataclass
class Attack:
    """One run under attack. ``stop_after_s`` is virtual: no progress until then is a deadlock."""

    site: str
    course: Course
    bus: ChaosBus
    options: TimeOptions
    required: frozenset[str]
    stop_after_s: float = 3_000.0
    boot_prefix: str = "boot"
    processes: list[Process] = field(default_factory=list)
    clock: LockstepClock | None = None
    clock_deaths: int = 0
    _boots: int = 0

    def leave_lying_around(self, messages: Sequence[tuple[str, bytes, bool]]) -> None:
        """Leftovers of an earlier run: what is retained stays, the rest arrives at any time, as if it were late."""
        for topic, payload, retain in messages:
            if retain:
                self.bus.retained[topic] = payload
            self.bus.publish_at(self.bus.random.uniform(0.0, 30.0), topic, payload)

    def add(
        self, name: str, make: Callable[[], Participant], *, starts_at: float = 0.0, checkpoint: bool = True
    ) -> None:
        store = MortalCheckpoint(self.bus) if checkpoint else NoCheckpoint()
        self.processes.append(Process(name, make, store, starts_at))

    def _new_boot(self) -> str:
        self._boots += 1
        return f"{self.boot_prefix}{self._boots}"

    def run(self) -> LockstepClock:
        """Returns the clock once the run has ended. Raises AssertionError on a deadlock."""
        self._clock_store = MortalCheckpoint(self.bus)
        self._clock_transport: ChaosTransport | None = None
        self._clock_pump: ClockPump | None = None
        self._clock_starts_at = 0.0
        while not (self.clock is not None and self.clock.finished):
            self._start_due()
            at = self._next_event()
            assert at <= self.stop_after_s, (
                f"deadlock: cycle {self.clock.n} {self.clock.phase}, waiting for {self.clock.waiting_for}"
                if self.clock
                else "the clock never started"
            )
            self.bus.now = max(self.bus.now, at)
            self.bus.release_strays()
            following = self.bus.next_at()
            if following is not None and following <= self.bus.now:
                self._deliver(self.bus.deliver_next())
            if self.clock is not None and self.clock.due <= self.bus.now:
                self._clock_does(self.clock.on_time)
        return self.clock

    def _next_event(self) -> float:
        times = [process.starts_at for process in self.processes if process.member is None]
        if self.clock is None:
            times.append(self._clock_starts_at)
        else:
            times.append(self.clock.due)
        following = self.bus.next_at()
        if following is not None:
            times.append(following)
        times += self.bus.stray_times()
        return min(times)

    # -- processes

    def _start_due(self) -> None:
        if self.clock is None and self._clock_starts_at <= self.bus.now:
            self._start_clock()
        for process in self.processes:
            if process.member is None and process.starts_at <= self.bus.now:
                self._start(process)

    def _start(self, process: Process) -> None:
        transport = ChaosTransport(self.bus)
        process.transport = transport
        try:
            process.member = Member(process.make, process.store, transport.publish, self._new_boot)
            process.pump = Pump(transport, process.member)
            transport.connect(process.member.subscriptions)
        except Killed:
            self._bury(process)

    def _bury(self, process: Process) -> None:
        assert process.transport is not None
        process.transport.close()
        process.member = process.pump = process.transport = None
        process.deaths += 1
        process.starts_at = self.bus.now + self.bus.random.uniform(0.0, 3.0) if process.restarts else float("inf")

    def _deliver(self, transport: ChaosTransport) -> None:
        if transport is self._clock_transport:
            self._clock_receives(transport)
            return
        process = next((p for p in self.processes if p.transport is transport), None)
        if process is None or process.pump is None:
            return
        try:
            while process.pump.poll(0.0):
                pass
        except Killed:
            self._bury(process)

    # -- the clock

    def _start_clock(self) -> None:
        transport = ChaosTransport(self.bus)
        self._clock_transport = transport
        clock = LockstepClock(
            self.site,
            self.course,
            RUN,
            self._new_boot(),
            lockstep_run(self.course, datetime(2026, 1, 1, tzinfo=UTC)),
            self.required,
            self.options,
            self._clock_store,
            transport.publish,
            lambda: datetime(2026, 1, 1, tzinfo=UTC),
        )
        self.clock = clock
        self._clock_pump = ClockPump(transport, clock, lambda: self.bus.now)
        transport.connect(ClockPump.subscriptions(self.site))
        self._clock_does(clock.start)

    def _clock_does(self, what: Callable[[float], None]) -> None:
        try:
            what(self.bus.now)
        except Killed:
            self._bury_clock()

    def _bury_clock(self) -> None:
        assert self._clock_transport is not None
        self._clock_transport.close()
        self._clock_transport = None
        self.clock = self._clock_pump = None
        self.clock_deaths += 1
        self._clock_starts_at = self.bus.now + self.bus.random.uniform(0.0, 3.0)

    def _clock_receives(self, transport: ChaosTransport) -> None:
        assert self._clock_pump is not None
        try:
            while transport.queue and self.clock is not None:
                self._clock_pump.poll()
        except Killed:
            self._bury_clock()
