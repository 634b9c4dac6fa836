"""The participant protocol: an object that is handed messages and a phase, and returns messages.

A participant holds no socket, no thread, no clock and no file. Its run loop (`runtime.lockstep`, `runtime.wall`,
`runtime.in_memory`) hands it the time. Therefore the same day gives the same numbers in memory and over any broker.

`Participant` is all that most of them are. Small protocols besides are each for who needs it: `KeepsInbox` (the
recorder), `Measures` (numbers about its own work), `HasRegisters` (a meter), and the two doors in wall time: `Wakes`
(to be called at a time of its own) and `HasSources` (input that is not MQTT).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol, cast, runtime_checkable

from schemas.messages import Birth, Body, Phase, Stamp, TimeMode
from schemas.topics import Channel, Kind, Topic

Json = Any
"""A value that the json module writes and reads back equal (floats included)."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that arrived, validated. ``stamp`` and ``body`` may be one object.

    ``arrived``: in wall time, the run time by the receiver's clock at which it came. Whether its sender is there goes
    by this; ``stamp.ts``, by the sender's clock, is when it measured. None in lock-step, where neither differs.
    """

    topic: Topic
    stamp: Stamp
    body: Body
    arrived: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. The run loop stamps it with time, run, boot and seq.

    ``ts``: in wall time, the instant that the body is about where that is not the turn's; in lock-step there is none.
    """

    topic: Topic
    body: Body
    ts: datetime | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A value that a source delivered, validated. ``at``: the run's time when it came."""

    source: str
    at: datetime
    value: object


@dataclass(frozen=True, slots=True)
class Turn:
    """A call to act. ``t`` is the time that holds.

    ``gap`` (devices, at SENSE): the device was away since its last turn, so nothing flowed meanwhile: it integrates
    0 kW up to ``t`` instead of the set-point that it last knew.
    """

    phase: Phase
    t: datetime
    t0: datetime
    t_end: datetime | None
    """None: a live run without end."""
    step_s: int
    mode: TimeMode
    n: int = 0
    """Lock-step: the cycle, 0 the roll call. Wall time: the number of turns so far."""
    gap: bool = False
    boot: str = ""
    """Wall time: the life under which the participant speaks. What carries it in its stamp was sent by itself."""
    inputs: tuple[Input, ...] = ()
    """Wall time: what the participant's sources delivered since the last turn, in order."""
    pace: float = 1.0
    """Seconds of the run in a second of the machine, in which waiting for others is measured."""
    closing: bool = False
    """Wall time, who measures what others send: the run is over, and no more is expected to arrive."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """When a phase comes in wall time. With ``on_message`` as soon as one is there, at the latest by the period.

    What sources deliver comes like a message, and so does the turn that a participant asked for by `Wakes.wake_at`:
    in the phases with ``on_message``, or in the first phase of a participant that has none of these.
    """

    period_s: float | None = None
    """In run time, aligned to multiples of it since local midnight; None: only ``on_message``."""
    delay_s: float = 0.0
    """After the aligned instant, for what others send at it to arrive."""
    on_message: bool = False


class Participant(Protocol):
    """Twin, EMS, forecast, recorder, driver of a real device."""

    @property
    def site(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def device(self) -> str: ...

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """MQTT filters of what it wants to be handed. Ticks and the run are the run loop's."""
        ...

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        """Which phases it has work in, and when they come in wall time. Lock-step calls it in every phase."""
        ...

    def birth(self) -> Birth: ...

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        """Acts on exactly these messages, sorted by (topic, boot, seq); returns what is to be sent, in order.

        In wall time the boots of a topic are in the order in which they were heard.

        Lock-step: everything announced in this cycle on my subscriptions that I was not handed before.
        Deterministic: a function of the state and the arguments. Never raises for a peer's message.
        """
        ...

    def snapshot(self) -> Json:
        """The state as one value. ``restore(snapshot())`` on a fresh object continues to the last bit."""
        ...

    def restore(self, state: Json) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Messages that somebody announced: all of (topic, boot) from ``first`` to ``last``."""

    topic: str
    boot: str
    first: int
    last: int


class Inbox(Protocol):
    """Where a run loop puts what arrives until it is taken. The recorder brings its own, which is its database."""

    def add(self, received: Received, payload: bytes) -> None:
        """Takes a valid message. One of an identity that is there already is dropped."""
        ...

    def reject(self, topic: str, payload: bytes, reason: str) -> None:
        """Takes a message that is not of the contract: a dead letter."""
        ...

    def flush(self) -> None:
        """Makes durable what was added or rejected, if that is this inbox's way; the run loop then acknowledges it."""
        ...

    def missing(self, wanted: Sequence[Wanted]) -> bool:
        """Whether any of these was not added yet."""
        ...

    def take(self, run: str, turn: Turn, wanted: Sequence[Wanted]) -> list[Received]:
        """Exactly the wanted messages that were not taken before, sorted by (topic, boot, seq)."""
        ...


@runtime_checkable
class KeepsInbox(Protocol):
    """A participant that brings its own inbox, as the recorder does. It is durable: what it has flushed stays."""

    @property
    def inbox(self) -> Inbox: ...


@runtime_checkable
class Measures(Protocol):
    """A participant that has numbers about its work, as the recorder does.

    In wall time the run loop asks for them once a minute, and sends them with its own. A number about one event, as
    about one plan, is sent by the participant itself, in wall time only.
    """

    @property
    def metrics(self) -> Mapping[str, float]: ...


class HasRegisters(Protocol):
    """A participant with a meter, whose registers go on from one life to the next."""

    @property
    def registers(self) -> Mapping[str, float]:
        """The registers [kWh], by their names in telemetry."""
        ...

    def continue_registers(self, registers: Mapping[str, float]) -> None:
        """Counts on from the registers of an earlier life. Called before the first turn."""
        ...


@runtime_checkable
class Wakes(Protocol):
    """A participant that says when it wants to act next: a set-point's end, a watchdog, the next poll."""

    def wake_at(self, now: datetime) -> datetime | None:
        """The run time at which it wants a turn, whatever its cadence; None: no need.

        Asked after every turn, in wall time only; the last answer holds. ``now`` is that turn's time. A time that is
        not after it means as soon as possible.
        """
        ...


class Source(Protocol):
    """Input that is not MQTT, for wall time only."""

    @property
    def name(self) -> str:
        """Unique within its participant; ``Input.source``."""
        ...

    @property
    def value_type(self) -> Any:
        """The type of its values, by which pydantic validates each: a model, or any annotation."""
        ...

    def open(self, put: Callable[[object], bool]) -> None:
        """Begins to deliver by ``put``, from any thread, until it is closed. ``put`` returns whether it was valid."""
        ...

    def close(self) -> None:
        """Ends its threads and connections; ``put`` is not called afterwards."""
        ...


@runtime_checkable
class HasSources(Protocol):
    """A participant with input that is not MQTT. Its birth has the time mode ``wall`` only."""

    @property
    def sources(self) -> Sequence[Source]: ...


def own_inbox(participant: Participant) -> Inbox | None:
    """The inbox that a participant brings with it; None: the run loop has one."""
    return participant.inbox if isinstance(participant, KeepsInbox) else None


def own_metrics(participant: Participant) -> dict[str, float]:
    """The numbers that a participant has about its work now; none for most."""
    return dict(participant.metrics) if isinstance(participant, Measures) else {}


def own_sources(participant: Participant) -> tuple[Source, ...]:
    """The sources of a participant; none for most."""
    return tuple(participant.sources) if isinstance(participant, HasSources) else ()


def lasting_registers(participant: Participant) -> dict[str, float]:
    """The registers [kWh] that outlive a participant's life, as it publishes them now; none for who has no meter.

    A register only grows, so of two values of it the greater one is the newer one.
    """
    return dict(cast("HasRegisters", participant).registers) if _has_registers(type(participant)) else {}


@cache
def _has_registers(kind: type[Participant]) -> bool:
    """As ``isinstance`` says, which up to Python 3.11 looks at every member of the protocol each time: a checkpoint is
    written in every phase."""
    return all(hasattr(kind, name) for name in ("registers", "continue_registers"))


def continue_registers(participant: Participant, registers: Mapping[str, float]) -> None:
    """Begins a life with the registers of the lives before it."""
    if registers and _has_registers(type(participant)):
        cast("HasRegisters", participant).continue_registers(registers)


def greatest_registers(*known: Mapping[str, float]) -> dict[str, float]:
    """The newest value of every register."""
    return {name: max(each[name] for each in known if name in each) for each in known for name in each}


@cache
def software() -> str:
    """Name and version, for births and for whoever asks."""
    return f"twinswarm {version('twinswarm')}"


def own_topic(participant: Participant, channel: Channel) -> Topic:
    """A channel that the participant writes."""
    return Topic(participant.site, participant.kind, participant.device, channel)
