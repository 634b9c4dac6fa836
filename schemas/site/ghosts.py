"""Devices that do not exist, of which the site wants to know what they would earn."""

from collections.abc import Iterator, Mapping
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from schemas.errors import Code
from schemas.site.devices import Bess, Charger, Device
from schemas.site.references import GHOSTS, ReferenceFault, device_faults

REAL_SITE = "real-site"
"""Among the ghosts, what the real meter measures is the load of this name."""

AnyGhost = Annotated[Charger | Bess, Field(discriminator="kind")]

_OF_REAL_DEVICES = ("node", "driver", "outward", "shadow")


def ghost_faults(
    ghosts: Mapping[str, Device], devices: Mapping[str, Device], zone: ZoneInfo | None
) -> Iterator[ReferenceFault]:
    """Names that somebody has already, fields that only a real device can have, and the faults of any device."""
    if ghosts and GHOSTS in devices:
        what = f"the service of the section {GHOSTS} has this name"
        yield ReferenceFault(f"devices.{GHOSTS}", what, GHOSTS, Code.RESERVED)
    for name, ghost in ghosts.items():
        if name in devices:
            what = "a device of the site has this name; a ghost is one that does not exist"
            yield ReferenceFault(f"{GHOSTS}.{name}", what, name, Code.DUPLICATE)
        if name == REAL_SITE:
            what = "among the ghosts this is the name of what the real meter measures"
            yield ReferenceFault(f"{GHOSTS}.{name}", what, name, Code.RESERVED)
        for field in _OF_REAL_DEVICES:
            if given := getattr(ghost, field):
                what = "a ghost is not there: it has no node, driver, outward face or shadow"
                received = given if isinstance(given, str) else field
                yield ReferenceFault(f"{GHOSTS}.{name}.{field}", what, received, Code.CONFLICT)
    bare = {
        name: ghost.model_copy(update={"node": None, "driver": None, "outward": None, "shadow": False})
        for name, ghost in ghosts.items()
    }
    for fault in device_faults(bare, zone):
        yield fault._replace(where=GHOSTS + fault.where.removeprefix("devices"))
