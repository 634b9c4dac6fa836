"""A participant's process: one connection, and the run loop that the site's run asks for."""

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from broker.transport import Transport, Will
from runtime.checkpoint import CheckpointStore
from runtime.drive import drive, last_words
from runtime.keep import Kept, NothingKept
from runtime.life import Life
from runtime.lockstep import Member
from runtime.log_context import RUN
from runtime.patience import StandBy, connected, room
from runtime.pump import Pump
from runtime.steady_clock import SteadyClock, elapsed_s
from runtime.wall import GOODBYE_S, WallLoop
from schemas.errors import BrokerAwayError, DiskFullError, IdentityTakenError, TwinswarmError
from schemas.messages import Presence, Run, RunId, State
from schemas.participant import Outgoing, Participant, greatest_registers, own_inbox, own_topic
from schemas.topics import Channel, Topic

LOG = logging.getLogger(__name__)

_LOOK_S = 0.25
"""How often a silent process looks whether it is to stop."""


def new_boot() -> str:
    """The name of a life."""
    return secrets.token_hex(6)


@dataclass(frozen=True)
class Host:
    """Serves a participant. The two time modes keep their checkpoints apart.

    ``transport`` makes a connection of the participant's client identifier. Given True, the broker is to keep the
    subscriptions and the messages while the participant is away. A participant with a durable inbox of its own, the
    recorder, connects in this way in every time mode, and before the mode is known: one clean connection would make
    the broker forget all that it keeps. Only the end of a lock-step run ends that promise (`_leave_the_broker`).

    ``once``: to end with the run that it took part in. ``zone``: of the site's midnights. ``now``: the machine's
    clock. ``elapsed``: seconds by a clock that nobody sets. ``kept``: where what is sent in wall time stays until the
    recorder has it; closed at the end.
    """

    make: Callable[[], Participant]
    transport: Callable[[bool], Transport]
    lockstep_store: CheckpointStore
    wall_store: CheckpointStore
    zone: tzinfo
    stop: threading.Event
    now: Callable[[], datetime]
    once: bool = False
    elapsed: Callable[[], float] = elapsed_s
    kept: Kept = field(default_factory=NothingKept)

    def serve(self) -> None:
        """Serves run after run, each in its time mode, until it is stopped.

        Waits for a broker that is away, unless ``once``, for the connection while another process of this name keeps it
        (`broker.rivalry`), and for room on a disk that takes no more: by then the state is ``fault`` and says why.
        Raises BrokerUnreachableError, and LocalStateError when this participant must not go on.
        """
        registers: dict[str, float] = {}
        stand_by = StandBy()
        with closing(self.kept):
            while not self.stop.is_set():
                began = self.elapsed()
                try:
                    found, registers = self._serve_lockstep(self._registers_in(self.wall_store, registers))
                    if found is not None:
                        registers = self._serve_wall(found, self._registers_in(self.lockstep_store, registers))
                except DiskFullError as error:
                    LOG.warning("%s", error)
                    room(error.folder, self.stop)
                    continue
                except IdentityTakenError:
                    if self.once:
                        raise
                    stand_by.until_free(lambda: self.transport(self._is_durable), self.stop, self.elapsed() - began)
                    continue
                except BrokerAwayError as error:
                    if self.once:
                        raise
                    LOG.warning("%s", error)
                    continue
                if self.once:
                    return

    @property
    def _is_durable(self) -> bool:
        return own_inbox(self.make()) is not None

    @staticmethod
    def _registers_in(store: CheckpointStore, known: Mapping[str, float]) -> dict[str, float]:
        """The registers that outlive a life, by the other time mode's checkpoint and by what this process knows."""
        return greatest_registers(known, (store.load() or {}).get("registers", {}))

    def _serve_wall(self, found: tuple[RunId, Run], registers: Mapping[str, float]) -> dict[str, float]:
        """Takes part in the run that was found. Returns the registers that outlive this life."""
        RUN.set(found[0])
        participant = self.make()
        transport = self.transport(own_inbox(participant) is not None)
        clock = SteadyClock(self.now, self.elapsed)
        loop = WallLoop(
            participant,
            transport,
            self.wall_store,
            new_boot=new_boot,
            zone=self.zone,
            once=True,
            registers=registers,
            clock=clock,
            found=found,
            kept=self.kept,
        )
        drive(loop, transport, self.stop, clock.now)
        return loop.registers

    def _serve_lockstep(self, registers: Mapping[str, float]) -> tuple[tuple[RunId, Run] | None, dict[str, float]]:
        """Looks for a run, and takes part in it if it is in lock-step.

        Returns the site's run if it is in wall time, and the registers that outlive this life.
        """
        durable = self._is_durable
        transport = self.transport(durable)
        kept = self.wall_store.load()
        unfinished = None if kept is None or "life" not in kept else kept["life"]["run"]
        member = Member(self.make, self.lockstep_store, transport.publish, new_boot, registers, unfinished)
        state_topic = own_topic(member.participant, Channel.STATE)

        def show(presence: Presence, reason: str | None = None) -> bytes:
            """Outside every run's counts: number 0."""
            state = Outgoing(state_topic, State(state=presence, reason=reason))
            return member.life.encode_unnumbered(state, member.t or self.now())

        will = Will(str(state_topic), show(Presence.OFFLINE))
        if self.once:
            transport.connect(member.subscriptions, will)
        elif not connected(lambda: transport.connect(member.subscriptions, will), self.stop):
            return None, dict(registers)
        try:
            if member.run is None:
                # Before any run, so that others see who is here. In a run messages arise only from ticks.
                birth_topic = own_topic(member.participant, Channel.BIRTH)
                birth = Life(member.boot).encode(Outgoing(birth_topic, member.participant.birth()), self.now())
                transport.publish(str(birth_topic), birth, retain=True)
                transport.publish(str(state_topic), show(Presence.ONLINE), retain=True)
            pump = Pump(transport, member)
            while not (self.stop.is_set() or member.wall_run is not None or (self.once and member.ended)):
                pump.poll(_LOOK_S)
            if member.wall_run is None:
                transport.publish(str(state_topic), show(Presence.OFFLINE), retain=True)
            transport.flush(GOODBYE_S)
        except IdentityTakenError:
            raise  # the state on the broker is that of who acts
        except Exception as error:
            self._say_why(transport, state_topic, show(Presence.FAULT, last_words(error)))
            raise
        finally:
            transport.close()
        if durable and member.ended and member.wall_run is None:
            self._leave_the_broker()
        return member.wall_run, member.registers

    @staticmethod
    def _say_why(transport: Transport, topic: Topic, fault: bytes) -> None:
        try:
            transport.publish(str(topic), fault, retain=True)
            transport.flush(GOODBYE_S)
        except TwinswarmError as error:
            # Mostly the same error again: the broker is away, or refuses. The first one is raised, which is enough.
            LOG.debug("%s cannot say that it fails: %s", topic.device, error)

    def _leave_the_broker(self) -> None:
        """A lock-step run is over and stored: the broker need not collect what comes after it."""
        transport = self.transport(False)
        transport.connect(())
        transport.close()
