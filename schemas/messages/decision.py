"""decision: the state in which the EMS decides, so that the decision can be repeated from the history."""

from typing import Annotated

from pydantic import Field

from schemas.messages.stamp import Body
from schemas.units import UtcTime


class DecisionRecord(Body):
    """Everything that a plan follows from, with `ts`, the time it is decided at. In wall time only.

    In lock-step a decision follows from the recorded messages alone. In wall time it also hangs on when each of them
    arrived, which no other message says.
    """

    software: Annotated[str, Field(max_length=100)]
    """Name and version of the program that decided."""
    site_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the site description that the EMS was started with, its mode left out: the plan has that."""
    epoch: Annotated[int, Field(ge=0)]
    t0: UtcTime
    t_end: UtcTime | None = None
    step_s: Annotated[int, Field(gt=0, le=86_400)]
    turn: Annotated[int, Field(ge=0)]
    """Number of turns that the EMS had before, in this life."""
    pace: Annotated[float, Field(gt=0)]
    """Seconds of the run in a second of the machine."""
    ended_by_time: bool | None = None
    """The decision took all the seconds that it had, so that it may be another one on another machine. Left out: no."""
    snapshot: str
    """The EMS' state after it took in what had arrived: JSON, compressed by zlib, in base64."""
