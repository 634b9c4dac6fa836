"""Writing secrets: readable by their owner alone from the first byte on, whole or not at all, never over another's.

A file that root writes belongs to the owner of its folder: of Mosquitto's folder, Mosquitto has to be able to read.
"""

import os
from pathlib import Path

from schemas.errors import InputError

SECRET = 0o600
PUBLIC = 0o644
ROOT = 0
_FOLDER = 0o700


def make_folder(path: Path) -> None:
    """Makes it and its parents, for the owner alone. Raises InputError."""
    try:
        path.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError.one(str(path), f"cannot be made: {error.strerror}") from None


def write(path: Path, content: bytes, mode: int = SECRET) -> None:
    """Replaces the file in one step. Raises InputError when it cannot be written."""
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)  # of a run that was killed
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask says
            if os.geteuid() == ROOT:
                folder = path.parent.stat()
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        part.replace(path)
    except OSError as error:
        raise InputError.one(str(path), f"cannot be written: {error.strerror}") from None


def read(path: Path) -> bytes | None:
    """None: there is no such file. Raises InputError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError.one(str(path), f"cannot be read: {error.strerror}") from None


def delete(path: Path) -> bool:
    """False: it was not there. Raises InputError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError.one(str(path), f"cannot be deleted: {error.strerror}") from None
    return True
