"""What all devices of a site have in common, and how they name phases and profiles."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from schemas.messages import Fallback, Nameplate, Quantity
from schemas.site.base import SitePart
from schemas.site.drivers import Driver
from schemas.site.outward import SunspecFace
from schemas.site.profile import ProfileName

PhaseName = Literal["a", "b", "c"]


def profiles_given(**profiles: ProfileName | None) -> tuple[tuple[str, ProfileName], ...]:
    """Fields with the profiles that they name, as far as they name one."""
    return tuple((field, name) for field, name in profiles.items() if name is not None)


def check_phase(phase: str | None, phases: int, what: str, *, switches: bool = False) -> None:
    if phase is not None and phases != 1 and not switches:
        raise ValueError(f"phase {phase} is given, but the {what} has {phases} phases")


class Device(SitePart, ABC):
    """Fields of all devices."""

    node: str | None = None
    """Node of the site's network; None: at the main busbar."""
    telemetry_period_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Wall time only."""
    required: bool = True
    """A lock-step run does not begin without it."""
    driver: Driver | None = None
    """How the real device is reached by ``twinswarm drive``; a simulation has its twin."""
    outward: SunspecFace | None = None
    """Where its twin answers by another protocol, too, in wall time."""
    shadow: bool = False
    """A twin runs beside the device, and says where the device parts from its description."""

    @property
    @abstractmethod
    def nameplate(self) -> Nameplate:
        """The nameplate that its twin puts into its birth."""

    @property
    def reverts_to(self) -> Fallback:
        """Behaviour of its twin before the first set-point."""
        return Fallback.IDLE

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        """(field, name) of each profile that it refers to."""
        return ()

    @property
    def expected(self) -> tuple[tuple[Quantity, ProfileName], ...]:
        """What the forecast service tells of it, by profile."""
        return ()

    def _shared(self, nameplate: type[BaseModel]) -> dict[str, Any]:
        """Fields that description and nameplate have in common."""
        return {name: getattr(self, name) for name in nameplate.model_fields if name in type(self).model_fields}
