"""receipt, alarm, metric and reject: what services tell about their work."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.messages.stamp import Body, DeviceId
from schemas.units import UtcTime


class Receipt(Body):
    """From the recorder: what of this run is on disk."""

    stored: Annotated[int, Field(ge=0)]
    missing: Annotated[int, Field(ge=0)]
    """Gaps in the sequence numbers of what was stored."""
    dead_letters: Annotated[int, Field(ge=0)]
    up_to: UtcTime | None = None
    """The newest ``ts`` stored."""


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
