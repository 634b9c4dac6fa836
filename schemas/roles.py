"""Who may write and read what: the part of the contract from which access lists and the AsyncAPI document are made.

A participant's rights follow from its kind. Everything that is not named here is denied.
"""

from dataclasses import dataclass
from functools import lru_cache

from schemas.kinds import COMMANDED_KINDS, DEVICE_KINDS, SHADOWED_KINDS
from schemas.presence import WATCHES
from schemas.topics import (
    BROKER_DROPPED,
    FORWARDED,
    HOME,
    HOME_ASSISTANT,
    OBSERVER,
    Channel,
    Kind,
    Topic,
    everything,
    former,
    forward_of,
    forwarded,
    topic_filter,
)

__all__ = [
    "HOME",
    "HOME_ASSISTANT",
    "OBSERVER",
    "READS",
    "WRITES",
    "Right",
    "read_filters",
    "write_filters",
    "writer_of",
]


@dataclass(frozen=True, slots=True)
class Right:
    """To write or to read a channel: on one's own topic, or on those of every device of ``kinds`` (empty: any kind)."""

    channel: Channel
    own: bool = False
    kinds: tuple[Kind, ...] = ()

    def filters(self, site: str, kind: Kind, device: str) -> tuple[str, ...]:
        """As MQTT filters, for the participant ``device`` of ``kind``."""
        if self.own:
            return (str(Topic(site, kind, device, self.channel)),)
        return tuple(topic_filter(site, one, channel=self.channel) for one in self.kinds or ("+",))


def _own(*channels: Channel) -> tuple[Right, ...]:
    return tuple(Right(channel, own=True) for channel in channels)


def _any(*channels: Channel, kinds: tuple[Kind, ...] = ()) -> tuple[Right, ...]:
    return tuple(Right(channel, kinds=kinds) for channel in channels)


_PRESENCE = _own(Channel.BIRTH, Channel.STATE, Channel.ALARM, Channel.METRIC, Channel.REJECT)
_OF_ITSELF = (*_PRESENCE, *_own(Channel.DONE))
_TIME = (*_any(Channel.RUN, Channel.TICK, kinds=(Kind.CLOCK,)), *_own(Channel.STATE, Channel.RECEIPT))
"""The clock's messages, one's own state, for a last will may have come in between, and the recorder's receipt."""
_LIMITS = _any(Channel.LIMIT, kinds=(Kind.LIMITER,))
"""Limits from outside: a device's fallback stays within them, too."""

WRITES: dict[Kind, tuple[Right, ...]] = {
    **{kind: (*_OF_ITSELF, *_own(Channel.TELEMETRY)) for kind in DEVICE_KINDS},
    **{kind: (*_OF_ITSELF, *_own(Channel.TELEMETRY, Channel.ACK)) for kind in COMMANDED_KINDS},
    Kind.NETWORK: (*_OF_ITSELF, *_own(Channel.TELEMETRY)),
    Kind.EMS: (*_OF_ITSELF, *_own(Channel.PLAN, Channel.DECISION), *_any(Channel.SETPOINT, kinds=COMMANDED_KINDS)),
    # Whoever owns the time of a simulated run may make something happen in it.
    Kind.CLOCK: (
        *_PRESENCE,
        *_own(Channel.RUN, Channel.TICK),
        *_any(Channel.EVENT, kinds=(*DEVICE_KINDS, Kind.NETWORK)),
    ),
    Kind.RECORDER: (*_OF_ITSELF, *_any(Channel.RECEIPT, kinds=tuple(Kind))),
    Kind.FORECAST: (*_OF_ITSELF, *_own(Channel.SERIES)),
    Kind.TARIFF: (*_OF_ITSELF, *_own(Channel.SERIES)),
    Kind.LIMITER: (*_OF_ITSELF, *_own(Channel.LIMIT)),
    # It listens to what its device is asked and measures, and can command nobody.
    Kind.SHADOW: (*_OF_ITSELF, *_own(Channel.PREDICTION)),
    # It asks the EMS, which alone writes set-points.
    Kind.OPERATOR: (*_OF_ITSELF, *_own(Channel.REQUEST)),
    # Its devices have no topics: what is commanded there does not leave it.
    Kind.GHOSTS: (*_OF_ITSELF, *_own(Channel.EARNINGS)),
}

READS: dict[Kind, tuple[Right, ...]] = {
    **{kind: (*_TIME, *_own(Channel.SETPOINT, Channel.EVENT)) for kind in DEVICE_KINDS},
    **{kind: (*_TIME, *_own(Channel.SETPOINT, Channel.EVENT), *_LIMITS) for kind in COMMANDED_KINDS},
    Kind.NETWORK: (*_TIME, *_own(Channel.EVENT), *_any(Channel.BIRTH, Channel.TELEMETRY, kinds=DEVICE_KINDS)),
    # Plans, set-points and acks for their epochs: another EMS may lead.
    Kind.EMS: (
        *_TIME,
        *_any(Channel.BIRTH, Channel.STATE, Channel.TELEMETRY, Channel.SERIES),
        *_LIMITS,
        *_any(Channel.REQUEST, kinds=(Kind.OPERATOR,)),
        *_own(Channel.PLAN),
        *_any(Channel.SETPOINT, Channel.ACK, kinds=COMMANDED_KINDS),
        *_any(Channel.METRIC, kinds=WATCHES[Kind.EMS]),
    ),
    # Births and answers to drive the barrier; the others to see, before it begins, whether somebody lives there.
    Kind.CLOCK: _any(
        Channel.BIRTH,
        Channel.STATE,
        Channel.DONE,
        Channel.RUN,
        Channel.TICK,
        Channel.TELEMETRY,
        # In wall time: whether set-points come in time.
        Channel.SETPOINT,
        Channel.ACK,
    ),
    Kind.RECORDER: _any(*Channel),
    # An online forecast learns from what is measured.
    Kind.FORECAST: (*_TIME, *_any(Channel.TELEMETRY, kinds=(Kind.METER, Kind.PV))),
    Kind.TARIFF: _TIME,
    Kind.LIMITER: _TIME,
    Kind.SHADOW: (
        *_TIME,
        *_LIMITS,
        *_any(Channel.TELEMETRY, Channel.SETPOINT, kinds=SHADOWED_KINDS),
        *_any(Channel.SERIES, kinds=(Kind.TARIFF,)),
    ),
    Kind.OPERATOR: (*_TIME, *_any(Channel.BIRTH, Channel.STATE), *_any(Channel.PLAN, kinds=(Kind.EMS,))),
    # The real meter, prices, and what the EMS expects of the real site.
    Kind.GHOSTS: (
        *_TIME,
        *_LIMITS,
        *_any(Channel.TELEMETRY, kinds=(Kind.METER, Kind.NETWORK)),
        *_any(Channel.SERIES, kinds=(Kind.TARIFF,)),
        *_any(Channel.PLAN, kinds=(Kind.EMS,)),
    ),
}


DISCOVERY = "homeassistant/device/+/config"
"""Where devices are announced to Home Assistant, as an MQTT filter."""
HOME_STATUS = "homeassistant/status"
"""Where Home Assistant says that it comes and goes."""


def home_branch(site: str) -> str:
    """Below it stands what a person set at Home Assistant, and what became of it. No topic of the contract."""
    return f"twinswarm/{site}"


def home_settings(site: str) -> str:
    """Where stands what a person set at Home Assistant, as an MQTT filter."""
    return f"{home_branch(site)}/+/+"


def home_commands(site: str) -> str:
    """Where Home Assistant writes what a person sets, as an MQTT filter. Only the operator reads it."""
    return f"{home_settings(site)}/set"


def write_filters(site: str, kind: Kind, device: str) -> tuple[str, ...]:
    """Where a participant may publish: its messages, and those that were lost once more for the recorder.

    The clock keeps nothing: what it says of its run is retained, and repeated to a broker that comes back.
    """
    rights = [(right.channel, text) for right in WRITES[kind] for text in right.filters(site, kind, device)]
    again = [forward_of(text) for channel, text in rights if channel in FORWARDED and kind is not Kind.CLOCK]
    return (*(text for _, text in rights), *again)


def read_filters(site: str, kind: Kind | None, device: str) -> tuple[str, ...]:
    """What a participant is given; ``kind`` None: an observer.

    The recorder and an observer get all of the site, wrong topics below it included: those are dead letters. What is
    sent again is the recorder's alone.
    """
    if kind is None:
        return (everything(site), former(site), DISCOVERY)
    if kind is Kind.RECORDER:
        return (everything(site), former(site), forwarded(site))
    rights = tuple(text for right in READS[kind] for text in right.filters(site, kind, device))
    return (*rights, BROKER_DROPPED) if kind is Kind.CLOCK else rights


_WRITERS: dict[Channel, Kind] = {
    right.channel: kind for kind, rights in WRITES.items() for right in rights if not right.own
}
"""Channels that somebody else writes on a device's topic."""


@lru_cache(maxsize=8192)
def writer_of(topic: Topic) -> str:
    """Who writes a topic: the participant that it names, but for commands and receipts."""
    return str(_WRITERS.get(topic.channel, f"{topic.kind}/{topic.device}"))
