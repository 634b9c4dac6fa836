"""A service's volume of secrets: it belongs to the service's account, which alone may read it and nobody may write."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.provision import files
from schemas.errors import Code, InputError
from twinswarm.deploy.stack.accounts import Account

FILE, FOLDER = 0o400, 0o500
_PERMISSIONS = 0o7777


def give(path: Path, owner: Account, mode: int | None = None) -> bool:
    """Makes it the owner's, with this mode (None: as it is). False: it was so already.

    Raises InputError for an account without the right: root itself lacks it in a container without CHOWN and FOWNER.
    """
    try:
        return _give(path, owner, mode)
    except OSError as error:
        raise InputError.one(
            str(path), f"cannot be given to account {owner}: {error.strerror}", code=Code.PERMISSION
        ) from None


def _give(path: Path, owner: Account, mode: int | None) -> bool:
    status = path.stat()
    theirs = (status.st_uid, status.st_gid) == (owner.uid, owner.gid)
    if not theirs:
        os.chown(path, owner.uid, owner.gid)
    as_wanted = mode is None or status.st_mode & _PERMISSIONS == mode
    if not as_wanted:
        assert mode is not None
        path.chmod(mode)
    return not (theirs and as_wanted)


@dataclass(frozen=True, slots=True)
class Volume:
    """``root`` is there already: in the stack it is where the volume is mounted."""

    root: Path
    owner: Account

    def keep(self, contents: Mapping[str, bytes | None]) -> tuple[list[Path], list[Path]]:
        """Writes what lacks or differs and deletes what is None; files that are not named are left alone.

        Returns what it wrote and what it deleted. Raises InputError for what cannot be written.
        """
        self._give_folder(self.root)
        written, deleted = [], []
        for relative, content in sorted(contents.items()):
            path = self.root / relative
            if content is None:
                if files.delete(path):
                    deleted.append(path)
                continue
            for folder in reversed(path.relative_to(self.root).parents):
                self._give_folder(self.root / folder)
            same = files.read(path) == content
            if not same:
                files.write(path, content, FILE)
            if give(path, self.owner, FILE) or not same:
                written.append(path)
        return written, deleted

    def _give_folder(self, path: Path) -> None:
        files.make_folder(path)
        give(path, self.owner, FOLDER)
