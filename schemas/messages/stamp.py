"""The stamp that every message carries, and the base of all contents."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.units import UtcTime

CONTRACT: Literal[2] = 2
"""Version of the contract. A message of another version is a dead letter."""

RUN_PATTERN = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{4}"
"""A run's identifier sorts by the time of its start: a higher one is a newer run."""

RunId = Annotated[str, Field(pattern=f"^{RUN_PATTERN}$")]
BootId = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")]
DeviceId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,31}$")]


class Stamp(BaseModel):
    """Origin of a message. Its identity is (topic, boot, seq): who sent it in which life, and the how-manieth it is.

    ``boot`` is a life of the sender, not a process: it survives a restart from a checkpoint. ``seq`` counts from 1
    per boot and topic; a last will carries 0. ``run`` may be left out in wall time: the live session is meant.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    contract: Literal[2] = CONTRACT
    ts: UtcTime
    run: RunId | None = None
    boot: BootId
    seq: Annotated[int, Field(ge=0, le=2**53)]


class Body(BaseModel):
    """Content of a message. Fields that are unknown here are tolerated: the sender may be newer than we are.

    A validator is built when it is used first (``defer_build``): a process uses few of them, and each takes memory.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False, defer_build=True)


class Command(Body):
    """Content that is obeyed. A field that is unknown here is refused: it might change what is meant."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, defer_build=True)
