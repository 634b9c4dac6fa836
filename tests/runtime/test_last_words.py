"""An error that ends a participant stands on the broker as its state, in either time mode."""

import threading
from datetime import timedelta

import pytest

from broker.memory import MemoryBroker, MemoryTransport
from runtime.checkpoint import MemoryCheckpoint
from runtime.host import Host
from schemas.messages import Birth, Body, Phase, Presence, Run, Stamp, State, Tick, TimeMode
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode, encode
from tests.runtime.probe import RUN1, SESSION_TOPIC, SITE, T0, WALL0, Probe, machine, session

STATE = Topic(SITE, Kind.METER, "probe", Channel.STATE)


class Breaks(Probe):
    """Shows itself once, before a run."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = False

    def birth(self) -> Birth:
        if self._shown:
            raise ValueError("no more births")
        self._shown = True
        return super().birth()


def fault_of(host: Host, broker: MemoryBroker) -> State:
    """The state that is retained after the host has failed."""
    with pytest.raises(ValueError, match="no more births"):
        host.serve()
    ear = MemoryTransport(broker, "ear")
    ear.connect([str(STATE)])
    delivery = ear.receive(0.0)
    assert delivery is not None
    body = decode(STATE, delivery.payload)[1]
    assert isinstance(body, State)
    return body


@pytest.mark.parametrize("mode", TimeMode)
def test_an_error_is_the_state_fault_with_its_reason(mode: TimeMode) -> None:
    broker = MemoryBroker()
    clock = MemoryTransport(broker, "clock")
    clock.connect([])

    def publish(channel: Channel, body: Body) -> None:
        topic = Topic(SITE, Kind.CLOCK, "clock", channel)
        clock.publish(str(topic), encode(Stamp(ts=T0, run=RUN1, boot="clock", seq=1), body), retain=topic.retained)

    if mode is TimeMode.WALL:
        publish(SESSION_TOPIC.channel, session())
    participant = Breaks()
    host = Host(
        make=lambda: participant,
        transport=lambda persistent: Talkative(broker, f"{SITE}_probe", publish, mode),
        lockstep_store=MemoryCheckpoint(),
        wall_store=MemoryCheckpoint(),
        zone=T0.tzinfo,  # type: ignore[arg-type]
        stop=threading.Event(),
        now=lambda: machine(1),
    )
    fault = fault_of(host, broker)
    assert (fault.state, fault.reason) == (Presence.FAULT, "ValueError: no more births")


class Talkative(MemoryTransport):
    """In lock-step the clock ticks as soon as the participant listens: only then is a tick heard."""

    def __init__(self, broker: MemoryBroker, name: str, publish, mode: TimeMode) -> None:  # type: ignore[no-untyped-def]
        super().__init__(broker, name)
        self._publish_as_clock, self._mode = publish, mode

    def connect(self, subscriptions, will=None) -> None:  # type: ignore[no-untyped-def]
        super().connect(subscriptions, will)
        if self._mode is TimeMode.LOCKSTEP:
            end = T0 + timedelta(hours=1)
            self._publish_as_clock(Channel.RUN, Run(mode=TimeMode.LOCKSTEP, step_s=900, t0=T0, t_end=end, wall0=WALL0))
            tick = Tick(
                n=0, phase=Phase.ROLLCALL, t=T0, attempt=1, t0=T0, t_end=end, step_s=900, roster={}, announced={}
            )
            self._publish_as_clock(Channel.TICK, tick)
