"""Whether the disk of the history runs low: an alarm while there is still time to do something about it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from schemas.errors import LocalStateError
from schemas.messages import Alarm, Severity

LOW_BYTES = 2**30
"""By default. A day of ten devices that tell every 10 s is some 50 MB, so that days are left."""
_OVER = 1.1
"""Times the limit: from there on the alarm is over, so that it does not come and go around the limit."""


def free_bytes(file: Path) -> int:
    """On the disk of ``file``, for whoever is not root. Raises LocalStateError when its folder is gone."""
    try:
        return shutil.disk_usage(file.parent).free
    except OSError as error:
        raise LocalStateError(f"{file}: the disk of the history cannot be looked at: {error.strerror}") from None


class DiskWatch:
    """Alarm ``disk_low``: fewer than ``low_bytes`` are free. ``active`` is whether it was last told so."""

    def __init__(self, free: Callable[[], int], low_bytes: int = LOW_BYTES) -> None:
        self._free = free
        self._low_bytes = low_bytes
        self.active = False

    @property
    def metrics(self) -> dict[str, float]:
        """Free space [MiB], and below which the alarm is raised."""
        return {"disk_free_mib": self._free() / 2**20, "disk_low_mib": self._low_bytes / 2**20}

    def look(self) -> Alarm | None:
        """The alarm when it begins or ends; None: nothing changed."""
        free = self._free()
        active = free < (self._low_bytes * _OVER if self.active else self._low_bytes)
        if active == self.active:
            return None
        self.active = active
        text = f"{_mib(free)} are free on the disk of the history, alarm below {_mib(self._low_bytes)}"
        return Alarm(
            code="disk_low",
            severity=Severity.CRITICAL,
            active=active,
            value=float(free),
            limit=float(self._low_bytes),
            text=text if active else f"over: {text}",
        )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
