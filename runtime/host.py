"""A participant's process: one connection, and the run loop that the site's session asks for."""

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from broker.transport import Transport, Will
from runtime.checkpoint import CheckpointStore
from runtime.lockstep import Member
from runtime.pump import Pump
from runtime.wall import WallLoop, drive
from schemas.messages import Presence, Stamp, State, TimeMode
from schemas.participant import Participant, greatest_registers, own_topic
from schemas.topics import Channel
from schemas.wire import encode

_LOOK_S = 0.25
"""How often a silent process looks whether it is to stop."""


def new_boot() -> str:
    """The name of a life."""
    return secrets.token_hex(6)


@dataclass(frozen=True)
class Host:
    """Serves a participant. ``transport`` makes a connection for a time mode: only in wall time is there a reason for
    the broker to keep a session while its owner is away; in lock-step silence makes everybody repeat. The two modes
    keep their checkpoints apart.

    ``once``: to end with the session that it took part in. ``zone``: of the site's midnights.
    """

    make: Callable[[], Participant]
    transport: Callable[[TimeMode], Transport]
    lockstep_store: CheckpointStore
    wall_store: CheckpointStore
    zone: tzinfo
    stop: threading.Event
    now: Callable[[], datetime]
    once: bool = False

    def serve(self) -> None:
        """Serves session after session, each in its time mode, until it is stopped.

        Raises BrokerUnreachableError, and LocalStateError when this participant must not go on.
        """
        registers: dict[str, float] = {}
        while not self.stop.is_set():
            wall, registers = self._serve_lockstep(self._registers_in(self.wall_store, registers))
            if wall:
                registers = self._serve_wall(self._registers_in(self.lockstep_store, registers))
            if self.once:
                return

    @staticmethod
    def _registers_in(store: CheckpointStore, known: Mapping[str, float]) -> dict[str, float]:
        """The registers that outlive a life, by the other time mode's checkpoint and by what this process knows."""
        return greatest_registers(known, (store.load() or {}).get("registers", {}))

    def _serve_wall(self, registers: Mapping[str, float]) -> dict[str, float]:
        transport = self.transport(TimeMode.WALL)
        loop = WallLoop(
            self.make(),
            transport,
            self.wall_store,
            new_boot=new_boot,
            zone=self.zone,
            once=True,
            registers=registers,
        )
        drive(loop, transport, self.stop, self.now)
        return loop.registers

    def _serve_lockstep(self, registers: Mapping[str, float]) -> tuple[bool, dict[str, float]]:
        """Returns whether it ended because the live session is in wall time, and the registers that outlive it."""
        transport = self.transport(TimeMode.LOCKSTEP)
        member = Member(self.make, self.lockstep_store, transport.publish, new_boot, registers)
        state_topic = str(own_topic(member.participant, Channel.STATE))

        def show(presence: Presence) -> bytes:
            """Outside every run's counts: seq 0."""
            return encode(Stamp(ts=self.now(), run=member.run, boot=member.boot, seq=0), State(state=presence))

        transport.connect(member.subscriptions, Will(state_topic, show(Presence.OFFLINE)))
        try:
            if member.run is None:
                # Before any run, so that others see who is here. In a run messages arise only from ticks.
                birth = encode(Stamp(ts=self.now(), boot=member.boot, seq=1), member.participant.birth())
                transport.publish(str(own_topic(member.participant, Channel.BIRTH)), birth, retain=True)
                transport.publish(state_topic, show(Presence.ONLINE), retain=True)
            pump = Pump(transport, member)
            while not (self.stop.is_set() or member.wall_session_seen or (self.once and member.ended)):
                pump.poll(_LOOK_S)
            if not member.wall_session_seen:
                transport.publish(state_topic, show(Presence.OFFLINE), retain=True)
            transport.flush(2.0)
        finally:
            transport.close()
        return member.wall_session_seen, member.registers
