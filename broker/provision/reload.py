"""Tells a Mosquitto on this machine to read its files anew."""

import os
import signal
from pathlib import Path

from schemas.errors import Code, InputError


def check_mosquitto(pid: int) -> None:
    """Raises InputError for a process that is no Mosquitto: to most others SIGHUP means to end."""
    if not Path("/proc/self").exists():
        return
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        raise InputError.one("--pid", "there is no process of this number", pid, code=Code.NOT_FOUND) from None
    if Path(program).name != "mosquitto":
        raise InputError.one(
            "--pid", f"is no Mosquitto but {program or 'a part of the system'}", pid, code=Code.FOREIGN
        )


def reload_mosquitto(pid: int) -> None:
    """SIGHUP. Raises InputError for a process that is no Mosquitto, and one that may not be told."""
    check_mosquitto(pid)
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise InputError.one("--pid", f"cannot be told: {error.strerror}", pid, code=Code.PERMISSION) from None
