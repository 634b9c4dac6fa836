"""Reading of files up to a bound: a device that never ends, or a bomb, is a fault instead of the memory's end."""

import gzip
import io
import zlib
from pathlib import Path

from schemas.errors import Code, InputError

MAX_TEXT_BYTES = 4 * 2**20
"""Most bytes of a site description."""
MAX_RESOLVED_BYTES = 256 * 2**20
"""Most bytes of a resolved site, which has its profiles in it."""
MAX_TABLE_BYTES = 64 * 2**20
"""Most bytes of a table, unpacked."""


def read_bytes(path: Path, most: int) -> bytes:
    """Raises InputError for what is no regular file, cannot be read, or holds more than ``most`` bytes."""
    try:
        if path.exists() and not path.is_file():
            raise InputError.one(str(path), "is not a regular file", code=Code.UNREADABLE)
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        code = Code.NOT_FOUND if isinstance(error, FileNotFoundError) else Code.UNREADABLE
        raise InputError.one(str(path), f"cannot be read: {error.strerror}", code=code) from None
    except ValueError as error:  # a NUL in the name
        raise InputError.one(str(path), f"cannot be read: {error}", code=Code.UNREADABLE) from None
    return _within(raw, most, path, "")


def read_unpacked(path: Path, most: int) -> bytes:
    """As `read_bytes`, of a file that is unpacked if its name ends in ``.gz``."""
    raw = read_bytes(path, most)
    if path.suffix != ".gz":
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            unpacked = file.read(most + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError.one(str(path), "is not a gzip file, though its name ends in .gz", code=Code.FORMAT) from None
    return _within(unpacked, most, path, " when it is unpacked")


def _within(raw: bytes, most: int, path: Path, when: str) -> bytes:
    if len(raw) > most:
        what = f"is larger than {most // 2**20} MiB{when}, the most that is read"
        raise InputError.one(str(path), what, code=Code.RANGE)
    return raw
