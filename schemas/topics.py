"""Topics: ``twin/v2/{site}/{kind}/{device}/{channel}``, built and parsed here and nowhere else."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from schemas.errors import Code, RemoteMessageError, shorten

PREFIX = "twin/v2"
FORWARD_PREFIX = "twin/forward/v2"
"""Prefix of the topics on which a message that was lost on its way to the recorder is sent again, to nobody else: who
acts on messages is never handed an old one. See `runtime.kept`."""
FORMER_PREFIX = "twin/v1"
"""Topic prefix of the contract before this one. Messages there are only answered with a reject."""
OBSERVER = "observer"
"""Identity of those who only look: a dashboard, a notebook, ``twinswarm up`` as it shows the day."""
HOME_ASSISTANT = "homeassistant"
"""Who announces a site's devices to Home Assistant. As an observer it may write their discovery, and nothing else; as
an operator also what a person set there, and requests of it."""
HOME = "home"
"""Home Assistant itself, an observer. At a site with an operator it may write what that one reads."""
SITE_PATTERN = r"[a-z0-9-]{1,32}"
DEVICE_PATTERN = r"[a-z0-9-]{1,31}"


class Kind(StrEnum):
    """Kind of a participant. `schemas.kinds` says what belongs to those with power; the others are services."""

    CHARGER = "charger"
    BESS = "bess"
    HEATPUMP = "heatpump"
    PV = "pv"
    METER = "meter"
    NETWORK = "network"
    EMS = "ems"
    CLOCK = "clock"
    RECORDER = "recorder"
    FORECAST = "forecast"
    TARIFF = "tariff"
    LIMITER = "limiter"
    """Source of limits from outside: the grid operator's control box, an OpenADR client, a relay."""
    SHADOW = "shadow"
    """The twin beside a real device, which commands nothing and has no power of its own."""
    OPERATOR = "operator"
    """Who carries the requests of persons to the EMS: set-points by hand, standby."""
    GHOSTS = "ghosts"
    """Devices that do not exist, which live beside the real meter and command nobody."""


class Channel(StrEnum):
    """The subject of a message. A device writes its channels itself, save ``setpoint``, which the EMS writes."""

    BIRTH = "birth"
    STATE = "state"
    RUN = "run"
    TELEMETRY = "telemetry"
    SERIES = "series"
    LIMIT = "limit"
    REQUEST = "request"
    EVENT = "event"
    SETPOINT = "setpoint"
    ACK = "ack"
    PLAN = "plan"
    DECISION = "decision"
    PREDICTION = "prediction"
    EARNINGS = "earnings"
    TICK = "tick"
    DONE = "done"
    RECEIPT = "receipt"
    ALARM = "alarm"
    METRIC = "metric"
    REJECT = "reject"


RETAINED = frozenset(
    {
        Channel.BIRTH,
        Channel.STATE,
        Channel.RUN,
        Channel.SERIES,
        Channel.LIMIT,
        Channel.REQUEST,
        Channel.PLAN,
        Channel.EARNINGS,
    }
)
"""Channels whose last message the broker keeps for whoever comes later."""

BARRIER = frozenset({Channel.TICK, Channel.DONE})
"""Channels of the lock-step barrier itself: neither announced nor in the history's counts."""

FORWARDED = frozenset(Channel) - BARRIER - {Channel.RUN, Channel.RECEIPT}
"""Channels whose messages may be sent again to the recorder: all of its history but the clock's time base."""

_TOPIC = re.compile(
    rf"(?P<prefix>{PREFIX}|{FORWARD_PREFIX})/(?P<site>{SITE_PATTERN})/(?P<kind>[a-z]+)/(?P<device>{DEVICE_PATTERN})/(?P<channel>[a-z]+)"
)


@dataclass(frozen=True, order=True, slots=True)
class Topic:
    """One topic. ``device`` is the owner of the channel: for a set-point the device that is to obey it."""

    site: str
    kind: Kind
    device: str
    channel: Channel

    def __str__(self) -> str:
        return f"{PREFIX}/{self.site}/{self.kind}/{self.device}/{self.channel}"

    @property
    def retained(self) -> bool:
        return self.channel in RETAINED

    @staticmethod
    def parse(text: str) -> "Topic":
        """The topic of a message, also of one that is forwarded. Raises RemoteMessageError with the topic's text and
        what is allowed."""
        return _parsed(text)


@lru_cache(maxsize=8192)
def _parsed(text: str) -> Topic:
    """A site has some hundred topics, and each of its messages one of them."""
    match = _TOPIC.fullmatch(text)
    if text.startswith(f"{FORMER_PREFIX}/"):
        raise RemoteMessageError(
            f"topic {shorten(text)} is of an earlier contract; topics begin with {PREFIX} now, see docs/topics.md",
            code=Code.CONTRACT,
        )
    if match is None:
        raise RemoteMessageError(
            f"topic {shorten(text)} is not {PREFIX}/{{site}}/{{kind}}/{{device}}/{{channel}}", code=Code.TOPIC
        )
    try:
        topic = Topic(match["site"], Kind(match["kind"]), match["device"], Channel(match["channel"]))
    except ValueError as error:
        raise RemoteMessageError(f"topic {shorten(text)}: {shorten(str(error), 120)}", code=Code.TOPIC) from None
    if match["prefix"] == FORWARD_PREFIX and topic.channel not in FORWARDED:
        raise RemoteMessageError(f"topic {text}: a {topic.channel} is not forwarded", code=Code.TOPIC)
    return topic


def client_id(site: str, device: str) -> str:
    """A participant's MQTT client identifier, which is its user name and the CN of its certificate as well.

    Neither part can hold an underscore, so the name is unambiguous. A dot would not do: brokers that map identifiers
    to subjects refuse it (NATS). At most 64 characters, as a CN (RFC 5280).
    """
    return f"{site}_{device}"


def topic_filter(site: str, kind: Kind | str = "+", device: str = "+", channel: Channel | str = "+") -> str:
    """An MQTT subscription; a part that is left out matches every value of one level."""
    return f"{PREFIX}/{site}/{kind}/{device}/{channel}"


def everything(site: str) -> str:
    """The subscription to all of a site, wrong topics below it included."""
    return f"{PREFIX}/{site}/#"


def forward_of(topic: str) -> str:
    """Where a message of this topic, or of this filter, is forwarded to the recorder."""
    return FORWARD_PREFIX + topic.removeprefix(PREFIX)


def is_forwarded(topic: str) -> bool:
    """Whether a message came on a topic on which it was sent again."""
    return topic.startswith(FORWARD_PREFIX)


def forwarded(site: str) -> str:
    """The subscription to all that is forwarded at a site."""
    return forward_of(everything(site))


BROKER_PREFIX = "$SYS/"
"""Of what a broker says of itself. A broker need not."""
BROKER_DROPPED = f"{BROKER_PREFIX}broker/publish/messages/dropped"
"""Mosquitto's count of the messages that it gave up for clients that do not take them, since it started."""


def former(site: str) -> str:
    """The subscription to what is published at a site by the earlier contract."""
    return f"{FORMER_PREFIX}/{site}/#"


@lru_cache(maxsize=8192)
def matches(pattern: str, topic: str) -> bool:
    """MQTT 3.1.1 topic matching (section 4.7) for topics that do not begin with ``$``."""
    wanted, given = pattern.split("/"), topic.split("/")
    for position, part in enumerate(wanted):
        if part == "#":
            return True
        if position >= len(given) or part not in ("+", given[position]):
            return False
    return len(wanted) == len(given)
