"""receipt, alarm, metric and reject: what services tell about their work."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.messages.stamp import Body, BootId, DeviceId
from schemas.units import UtcTime

Number = Annotated[int, Field(ge=1, le=2**53)]
TopicText = Annotated[str, Field(max_length=200)]
_MOST = Field(max_length=1000)


StoredRange = Annotated[tuple[Number, Number], Field(strict=False)]
"""First and last number of messages that are on disk without a gap."""


class Receipt(Body):
    """From the recorder: what is on disk, of the whole run; on the topic of a participant that stores and forwards
    what it sends (its birth says so), of that one's messages."""

    stored: Annotated[int, Field(ge=0)]
    missing: Annotated[int, Field(ge=0)]
    """Gaps in the sequence numbers of what was stored."""
    dead_letters: Annotated[int, Field(ge=0)] | None = None
    """Of the whole run."""
    up_to: UtcTime | None = None
    """The newest ``ts`` stored. Of the whole run."""
    ranges: (
        Annotated[
            dict[BootId, Annotated[dict[TopicText, Annotated[tuple[StoredRange, ...], Field(strict=False)]], _MOST]],
            _MOST,
        ]
        | None
    ) = None
    """To a participant: by boot and topic, the numbers of what is on disk, as ranges [first, last]. Whoever kept these
    messages may forget them. What it sent before the newest message named here, and what no receipt has named, is
    missing: it is asked for."""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alarm(Body):
    """Something an operator should know. ``active`` False: it is over."""

    code: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    severity: Severity
    active: bool = True
    device: DeviceId | None = None
    element: Annotated[str, Field(max_length=100)] | None = None
    """Element of the network: a node, a cable, the transformer."""
    value: float | None = None
    limit: float | None = None
    text: Annotated[str, Field(max_length=500)]


class Metric(Body):
    """Numbers of a participant about its own work, in wall time only.

    Seconds have no place in a run that is the same to the last bit. ``docs/topics.md`` has the names.
    """

    values: Annotated[dict[str, float], Field(max_length=100)]


class Reject(Body):
    """A participant ignored a message, and why; in wall time only.

    At most ten a minute, one a topic; all are counted in the metric.
    """

    topic: Annotated[str, Field(max_length=200)]
    code: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] | None = None
    """Stable, for programs: `contract`, `topic`, `size`, `message` or `other-run`; ``docs/errors.md`` has them."""
    reason: Annotated[str, Field(max_length=500)]
