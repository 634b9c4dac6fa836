"""The days of a year on disk: what was lived through so far, so that a year that was killed goes on from there."""

import dataclasses
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from schemas.errors import Code, InputError
from twinswarm.simulation.runs import new_run_id
from twinswarm.study.day import Day
from twinswarm.year.order import YearOrder

FILE = "year.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS day (variant TEXT, number INTEGER, record BLOB NOT NULL, PRIMARY KEY (variant, number));
CREATE TABLE IF NOT EXISTS seam (variant TEXT PRIMARY KEY, days INTEGER NOT NULL, state BLOB NOT NULL);
"""


class YearStore:
    """One file, written by one process. Days and the state after them are written together or not at all."""

    def __init__(self, folder: Path, order: YearOrder, run: str, began: datetime, *, fresh: bool = False) -> None:
        """``run``, ``began``: of a year that begins now; one that goes on keeps its own.

        Days of another order (site, time, program) are deleted: ``replaced`` says so. Raises InputError for a file that
        is something else, cannot be written, or is being written by another process.
        """
        self.path = folder / FILE
        self.replaced = False
        try:
            self._database = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
            self._begin(order.fingerprint(), run, began, fresh=fresh)
        except sqlite3.DatabaseError as error:
            busy = "locked" in str(error)
            what = "another process writes this year" if busy else f"cannot be used for the year's days: {error}"
            code = Code.CONFLICT if busy else Code.UNREADABLE
            raise InputError.one("--out", what, str(self.path), code=code) from None

    def _begin(self, fingerprint: str, run: str, began: datetime, *, fresh: bool) -> None:
        meta = dict(self._database.execute("SELECT key, value FROM meta"))
        other = meta.get("fingerprint") not in (None, fingerprint)
        if other or fresh or not meta:
            self.replaced = other
            meta = {"fingerprint": fingerprint, "run": run, "began": began.isoformat()}
            with self._transaction():
                for table in ("meta", "day", "seam"):
                    self._database.execute(f"DELETE FROM {table}")  # noqa: S608
                self._database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        self.run, self.began = meta["run"], datetime.fromisoformat(meta["began"])

    def progress(self, variant: str) -> tuple[int, str | None]:
        """How many days there are, and the state after them."""
        row = self._database.execute("SELECT days, state FROM seam WHERE variant = ?", (variant,)).fetchone()
        return (0, None) if row is None else (row[0], zlib.decompress(row[1]).decode())

    def add(self, variant: str, first: int, days: Sequence[Day], seam: str) -> None:
        """Days from number ``first`` on, and the state after the last of them."""
        records = [(variant, first + shift, _packed(day)) for shift, day in enumerate(days)]
        state = zlib.compress(seam.encode(), 1)
        with self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO day VALUES (?, ?, ?)", records)
            self._database.execute("INSERT OR REPLACE INTO seam VALUES (?, ?, ?)", (variant, first + len(days), state))

    def days(self, variant: str) -> Iterator[Day]:
        """In order."""
        rows = self._database.execute("SELECT record FROM day WHERE variant = ? ORDER BY number", (variant,))
        for (record,) in rows:
            yield _unpacked(record)

    def close(self) -> None:
        self._database.close()

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")


@contextmanager
def kept_store(folder: Path, order: YearOrder, *, fresh: bool = False) -> Iterator[YearStore]:
    """The store of a year that begins now, or goes on with what the folder has of it."""
    now = datetime.now(UTC)
    with closing(YearStore(folder, order, new_run_id(now), now, fresh=fresh)) as store:
        yield store


@contextmanager
def passing_store(order: YearOrder) -> Iterator[YearStore]:
    """A store that is gone afterwards, for days with which nobody goes on."""
    with TemporaryDirectory(prefix="twinswarm-") as folder, kept_store(Path(folder), order) as store:
        yield store


def _packed(day: Day) -> bytes:
    """JSON gives floats back to the last bit."""
    fields = {field.name: getattr(day, field.name) for field in dataclasses.fields(day)}
    fields["times"] = [int(time.timestamp()) for time in day.times]
    return zlib.compress(json.dumps(fields).encode(), 1)


def _unpacked(record: bytes) -> Day:
    fields: dict[str, Any] = json.loads(zlib.decompress(record))
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Day(**fields | {"times": tuple(datetime.fromtimestamp(second, UTC) for second in fields["times"])})
