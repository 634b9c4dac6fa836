"""A device's certificate, packed to be carried to where the device is."""

import io
import tarfile
from pathlib import Path

from broker.provision import files
from broker.provision.identity import certified_hosts
from broker.provision.layout import Folder
from broker.provision.register import load_register
from schemas.errors import Code, InputError
from schemas.topics import PREFIX, Kind, client_id

_README = """\
{name} of site {site}: how to connect

Broker      mqtts://HOST:8883, unless it was given another port; MQTT 3.1.1, TLS 1.2 or newer
HOST        as its certificate names it: {hosts}
Trusted     ca.crt: check the broker's certificate with it, and trust nothing else
Certificate {name}.crt, with its key {name}.key: keep the key where only this device can read it
Identity    the broker takes the user name and the client id {client} from the certificate
Topics      {topics}

What a device sends and obeys: docs/attach-a-device.md and docs/topics.md; `twinswarm schema DIR` writes JSON Schemas.
To see whether it works:

    mosquitto_sub -h HOST -p 8883 --cafile ca.crt --cert {name}.crt --key {name}.key \\
        -t '{prefix}/{site}/clock/+/run' -C 1
"""


def export_client(root: Path, name: str, out: Path) -> None:
    """Writes a tar archive, for its owner alone, with ca.crt, the certificate, its key and README.txt.

    Raises InputError: no such device, its key is not here, or ``out`` is there already.
    """
    if files.exists(out):
        raise InputError.one("--out", "is there already and is not overwritten", str(out), code=Code.EXISTS)
    files.write(out.absolute(), packed_client(root, name))


def packed_client(root: Path, name: str) -> bytes:
    """The archive itself. Raises InputError: no such device, or its key is not here."""
    folder = Folder(root)
    register = load_register(folder)
    if name not in register.clients:
        known = ", ".join(sorted(register.clients))
        raise InputError.one(
            "DEVICE", f"has no certificate; `provision add` makes one. There are {known}", name, code=Code.UNKNOWN
        )
    contents = {"README.txt": _readme(folder, register.site, name, register.kinds[name]).encode()}
    for file, path in (
        ("ca.crt", folder.ca_certificate),
        (f"{name}.crt", folder.certificate(name)),
        (f"{name}.key", folder.key(name)),
    ):
        content = files.read(path)
        if content is None:
            raise InputError.one(str(path), "is not here: it was moved or handed over", code=Code.NOT_FOUND)
        contents[file] = content
    return _tar(name, contents)


def _readme(folder: Folder, site: str, name: str, kind: Kind | None) -> str:
    path = folder.broker / "server.crt"
    server = files.read(path)
    if server is None:
        raise InputError.one(str(path), "is missing; `provision SITE` makes it", code=Code.MISSING)
    topics = f"reads {PREFIX}/{site}/#" if kind is None else f"{PREFIX}/{site}/{kind}/{name}/…"
    return _README.format(
        hosts=", ".join(certified_hosts(server, str(path))),
        name=name,
        client=client_id(site, name),
        site=site,
        topics=topics,
        prefix=PREFIX,
    )


def _tar(name: str, contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file, content in contents.items():
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode = len(content), files.SECRET
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
