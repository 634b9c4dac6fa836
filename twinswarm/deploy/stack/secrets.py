"""Secrets of each service of the stack: certificate, passwords, tokens, dashboards, in a volume of its own.

The authority's folder keeps all of it, random secrets included, so that a volume that was lost is filled again and a
backup of one folder is enough. Only provisioning mounts that folder.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from broker.provision import files
from broker.provision.layout import Folder
from broker.provision.mosquitto_conf import BrokerPlace
from broker.provision.register import load_register
from broker.provision.workspace import Changes, provision_site
from schemas.errors import Code, Fault, InputError
from schemas.site import Site
from schemas.topics import HOME_ASSISTANT
from services.clock.lockstep import CLOCK
from twinswarm.deploy.stack.accounts import GRAFANA, INFLUXDB, MOSQUITTO, ROOT, TWINSWARM, Account
from twinswarm.deploy.stack.live import live_services
from twinswarm.deploy.stack.volume import Volume, give
from twinswarm.simulation.compose import members

SECRET_BYTES = 32
"""Bytes of a password or token before it is written as text (base64, 43 characters)."""
MOSQUITTO_CONFIG, MOSQUITTO_DATA = PurePosixPath("/mosquitto/config"), PurePosixPath("/mosquitto/data")
"""Where Mosquitto's container mounts its two volumes."""
HISTORY_WRITERS = ("forward", "savings")
"""Their tokens are made by ``init-history``, from InfluxDB; here they get a volume that is theirs."""
_PROVISIONING = "provisioning"
"""Grafana's, in its volume: GF_PATHS_PROVISIONING points there."""


@dataclass
class StackChanges:
    """Files written in the authority's folder and in the volumes. Paths are relative to each."""

    first: bool
    """Nothing was there before."""
    authority: Changes
    volumes: Changes = field(default_factory=Changes)

    @property
    def services(self) -> list[str]:
        """Services whose files have changed: they read them when they start."""
        touched = [Path(path).parts[0] for path in (*self.volumes.written, *self.volumes.deleted)]
        broker = any(Path(path).parts[0] == "broker" for path in self.authority.written)
        return sorted({*touched, *(["mosquitto"] if broker else [])})


def participants(site: Site) -> tuple[str, ...]:
    """Everybody in the stack who meets the broker, and gets a certificate for that."""
    live = (one.identity for one in live_services(site))
    persons = (HOME_ASSISTANT,) if site.ems.requests else ()
    return tuple(dict.fromkeys((*members(site), CLOCK, *live, *persons)))


def volumes(site: Site) -> dict[str, Account]:
    """The volumes of secrets by service, and whose they are."""
    return {
        **dict.fromkeys((*participants(site), *HISTORY_WRITERS), TWINSWARM),
        "influxdb": INFLUXDB,
        "init-history": ROOT,
        "grafana": GRAFANA,
    }


def provision_stack(
    site: Site,
    root: Path,
    secrets_root: Path,
    names: tuple[str, ...],
    provisioning: Mapping[str, bytes],
    now: datetime,
) -> StackChanges:
    """The authority's folder ``root``, with Mosquitto's volume in ``root/broker``, and below ``secrets_root`` a volume
    for each service: makes what lacks or differs, and leaves the rest alone.

    ``names``: of the broker. ``provisioning``: Grafana's data source and dashboards, by path.
    Raises InputError: not root, a volume that is not there, and all that `provision_site` raises.
    """
    if os.geteuid() != ROOT.uid:
        what = "gives files to the accounts of several containers, which only root can; run it as root"
        raise InputError.one("provision stack", what, f"uid {os.geteuid()}", code=Code.PERMISSION)
    owners = volumes(site)
    faults = [
        Fault(
            str(secrets_root / name),
            f"is not there: the volume of {name} is not mounted; is compose.yaml that of site {site.site}?",
            code=Code.NOT_FOUND,
        )
        for name in sorted(owners)
        if not (secrets_root / name).is_dir()
    ]
    if faults:
        raise InputError(faults)
    place = BrokerPlace(MOSQUITTO_CONFIG, MOSQUITTO_DATA, names, bind="0.0.0.0", user="mosquitto")  # noqa: S104 - in a network of its own
    first = files.read(Folder(root).register) is None
    changes = StackChanges(first, provision_site(site, root, place, now))
    _give_broker(Folder(root), changes.authority)
    contents = _contents(site, Folder(root), changes)
    contents["grafana"] |= _provisioning(secrets_root / "grafana", provisioning)
    for name, owner in owners.items():
        written, deleted = Volume(secrets_root / name, owner).keep(contents.get(name, {}))
        changes.volumes.written += [str(path.relative_to(secrets_root)) for path in written]
        changes.volumes.deleted += [str(path.relative_to(secrets_root)) for path in deleted]
    return changes


def _give_broker(folder: Folder, changes: Changes) -> None:
    """Mosquitto's volume is Mosquitto's; whatever provisioning writes there later has the folder's owner."""
    give(folder.broker, MOSQUITTO, 0o700)
    for path in sorted(folder.broker.iterdir()):
        relative = str(path.relative_to(folder.root))
        if give(path, MOSQUITTO) and relative not in changes.written:
            changes.written.append(relative)


def _contents(site: Site, folder: Folder, changes: StackChanges) -> dict[str, dict[str, bytes | None]]:
    """The files of each volume; None: a file that is not to be there."""
    kept = {
        name: _random(folder, name, changes.authority)
        for name in ("influxdb-admin-password", "influxdb-admin-token", "grafana-admin-password")
    }
    return {
        **{name: _identity(folder, name, changes.volumes) for name in participants(site)},
        "influxdb": {
            "admin-password": kept["influxdb-admin-password"],
            "admin-token": kept["influxdb-admin-token"],
        },
        "init-history": {
            "admin-password": kept["influxdb-admin-password"],
            "admin-token": kept["influxdb-admin-token"],
        },
        "grafana": {"admin-password": kept["grafana-admin-password"]},
    }


def _random(folder: Folder, name: str, changes: Changes) -> bytes:
    path = folder.secret(name)
    content = files.read(path)
    if content is None:
        content = secrets.token_urlsafe(SECRET_BYTES).encode()
        files.write(path, content)
        changes.written.append(str(path.relative_to(folder.root)))
    return content


def _identity(folder: Folder, name: str, changes: Changes) -> dict[str, bytes | None]:
    """Certificate and key, as far as they are to be given."""
    authority = files.read(folder.ca_certificate)
    if name in load_register(folder).barred:
        changes.notes.append(f"{name} is revoked, and its volume has no certificate")
        return {"ca.crt": authority, "tls.crt": None, "tls.key": None}
    certificate, key = files.read(folder.certificate(name)), files.read(folder.key(name))
    if key is None:
        changes.notes.append(f"{name}: its key was handed over and is not here; its volume is left as it is")
        return {}
    return {"ca.crt": authority, "tls.crt": certificate, "tls.key": key}


def _provisioning(volume: Path, provisioning: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """Data source and dashboards of this version of the program; what an older one had besides goes."""
    wanted = {f"{_PROVISIONING}/{relative}": content for relative, content in provisioning.items()}
    there = (path for path in (volume / _PROVISIONING).rglob("*") if path.is_file())
    return {**{str(path.relative_to(volume)): None for path in there}, **wanted}
