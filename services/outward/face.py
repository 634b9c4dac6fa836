"""A twin's second face: what a protocol shows of it, and what its master asks."""

from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from schemas.messages import Phases, Telemetry
from schemas.participant import Source


class Asked(BaseModel):
    """What the master asks from now on. ``number`` counts what it asks in the face's life."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    number: Annotated[int, Field(ge=1)]
    value_kw: Annotated[float, Field(ge=-1e6, le=1e6)] | None
    """A power, or an inverter's limit [kW, sign of the contract]; None: it commands no longer."""
    phases: Phases | None = None
    """On which a charger is to charge that switches them; None: it is not asked."""
    for_s: Annotated[float, Field(ge=0, le=1e10)] = 0.0
    """So long, in seconds of the machine, as masters count them; 0: until it asks for something else."""


class Face(Source, Protocol):
    """Its values are `Asked`; opened and closed by the run loop as any source. Its methods return at once."""

    def show(self, telemetry: Telemetry | None, remaining_s: float | None) -> None:
        """What is measured from now on; None: the device does not answer. ``remaining_s`` [s of the machine]: until
        what was asked ends by itself; None: it does not."""
        ...

    def over(self, number: int) -> None:
        """What was asked is followed no longer: its time is over, or the twin refused it."""
        ...
