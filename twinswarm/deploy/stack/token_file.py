"""The file in which a service finds its token for InfluxDB."""

import os
from dataclasses import dataclass
from pathlib import Path

from broker.provision import files
from schemas.errors import Code, InputError
from services.influx.server import InfluxServer
from services.influx.tokens import renewed_token
from twinswarm.deploy.stack.accounts import ROOT, Account
from twinswarm.deploy.stack.volume import FILE, give

_HIGHEST_UID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class TokenFile:
    """``owner`` None: whoever the folder belongs to when root writes it, else the one who writes it."""

    path: Path
    owner: Account | None
    write: bool

    def keep(self, server: InfluxServer, bucket: str) -> list[str]:
        """Puts a token there unless the one that is there works. Returns what was done.

        Raises InputError for what cannot be written, and InfluxError.
        """
        held = files.read(self.path)
        text = None if held is None else held.decode(errors="replace").strip()
        new = renewed_token(server, bucket, str(self.path), text, write=self.write)
        if new is not None:
            files.write(self.path, new.encode(), FILE)
        given = give(self.path, self.owner or _owner_of(self.path), FILE)
        if new is not None:
            return [f"made a token that {'writes' if self.write else 'reads'}, in {self.path}"]
        return [f"gave {self.path} its owner and mode again"] if given else []


def parse_token_file(option: str, text: str, *, write: bool) -> TokenFile:
    """Reads ``FILE[:UID]``; the group has the same number. Raises InputError."""
    path, colon, number = text.rpartition(":")
    if not colon:
        path, number = text, ""
    if not path or (colon and not (number.isdecimal() and int(number) <= _HIGHEST_UID)):
        raise InputError.one(option, "is to be FILE or FILE:UID, the number of an account", text, code=Code.FORMAT)
    if not number:
        return TokenFile(Path(path), None, write)
    uid = int(number)
    if os.geteuid() not in (ROOT.uid, uid):
        raise InputError.one(option, "only root can give a file to another account", text, code=Code.PERMISSION)
    return TokenFile(Path(path), Account(uid, uid), write)


def _owner_of(path: Path) -> Account:
    status = path.stat()
    return Account(status.st_uid, status.st_gid)
