"""A participant's process: one connection, and the run loop that the site's session asks for."""

import secrets
from collections.abc import Callable
from datetime import datetime

from broker.checkpoint import CheckpointStore
from broker.lockstep import Member
from broker.pump import Pump
from broker.transport import Transport, Will
from schemas.messages import Presence, Stamp, State
from schemas.participant import Participant, own_topic
from schemas.topics import Channel
from schemas.wire import encode

_LOOK_S = 0.25
"""How often a silent process looks whether it is to stop."""


def new_boot() -> str:
    return secrets.token_hex(6)


def host(
    make: Callable[[], Participant],
    store: CheckpointStore,
    transport: Transport,
    *,
    once: bool,
    stop: Callable[[], bool],
    now: Callable[[], datetime],
) -> None:
    """Serves until ``stop`` says so, or, with ``once``, until the session that it took part in has ended.

    Raises BrokerUnreachableError, and LocalStateError when this participant must not go on.
    """
    member = Member(make, store, transport.publish, new_boot)
    state_topic = str(own_topic(member.participant, Channel.STATE))

    def state(presence: Presence) -> bytes:
        """Outside every run's counts: seq 0."""
        return encode(Stamp(ts=now(), run=member.run, boot=member.boot, seq=0), State(state=presence))

    transport.connect(member.subscriptions, Will(state_topic, state(Presence.OFFLINE)))
    try:
        if member.run is None:
            # Before any run: so that others see who is here. In a run messages arise only from ticks.
            birth = encode(Stamp(ts=now(), boot=member.boot, seq=1), member.participant.birth())
            transport.publish(str(own_topic(member.participant, Channel.BIRTH)), birth, retain=True)
            transport.publish(state_topic, state(Presence.ONLINE), retain=True)
        pump = Pump(transport, member)
        while not stop() and not (once and member.ended):
            pump.poll(_LOOK_S)
        transport.publish(state_topic, state(Presence.OFFLINE), retain=True)
        transport.flush(2.0)
    finally:
        transport.close()
