"""How a twin shows itself by another protocol than MQTT, so that other systems can be tried against it."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.site.base import SitePart


class SunspecFace(SitePart):
    """A SunSpec Modbus server in front of a PV, battery or meter twin."""

    type: Literal["sunspec"] = "sunspec"
    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    """The address that is listened at; Modbus knows no password."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    models: Literal["100", "700"] = "100"
    """The series of inverter models."""
