"""The bytes of a file, unpacked, within bounds."""

import gzip
import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import Code, InputError
from sites.loader.bounded import read_bytes

MAX_BYTES = 256 * 2**20
"""Most bytes of a file, unpacked."""
_ZIP = b"PK\x03\x04"
_ZIP_WITHOUT_FILES = b"PK\x05\x06"
_GZIP = b"\x1f\x8b"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_WORKBOOK = "xl/workbook.xml"


BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
"""What the library raises for an archive that is damaged, locked, or packed in a way that it does not know."""


@dataclass(frozen=True)
class RawFile:
    """``name`` is that of the packed member where the file is an archive."""

    path: Path
    name: str
    raw: bytes
    sha256: str
    """Of the file as it lies on the disk."""

    @property
    def workbook(self) -> bool:
        """Whether it is an Excel file."""
        return self.raw[:4] in (_ZIP, _OLD_EXCEL)

    @property
    def begin(self) -> str:
        """The first characters, whatever the encoding, to recognise a shape by."""
        if self.raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return self.raw[:4096].decode("utf-16", "replace")
        return self.raw[:4096].decode("utf-8-sig", "replace")

    def refuse(self, what: str, received: object = None, *, code: Code = Code.FORMAT) -> InputError:
        """The error of this file, to be raised."""
        return InputError.one(str(self.path), what, received, code=code)


def open_raw(path: Path) -> RawFile:
    """Raises InputError for what cannot be read, is larger than `MAX_BYTES`, or is an archive of several files."""
    raw = packed = read_bytes(path, MAX_BYTES)
    name = path.name
    if packed[:2] == _GZIP:
        raw = _gunzipped(path, packed)
        name = name.removesuffix(path.suffix) if path.suffix.lower() == ".gz" else name
    elif packed[:4] in (_ZIP, _ZIP_WITHOUT_FILES):
        name, raw = _unzipped(path, packed)
    if not raw.strip(b"\x00 \r\n\t"):
        raise InputError.one(str(path), "holds nothing but blanks", code=Code.EMPTY)
    return RawFile(path, name, raw, hashlib.sha256(packed).hexdigest())


def _gunzipped(path: Path, packed: bytes) -> bytes:
    """All members of the file, one after the other, as gzip itself unpacks it."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            return _bounded(path, file.read(MAX_BYTES + 1))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        what = f"begins as gzip, but cannot be unpacked: {error}"
        raise InputError.one(str(path), what, code=Code.FORMAT) from None


def _unzipped(path: Path, packed: bytes) -> tuple[str, bytes]:
    """The only file of an archive; a workbook, which is an archive as well, as it is."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir() and not _hidden(one.filename)]
            if sum(one.file_size for one in members) > MAX_BYTES:
                raise _too_large(path)
            if any(one.filename == _WORKBOOK for one in members):
                return path.name, packed
            if not members:
                raise InputError.one(str(path), "is an archive without files", code=Code.EMPTY)
            if len(members) != 1:
                names = ", ".join(one.filename for one in members[:20])
                what = f"is an archive of {len(members)} files, and one is read at a time; unpack it: {names}"
                raise InputError.one(str(path), what, code=Code.FORMAT)
            if members[0].flag_bits & 1:
                raise InputError.one(str(path), "is an archive with a password; unpack it", code=Code.UNREADABLE)
            with archive.open(members[0]) as member:
                return members[0].filename, _bounded(path, member.read(MAX_BYTES + 1))
    except BROKEN_ARCHIVE as error:
        what = f"begins as a zip archive, but cannot be unpacked: {error}"
        raise InputError.one(str(path), what, code=Code.FORMAT) from None


def _hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _bounded(path: Path, raw: bytes) -> bytes:
    if len(raw) > MAX_BYTES:
        raise _too_large(path)
    return raw


def _too_large(path: Path) -> InputError:
    what = f"is larger than {MAX_BYTES // 2**20} MiB when it is unpacked, the most that is read"
    return InputError.one(str(path), what, code=Code.RANGE)
