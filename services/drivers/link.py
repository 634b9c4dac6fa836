"""The side of the hardware: what a link to a device delivers, and how it is commanded."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.messages import Phases
from schemas.participant import Source

LOG = logging.getLogger(__name__)


class Measured(BaseModel):
    """What has been measured anew, in units and signs of the contract; what is None has not."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    power_kw: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    energy_import_kwh: Annotated[float, Field(ge=0, le=1e12)] | None = None
    energy_export_kwh: Annotated[float, Field(ge=0, le=1e12)] | None = None
    soc_frac: Annotated[float, Field(ge=0, le=1)] | None = None
    available_kw: Annotated[float, Field(ge=0, le=1e6)] | None = None
    plugged: bool | None = None
    phases: Phases | None = None
    """On how many phases current flows; of a charger, while it charges."""
    online: bool | None = None
    trouble: str | None = None
    """Why nothing is measured; empty: it is over."""


def what_is_possible(link: str, found: Mapping[str, Any], trouble: str) -> Measured:
    """The measurements without the values that no device has; these are named beside the trouble, and in the log."""
    try:
        return Measured(**found, trouble=trouble)
    except ValidationError as error:
        wrong = {str(each["loc"][0]): f"{each['loc'][0]}: {each['input']}: {each['msg']}" for each in error.errors()}
    good = {name: value for name, value in found.items() if name not in wrong}
    unread = "; ".join([*([trouble] if trouble else []), *(f"{name}: {why}" for name, why in wrong.items())])[:300]
    LOG.warning("%s: %s", link, unread)
    return Measured(**good, trouble=unread)


class Link(Source, Protocol):
    """A connection to a device. Its values are `Measured`; opened and closed by the run loop as any source."""

    def command(self, value_kw: float, for_s: float | None = None, phases: Phases | None = None) -> None:
        """Asks the device for a power, or an inverter for a limit [kW, sign of the contract]. Returns at once; it may
        be called again and again with the same value.

        ``for_s``: it ends then, for a device that can hold that by itself [s of the machine]; None: it has no end. The
        caller commands what comes after it all the same. ``phases``: on which a charger that switches them is to
        charge; left out for all others.
        """
        ...

    @property
    def commanded(self) -> bool:
        """Whether the device can be commanded at all."""
        ...
