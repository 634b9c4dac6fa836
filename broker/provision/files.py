"""Writing secrets: readable by their owner alone from the first byte on, whole or not at all, never over another's.

A file that root writes belongs to the owner of its folder: of Mosquitto's folder, Mosquitto has to be able to read.
"""

import errno
import os
from pathlib import Path

from schemas.errors import Code, InputError

SECRET = 0o600
PUBLIC = 0o644
ROOT = 0
_FOLDER = 0o700


def make_folder(path: Path) -> None:
    """Makes it and those of its parents that lack, all for the owner alone. Raises InputError."""
    lacking = []
    try:
        for folder in (path, *path.parents):
            if folder.exists():
                break
            lacking.append(folder)
        # One by one: mkdir(parents=True) would give the mode to the last one only.
        for folder in reversed(lacking):
            folder.mkdir(mode=_FOLDER, exist_ok=True)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise InputError.one(str(path), f"cannot be made: {error.strerror}", code=Code.UNWRITABLE) from None


def part_of(path: Path) -> Path:
    """Where it is written before it takes its place."""
    return path.with_name(f".{path.name}.part")


def write(path: Path, content: bytes, mode: int = SECRET) -> None:
    """Replaces the file in one step. Raises InputError when it cannot be written."""
    make_folder(path.parent)
    part = part_of(path)
    try:
        part.unlink(missing_ok=True)  # of a run that was killed
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask says
            give_to_owner_of_folder(descriptor, path)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        part.replace(path)
    except OSError as error:
        raise InputError.one(str(path), f"cannot be written: {error.strerror}", code=Code.UNWRITABLE) from None


def give_to_owner_of_folder(descriptor: int, path: Path) -> None:
    """Gives a file that root made to the folder's owner; others own their files already. Raises OSError."""
    if os.geteuid() == ROOT:
        folder, file = path.parent.stat(), os.fstat(descriptor)
        if (file.st_uid, file.st_gid) != (folder.st_uid, folder.st_gid):
            os.fchown(descriptor, folder.st_uid, folder.st_gid)


def read(path: Path) -> bytes | None:
    """None: there is no such file. Raises InputError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError.one(str(path), f"cannot be read: {error.strerror}", code=Code.UNREADABLE) from None


def exists(path: Path) -> bool:
    """Raises InputError when that cannot be told, as below a folder that this account may not enter."""
    try:
        return path.exists()
    except OSError as error:
        raise InputError.one(str(path), f"cannot be reached: {error.strerror}", code=Code.UNREADABLE) from None


def delete(path: Path) -> bool:
    """False: it was not there. Raises InputError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError.one(str(path), f"cannot be deleted: {error.strerror}", code=Code.UNWRITABLE) from None
    return True
