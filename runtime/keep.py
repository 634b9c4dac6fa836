"""Which messages are kept until the recorder has them (`runtime.kept`), and which are given up first."""

from enum import IntEnum

from schemas.participant import Outgoing
from schemas.topics import FORWARDED, Channel


class Keep(IntEnum):
    """How a message fares when the bound is reached."""

    ALWAYS = 0
    THINNED = 1
    DROPPED = 2


_DROPPED = frozenset({Channel.METRIC, Channel.REJECT})


def keep_of(outgoing: Outgoing) -> Keep | None:
    """How a message is kept; None: not at all, for it is not recorded."""
    channel = outgoing.topic.channel
    if channel not in FORWARDED:
        return None
    if channel in _DROPPED:
        return Keep.DROPPED
    thinned = channel is Channel.TELEMETRY and not getattr(outgoing.body, "departed", None)
    return Keep.THINNED if thinned else Keep.ALWAYS
