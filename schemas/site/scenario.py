"""Scripted events of a simulated run: what happens to the plant, and nobody is warned of it.

The twins alone act on them. Forecast and EMS know nothing of them, and a real device is never touched: it reads neither
the site's description nor the channel ``event``.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from schemas.messages import Command, DeviceId
from schemas.site.base import SitePart
from schemas.units import UtcTime


class _Event(SitePart):
    """Strict, since it comes in messages, too."""

    model_config = ConfigDict(strict=True)

    device: DeviceId


class CarLeaves(_Event):
    """The vehicle at a charger leaves before the end of its session. What it announced stays announced."""

    type: Literal["leaves"] = "leaves"
    at: UtcTime


class _Lasting(_Event):
    """An event that holds in [start, end)."""

    start: UtcTime
    end: UtcTime

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end {self.end.isoformat()} is not after start {self.start.isoformat()}")
        return self


class Cloud(_Lasting):
    """A PV plant has this fraction of the power that its source offers."""

    type: Literal["cloud"] = "cloud"
    available_frac: Annotated[float, Field(ge=0, le=1)] = 0.3


class Offline(_Lasting):
    """A device is without power and without a connection: it draws 0 kW, publishes nothing, and hears no set-point."""

    type: Literal["offline"] = "offline"


class MeterLies(_Lasting):
    """A meter publishes wrong power and registers. ``scaled``: both run by ``factor``; ``zero``: no power, registers
    stand still; ``stuck``: everything stays as it was told last. Registers never go back; when the lie is over they
    count on from where they are."""

    type: Literal["meter"] = "meter"
    reads: Literal["scaled", "zero", "stuck"]
    factor: Annotated[float, Field(ge=0, le=1000)] | None = None
    """For ``scaled``."""

    @model_validator(mode="after")
    def _factor_where_scaled(self) -> Self:
        if (self.reads == "scaled") != (self.factor is not None):
            raise ValueError(
                f"factor {self.factor} and reads {self.reads}: scaled needs a factor, the others have none"
            )
        return self


ScenarioEvent = Annotated[CarLeaves | Cloud | Offline | MeterLies, Field(discriminator="type")]
LASTING = (Cloud, Offline, MeterLies)


def end_of(event: ScenarioEvent) -> datetime:
    """The instant from which on nothing more happens."""
    return event.at if isinstance(event, CarLeaves) else event.end


class Event(Command):
    """A scripted event by command, to the twin of a device while a run in wall time goes on.

    The twin answers by an alarm, ``scripted_event`` or ``scripted_event_refused``, whose ``element`` is the ``id``.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    event: ScenarioEvent
    """An instant of it that is past counts as now."""
