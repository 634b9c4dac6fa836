"""The side of the hardware: what a link to a device delivers, and how it is commanded."""

from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from schemas.participant import Source


class Measured(BaseModel):
    """What has been measured anew, in units and signs of the contract; what is None has not."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    power_kw: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    energy_import_kwh: Annotated[float, Field(ge=0, le=1e12)] | None = None
    energy_export_kwh: Annotated[float, Field(ge=0, le=1e12)] | None = None
    soc_frac: Annotated[float, Field(ge=0, le=1)] | None = None
    available_kw: Annotated[float, Field(ge=0, le=1e6)] | None = None
    plugged: bool | None = None
    online: bool | None = None
    trouble: str | None = None
    """Why nothing is measured; empty: it is over."""


class Link(Source, Protocol):
    """A connection to a device. Its values are `Measured`; opened and closed by the run loop as any source."""

    def command(self, value_kw: float, for_s: float | None = None) -> None:
        """Asks the device for a power, or an inverter for a limit [kW, sign of the contract]. Returns at once; it may
        be called again and again with the same value.

        ``for_s``: it ends then, for a device that can hold that by itself [s of the machine]; None: it has no end. The
        caller commands what comes after it all the same.
        """
        ...

    @property
    def commanded(self) -> bool:
        """Whether the device can be commanded at all."""
        ...
