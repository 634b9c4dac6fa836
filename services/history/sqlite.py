"""The embedded history: one file, read also while it is written and when it was cut off."""

import sqlite3
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from schemas.errors import Code, InputError
from schemas.topics import Channel
from services.history.reader import NEIGHBOUR, STANDING, Window
from services.history.store import is_empty, require_ours, to_us
from services.history.tables import TableHistory

_SCHEME = "sqlite:"
INFLUX_SCHEMES = ("influxdb://", "influxdb+https://")


def history_path(url: str) -> Path:
    """The file of ``sqlite:PATH``. Raises InputError for anything else."""
    if not url.startswith(_SCHEME) or not url.removeprefix(_SCHEME):
        raise InputError.one(
            "history", f"is to be {_SCHEME}PATH or influxdb://host:port/org/bucket", url, code=Code.FORMAT
        )
    return Path(url.removeprefix(_SCHEME))


class SqliteHistory(TableHistory):
    """Reads one file."""

    def __init__(self, path: Path, window: Window | None = None) -> None:
        """Raises InputError naming the file."""
        self.path = path
        self.window = window
        self._file = path
        if not path.is_file():
            raise InputError.one(str(path), "there is no history here", code=Code.NOT_FOUND)
        try:
            self._connection = self._open()
        except sqlite3.Error as error:
            raise InputError.one(str(path), f"cannot be read as a history: {error}", code=Code.FORMAT) from None

    def _open(self) -> sqlite3.Connection:
        name = f"file:{quote(str(self._file.absolute()))}?mode=ro"
        connection = sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)
        try:
            self._check(connection)
        except sqlite3.OperationalError:
            # On a medium that cannot be written there is no place for the index of the write-ahead log.
            connection.close()
            connection = sqlite3.connect(f"{name}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
            self._check(connection)
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        try:
            if is_empty(connection):
                raise InputError.one(str(self.path), "holds no history yet", code=Code.NOT_FOUND)
            require_ours(connection, self._file)
        except InputError:
            connection.close()
            raise

    def within(self, start: datetime, end: datetime) -> "SqliteHistory":
        return SqliteHistory(self._file, Window(start, end))

    def _need(self, run: str, channel: Channel | None = None) -> None:
        """To be called before messages of that channel (None: of all) are read.

        Raises InputError when some of them are in InfluxDB alone.
        """
        if channel not in STANDING and self._is_pruned(run):
            what = "of this run older messages were deleted here after they had been forwarded: read it from InfluxDB"
            raise InputError.one(str(self.path), what, run, code=Code.EMPTY)

    def _is_pruned(self, run: str) -> bool:
        ((version,),) = self._rows("PRAGMA user_version")
        if version < 2:
            return False
        ((before_us,),) = self._rows("SELECT pruned FROM run WHERE run = :run", run=run)
        if before_us <= 1 or self.window is None:
            return bool(before_us)
        return to_us(self.window.start - NEIGHBOUR) < int(before_us)
