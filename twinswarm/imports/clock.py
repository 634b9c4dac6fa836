"""Times of a file as seconds of a clock, and clocks as UTC.

Where the clock of a zone shows an hour twice, the first time in the file is summer time, the second one standard time.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timezone, tzinfo
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.dates import DST, HALF, date_order, fields_of, form_of, offsets_of, seconds_of, unreadable
from twinswarm.imports.notes import Notes, some
from twinswarm.imports.options import DateOrder, MissingHour, Options

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_SPAN = re.compile(r"(.*\d[^\d-]*?)\s+(?:-|\N{EN DASH}|to|bis|a)\s+(.*)")
_SERIAL = re.compile(r"\d{5}(?:[.,]\d+)?")
_EPOCH = re.compile(r"(?:\d{10}|\d{13}|1\d{15}|1\d{18})(?:\.0+)?")
"""Seconds, milliseconds, microseconds or nanoseconds since 1970; the longer ones until 2033."""
_COUNTED = {10: ("seconds", 1.0), 13: ("milliseconds", 1e3), 16: ("microseconds", 1e6), 19: ("nanoseconds", 1e9)}
"""The unit of times by their digits, and how many are a second."""
_DATE_HOUR = re.compile(r"(?:199\d|20\d\d)(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-4])")
"""Year, month, day and hour; as seconds since 1970 they would lie beyond 2033."""
_EXCEL_EPOCH_S = int(datetime(1899, 12, 30, tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class Clock:
    """``local_s``: seconds since 1970 of the clock that the file shows; ``offset_s``: its offset from UTC, NaN where
    the file does not say it."""

    local_s: "np.ndarray"
    offset_s: "np.ndarray"
    span_s: int | None = None
    """Length of the spans, where each time is one."""

    @property
    def zoned(self) -> bool:
        """Whether every time has its offset."""
        import numpy as np

        return bool(np.isfinite(self.offset_s).all())

    def only(self, which: "np.ndarray") -> "Clock":
        """The times of a mask."""
        return replace(self, local_s=self.local_s[which], offset_s=self.offset_s[which])


def looks_like_times(cells: "pd.Series") -> bool:
    """Whether a column is of dates or times of day."""
    filled = cells[cells != ""].head(200)
    if filled.empty:
        return False
    first = filled.str.replace(_SPAN, r"\1", regex=True)
    dated = first.apply(lambda cell: form_of(cell) is not None)
    return bool(dated.mean() > 0.7 or first.str.fullmatch(_EPOCH).mean() > 0.9)


def looks_like_hours(cells: "pd.Series") -> bool:
    """Whether a column is of times of day alone."""
    filled = cells[cells != ""].head(200)
    return len(filled) > 0 and bool(
        filled.str.fullmatch(rf"\d{{1,2}}:\d{{2}}(:\d{{2}})?( ?{HALF})?( ?-.*)?").mean() > 0.9
    )


def are_halves(cells: "pd.Series") -> bool:
    """Whether a column is of AM and PM alone."""
    filled = cells[cells != ""]
    return len(filled) > 0 and bool(filled.str.fullmatch(HALF).all())


def read_clock(cells: "pd.Series", where: str, first_row: int, options: Options, notes: Notes) -> Clock:
    """Raises InputError naming the first times that cannot be read, or how dates may be read in two ways."""
    import numpy as np

    if cells.empty:
        raise InputError.one(where, "has no times", code=Code.EMPTY)
    sample = cells.iloc[0]
    if _DATE_HOUR.fullmatch(sample) and cells.str.fullmatch(_DATE_HOUR).all():
        notes.read.append("times are year, month, day and hour, as YYYYMMDDHH")
        cells = cells + "00"
        sample = cells.iloc[0]
    if _EPOCH.fullmatch(sample):
        return _counted(cells, where, first_row, notes)
    if _SERIAL.fullmatch(sample):
        days = _floats(cells, where, first_row)
        local = np.rint(days * 86_400).astype("int64") + _EXCEL_EPOCH_S
        notes.read.append("times are a spreadsheet's numbers of days")
        return Clock(local, np.full(len(local), np.nan))
    starts, ends = cells, None
    if _SPAN.fullmatch(sample) and form_of(_SPAN.sub(r"\1", sample)):
        parts = cells.str.extract(_SPAN)
        starts, ends = parts[0].fillna(cells), parts[1]
    fields = fields_of(starts, where, first_row)
    order = date_order(fields, starts, where, options, notes) if "a" in fields else None
    local = seconds_of(fields, order, starts, where, first_row)
    offset = offsets_of(fields)
    if "mark" in fields and fields["mark"].notna().any():
        _note_marks(fields["mark"].str.strip(), local, cells, where, first_row, notes)
    return Clock(local, offset, _span(ends, local, order, where, first_row))


def _note_marks(
    marks: "pd.Series", local_s: "np.ndarray", cells: "pd.Series", where: str, first_row: int, notes: Notes
) -> None:
    """Notes the marks that tell the two hours of the end of summer time apart.

    Raises InputError where the mark DST stands behind the second one: in ERCOT's files it means the repeated hour.
    """
    import pandas as pd

    dst = marks == DST
    if not dst.any():
        notes.read.append("the marks A and B tell the two hours of the end of summer time apart")
        return
    notes.read.append(f"{int(dst.sum())} times have the mark DST, of summer time")
    notes.assumed.append(
        "where the clock shows an hour twice, times without the mark DST are standard time (--time-zone)"
    )
    by_time = pd.Series(dst.to_numpy(), index=cells.index).groupby(local_s)
    first = by_time.transform("last" if local_s[0] > local_s[-1] else "first")
    late = (by_time.transform("nunique") > 1) & dst & ~first
    if late.any():
        index, cell = next(iter(cells[late].items()))
        what = (
            "has the mark DST, and the same time without it comes before; summer time is the first of the two. Put the "
            "rows in order, or leave the marks away: then the order of the rows tells the two hours apart"
        )
        raise InputError.one(f"{where}: row {int(str(index)) + first_row}", what, cell, code=Code.CONFLICT)


def _span(
    ends: "pd.Series | None", local: "np.ndarray", order: DateOrder | None, where: str, first_row: int
) -> int | None:
    """The usual length of the spans [s]."""
    import numpy as np

    if ends is None:
        return None
    text = ends.iloc[:500].fillna("")
    hours_alone = text.str.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?")
    if hours_alone.all():
        parts = text.str.split(":", expand=True).astype(float)
        until = (parts[0] * 3600 + parts[1] * 60).to_numpy()
        lengths = (until - local[: len(text)] % 86_400) % 86_400
    else:
        fields = fields_of(text, where, first_row)
        lengths = seconds_of(fields, order, text, where, first_row) - local[: len(text)]
    values, counts = np.unique(lengths, return_counts=True)
    return int(values[counts.argmax()]) or None


def _counted(cells: "pd.Series", where: str, first_row: int, notes: Notes) -> Clock:
    """Raises InputError for numbers that are not all of the same unit."""
    import numpy as np

    digits = cells.str.extract(r"^(\d*)")[0].str.len()
    if (odd := digits != digits.iloc[0]).any():
        raise unreadable(cells, odd.to_numpy(), where, first_row)
    unit, per_second = _COUNTED[int(digits.iloc[0])]
    notes.read.append(f"times are {unit} since 1970")
    seconds = np.rint(_floats(cells, where, first_row) / per_second).astype("int64")
    return Clock(seconds, np.zeros(len(seconds)))


def _floats(cells: "pd.Series", where: str, first_row: int) -> "np.ndarray":
    import numpy as np
    import pandas as pd

    values: np.ndarray = pd.to_numeric(cells.str.replace(",", ".", regex=False), errors="coerce").to_numpy(dtype=float)
    bad = ~np.isfinite(values)
    if bad.any():
        raise unreadable(cells, bad, where, first_row)
    return values


def to_utc(clock: Clock, zone: tzinfo, where: str, options: Options, notes: Notes) -> tuple["np.ndarray", "np.ndarray"]:
    """Seconds of UTC, and which rows have a time: those of an hour that there is not may be dropped.

    Raises InputError for times that the zone's clock never shows.
    """
    import numpy as np
    import pandas as pd

    if clock.zoned:
        return clock.local_s - clock.offset_s.astype("int64"), np.ones(len(clock.local_s), dtype=bool)
    _check_marks(clock, zone, where)
    said = np.isfinite(clock.offset_s)
    if isinstance(zone, timezone):
        shift = int(zone.utcoffset(None).total_seconds())
        offset = np.where(said, np.nan_to_num(clock.offset_s, posinf=0, neginf=0), shift).astype("int64")
        return clock.local_s - offset, np.ones(len(offset), dtype=bool)
    naive = pd.DatetimeIndex(clock.local_s.astype("datetime64[s]"))
    twice = _shown_twice(naive, zone)
    second = _second_turns(clock.local_s, twice)
    summer = np.where(np.isposinf(clock.offset_s), True, np.where(np.isneginf(clock.offset_s), False, ~second))
    placed = naive.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
    here = ~placed.isna()
    utc = np.where(here, placed.as_unit("s").asi8, 0)
    utc = np.where(said, clock.local_s - np.where(said, clock.offset_s, 0).astype("int64"), utc)
    here = here | said
    if not here.all():
        _no_such_hour(naive[~here], zone, where, options, notes)
    _note_twice(naive, twice & ~said, ~summer, notes)
    return utc, here


def _check_marks(clock: Clock, zone: tzinfo, where: str) -> None:
    """Raises InputError for times with a mark of summer time in a zone that has none then."""
    import numpy as np

    marked = np.isposinf(clock.offset_s)
    if not marked.any():
        return
    wrong = clock.local_s[marked]
    if not isinstance(zone, timezone):
        offset = offsets_at(wrong, zone)
        years = wrong.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
        summer = np.zeros(len(wrong), dtype=bool)
        for year in np.unique(years):
            least = min(_offset_s(datetime(int(year), month, 1, tzinfo=zone)) for month in (1, 7))
            summer |= (years == year) & (offset > least)
        wrong = wrong[~summer]
    if len(wrong):
        names = some([f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%d %H:%M}" for time in wrong])
        what = f"{zone} has no summer time then, and the mark behind the time says so: {names}; say --time-zone"
        raise InputError.one(where, what, code=Code.CONFLICT)


def _offset_s(time: datetime) -> float:
    offset = time.utcoffset()
    return 0.0 if offset is None else offset.total_seconds()


def offsets_at(local_s: "np.ndarray", zone: tzinfo) -> "np.ndarray":
    """Offsets from UTC [s]: of summer time where the clock shows an hour twice; a time that it leaves out is taken for
    the first one after it."""
    import numpy as np
    import pandas as pd

    naive = pd.DatetimeIndex(local_s.astype("datetime64[s]"))
    utc = naive.tz_localize(zone, ambiguous=[True] * len(naive), nonexistent="shift_forward")
    return np.asarray(local_s - utc.as_unit("s").asi8)


def left_out(local_s: "np.ndarray", zone: tzinfo) -> "np.ndarray":
    """Which times the clock of a zone leaves out, as summer time begins."""
    import numpy as np
    import pandas as pd

    if isinstance(zone, timezone):
        return np.zeros(len(local_s), dtype=bool)
    naive = pd.DatetimeIndex(local_s.astype("datetime64[s]"))
    return np.asarray(naive.tz_localize(zone, ambiguous=[True] * len(naive), nonexistent="NaT").isna())


def _shown_twice(naive: "pd.DatetimeIndex", zone: tzinfo) -> "np.ndarray":
    """Which times are of an hour that the clock shows twice."""
    import numpy as np

    first = naive.tz_localize(zone, ambiguous=[True] * len(naive), nonexistent="shift_forward")
    return np.asarray(first != naive.tz_localize(zone, ambiguous=[False] * len(naive), nonexistent="shift_forward"))


def _second_turns(local_s: "np.ndarray", twice: "np.ndarray") -> "np.ndarray":
    """Which rows of such times are the second ones, in the order of the file.

    Where the other times of the day are there several times too, as in a file that holds another one again, so often is
    one time.
    """
    import numpy as np
    import pandas as pd

    second = np.zeros(len(local_s), dtype=bool)
    for day in np.unique(local_s[twice] // 86_400):
        today = np.flatnonzero(local_s // 86_400 == day)
        times, mine = pd.Series(local_s[today]), twice[today]
        others = times[~mine].value_counts()
        often = int(others.median()) if len(others) else 1
        descending = local_s[0] > local_s[-1]
        turn = times.groupby(times).cumcount(ascending=not descending).to_numpy()
        beside = bool((times.diff()[~mine] == 0).any())
        repeated = (times.groupby(times).transform("size") <= often).to_numpy() & (often > 1)
        second[today] = mine & ~repeated & ((turn // often if beside else turn) % 2 == 1)
    return second


def _no_such_hour(times: "pd.DatetimeIndex", zone: tzinfo, where: str, options: Options, notes: Notes) -> None:
    names = some([f"{time:%Y-%m-%d %H:%M}" for time in times])
    if options.missing_hour is MissingHour.DROP:
        notes.repaired.append(f"{len(times)} rows of an hour that summer time leaves out were dropped: {names}")
        return
    what = (
        f"{zone} has no such time, because summer time begins then: {names}. If the file's clock keeps standard time "
        "all year, say --time-zone UTC+01:00 (or what it is); if these rows are to be left out, --missing-hour drop"
    )
    raise InputError.one(where, what, code=Code.CONFLICT)


def _note_twice(naive: "pd.DatetimeIndex", twice: "np.ndarray", second: "np.ndarray", notes: Notes) -> None:
    """Notes how the hours that the clock shows twice were read."""
    if not twice.any():
        return
    days = some(sorted({f"{time:%Y-%m-%d}" for time in naive[twice]}))
    hour = "the hour that the clock shows twice"
    if set(naive[twice & second]) == set(naive[twice]):
        notes.read.append(f"{hour} is there twice, summer time first: {days}")
    else:
        notes.assumed.append(f"of {hour} the file has one, taken for summer time; the other is a hole: {days}")


def local_instants(clock: Clock, zone: tzinfo, where: str, notes: Notes) -> "np.ndarray":
    """Seconds of UTC of single events, which follow one another in no steps.

    An event in the hour that the clock shows twice is taken for summer time, one in the hour that there is not is moved
    to its end.
    """
    import numpy as np
    import pandas as pd

    if clock.zoned:
        return np.asarray(clock.local_s - clock.offset_s.astype("int64"))
    _check_marks(clock, zone, where)
    said = np.isfinite(clock.offset_s)
    with_offset = clock.local_s - np.where(said, clock.offset_s, 0).astype("int64")
    if isinstance(zone, timezone):
        return np.asarray(np.where(said, with_offset, clock.local_s - int(zone.utcoffset(None).total_seconds())))
    naive = pd.DatetimeIndex(clock.local_s.astype("datetime64[s]"))
    placed = naive.tz_localize(zone, ambiguous=~np.isneginf(clock.offset_s), nonexistent="shift_forward")
    if (twice := int((_shown_twice(naive, zone) & np.isnan(clock.offset_s)).sum())) > 0:
        notes.assumed.append(f"{twice} times in the hour that the clock shows twice are summer time")
    return np.asarray(np.where(said, with_offset, placed.as_unit("s").asi8))
