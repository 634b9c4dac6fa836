"""Provisioning of Grafana: its data source and the dashboards, as files of this package.

They are checked in as Grafana reads them; `services.dashboards.source` makes the JSON.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files as resources
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True)
class Place:
    """Where InfluxDB is, and where the files will be. The defaults are those of the files: the stack's."""

    url: str = "http://influxdb:8086"
    org: str = "twinswarm"
    bucket: str = "twinswarm-simulated"
    """That the data source has by default; the dashboards let it be chosen."""
    token_file: str = "/run/secrets/twinswarm/token"  # noqa: S105 - where it is, not what it is
    """As Grafana sees it; read when Grafana starts."""
    provisioning: str = "/run/secrets/twinswarm/provisioning"
    """The folder of these files, as Grafana sees it (its ``GF_PATHS_PROVISIONING``)."""


_STACK = Place()


def files(place: Place = _STACK) -> dict[str, bytes]:
    """By path below Grafana's provisioning folder. The YAML files name ``place``, the dashboards do not."""
    found = dict(_below(resources(__package__) / "provisioning", ""))
    return {path: _moved(content, place) if path.endswith(".yaml") else content for path, content in found.items()}


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{path}{entry.name}/")
        else:
            yield f"{path}{entry.name}", entry.read_bytes()


def _moved(content: bytes, place: Place) -> bytes:
    """Puts the values of ``place`` where those of the stack stand, as the strings of YAML that JSON's are."""
    wanted = dict(zip(_values(_STACK), _values(place), strict=True))
    stands = re.compile("|".join(map(re.escape, wanted)))
    return stands.sub(lambda found: wanted[found[0]], content.decode()).encode()


def _values(place: Place) -> list[str]:
    token = f"$__file{{{place.token_file}}}"
    dashboards = f"{place.provisioning}/dashboards/twinswarm"
    # Grafana puts an environment variable in place of $NAME; $$ is the character.
    others = [value.replace("$", "$$") for value in (place.url, place.org, place.bucket, dashboards)]
    return [json.dumps(value, ensure_ascii=False) for value in (*others, token)]
