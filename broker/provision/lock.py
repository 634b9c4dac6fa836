"""One command at a time on a site's folder: two at once would each save a register that lacks what the other did."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.provision import files
from schemas.errors import Code, InputError

NAME = "lock"
"""Name of the lock's file in ``authority/``. It is empty and stays: who deletes it lets two have the lock at once."""
WAIT_S = 10.0
"""More than any command takes that is not waiting itself."""
_LOOK_EVERY_S = 0.05

_held: set[Path] = set()


@contextmanager
def locked(folder: Path, wait_s: float | None = None) -> Iterator[None]:
    """Alone in ``folder``, which is there. Whoever of this process has the lock already may take it again.

    The system gives it back when a process ends, however it ends. Raises InputError when another command has it for
    longer than ``wait_s`` (None: `WAIT_S`).
    """
    path = folder.resolve() / NAME
    if path in _held:
        yield
        return
    with _open(path) as descriptor:
        _await(descriptor, path, WAIT_S if wait_s is None else wait_s)
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)


@contextmanager
def _open(path: Path) -> Iterator[int]:
    try:
        # To write, though nobody does: over NFS only a file that is open so can be locked.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, files.SECRET)
    except OSError as error:
        raise InputError.one(str(path), f"cannot be opened: {error.strerror}", code=Code.UNREADABLE) from None
    try:
        try:
            files.give_to_owner_of_folder(descriptor, path)
        except OSError as error:
            raise InputError.one(
                str(path), f"cannot be given to its folder's owner: {error.strerror}", code=Code.PERMISSION
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def _await(descriptor: int, path: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                what = f"another command of provision works here and did not end within {wait_s:g} s; try again later"
                raise InputError.one(str(path), what, code=Code.IN_USE) from None
            time.sleep(_LOOK_EVERY_S)
        except OSError as error:
            raise InputError.one(str(path), f"cannot be locked: {error.strerror}", code=Code.IN_USE) from None
        else:
            return
