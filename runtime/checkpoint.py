"""Checkpoints: a member's state as one value, replaced atomically, locked by its process."""

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Protocol

from schemas.errors import Code, DiskFullError, LocalStateError
from schemas.participant import Json

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk that takes no more: no space, a quota, a limit on the size of files."""


class CheckpointStore(Protocol):
    """Where a member keeps its one checkpoint."""

    def load(self) -> Json | None: ...

    def save(self, value: Json) -> None:
        """Replaces the checkpoint: afterwards either the old or the new value is there, whole."""
        ...

    def clear(self) -> None:
        """Forgets it, if there is one."""
        ...


class NoCheckpoint:
    """For a member whose death ends its life."""

    def load(self) -> Json | None:
        return None

    def save(self, value: Json) -> None:
        pass

    def clear(self) -> None:
        pass


class MemoryCheckpoint:
    """Survives its member, not its process. Keeps text, so that what is read back owes nothing to shared objects."""

    def __init__(self) -> None:
        self._text: str | None = None

    def load(self) -> Json | None:
        return None if self._text is None else json.loads(self._text)

    def save(self, value: Json) -> None:
        self._text = json.dumps(value)

    def clear(self) -> None:
        self._text = None


class FileCheckpoint:
    """One JSON file, written beside and renamed. It survives the process's death, not the machine's: no fsync."""

    def __init__(self, path: Path) -> None:
        """Raises LocalStateError when another process holds it: two lives under one name must not be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._new = path.with_suffix(".new")
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise LocalStateError(
                f"{path} is in use by another process of the same participant", code=Code.IN_USE
            ) from None

    def load(self) -> Json | None:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise LocalStateError(f"{self._path} is not a checkpoint: {error}") from None

    def save(self, value: Json) -> None:
        """Raises DiskFullError when the disk takes no more; then the old value is there."""
        try:
            self._new.write_text(json.dumps(value), encoding="utf-8")  # json.dump takes twice as long
            self._new.replace(self._path)
        except OSError as error:
            if error.errno not in FULL:
                raise
            text = f"{self._path}: the checkpoint cannot be written: {error.strerror}"
            raise DiskFullError(text, self._path.parent) from None

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._lock)
