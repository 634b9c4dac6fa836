"""The side of the hardware: what a link to a device delivers, and how it is commanded."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from schemas.messages import Phases
from schemas.participant import Source
from services.drivers.complaints import Complaints


def _no_negative_zero(kw: float) -> float:
    """0 times a negative factor is -0.0, which a person reads as a fault."""
    return kw + 0.0


class Measured(BaseModel):
    """What has been measured anew, in units and signs of the contract; what is None has not."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    power_kw: Annotated[float, Field(ge=-1e6, le=1e6), AfterValidator(_no_negative_zero)] | None = None
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
    unread: frozenset[str] = Field(default=frozenset(), exclude=True)
    """Values that should have been measured now and were not, or were such as no device has."""


def what_is_possible(
    complaints: Complaints, found: Mapping[str, Any], trouble: str, *, wanted: Iterable[str] = ()
) -> Measured:
    """The measurements without the values that no device has; these are named beside the trouble, and in the log.

    ``wanted``: the values that should be there. A power that is not, without a reason, is a trouble of its own.
    """
    wrong: dict[str, str] = {}
    try:
        Measured(**found)
    except ValidationError as error:
        wrong = {str(each["loc"][0]): f"{each['loc'][0]}: {each['input']}: {each['msg']}" for each in error.errors()}
    good = {name: value for name, value in found.items() if name not in wrong}
    unread = (wrong.keys() | set(wanted)) - good.keys()
    if "power_kw" in unread and not wrong and not trouble:
        trouble = "power_kw: the device has none now"
    said = "; ".join([*([trouble] if trouble else []), *wrong.values()])[:300]
    if wrong:
        complaints.write(said)
    return Measured(**good, trouble=said, unread=frozenset(unread))


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
