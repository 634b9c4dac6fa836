"""A twin of the template's site that answers as a SunSpec device, on a broker, in a run that began at noon."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from schemas.site import Site
from services.outward.participant import Outward
from services.outward.sunspec_server import SunspecServer
from sites.loader import load_site
from sites.loader.template import write_template
from tests.wall_swarm import WallSwarm, living
from twinswarm.deploy.outward import sunspec_twin

NOON = datetime(2026, 6, 21, 10, tzinfo=UTC)
"""High noon at the template's site: its PV produces."""


def a_site(folder: Path) -> Site:
    write_template(folder)
    return load_site(folder / "site.yaml")


@contextmanager
def serving(folder: Path, device: str, series: str = "100") -> Iterator[tuple[WallSwarm, int]]:
    """The swarm, and the port at which the twin answers."""
    site = a_site(folder)
    spec = site.devices[device].model_copy(update={"telemetry_period_s": 0.5})
    site = site.model_copy(update={"devices": {**site.devices, device: spec}})
    twin = sunspec_twin(site, device, "127.0.0.1:0", series)()
    assert isinstance(twin, Outward)
    (face,) = twin.sources
    assert isinstance(face, SunspecServer)
    with living(site, device, twin, NOON) as swarm:
        yield swarm, face.port
