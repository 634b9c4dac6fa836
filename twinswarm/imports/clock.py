"""Times of a file: texts in many forms as seconds of a clock, and clocks as UTC.

Where the clock of a zone shows an hour twice, the first time in the file is summer time, the second one standard time.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import Code, Fault, InputError, shorten
from twinswarm.imports.notes import Notes, some
from twinswarm.imports.options import DateOrder, MissingHour, Options

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_CLOCK = (
    r"(?P<H>\d{1,2})[:.h](?P<M>\d{2})(?:[:.](?P<S>\d{2})(?:[.,]\d+)?)?"
    r" ?(?P<p>[AaPp]\.?[Mm]\.?)?(?P<mark>[AB](?![a-z]))?"
)
_ZONE = r" ?\(?(?P<z>Z|UTC|GMT|MESZ|MEZ|CEST|CET|EEST|EET|WEST|WET|(?:UTC|GMT)?[+-]\d{2}:?\d{2}|[+-]\d{2})?\)?"
_MONTH_NAMES = (
    "jan gen ene janv", "feb febr fév", "mar mär mrz mars", "apr avr abr", "may mai mag", "jun giu juin",
    "jul lug juil", "aug ago août", "sep set sept", "oct okt ott", "nov", "dec dez dic déc",
)  # fmt: skip
_MONTHS = {name: month for month, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_DATES = (
    r"(?:\w{2,9},? )?(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
    r"(?:\w{2,9},? )?(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<y>\d{4}|\d{2})",
    r"(?:\w{2,9},? )?(?P<d>\d{1,2})[ .-]+(?P<name>[^\W\d]{3,9})[.,]?[ -](?P<y>\d{4})",
    r"(?P<name>[^\W\d]{3,9})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})",
)
_COMPACT = r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:[ T:_-]?(?P<H>\d{2}):?(?P<M>\d{2})(?::?(?P<S>\d{2}))?)?"
_FORMS = (
    *(re.compile(rf"{date}(?:,?[ T]+{_CLOCK})?{_ZONE}") for date in _DATES),
    re.compile(_COMPACT + _ZONE),
)
_OFFSETS = {"Z": 0, "UTC": 0, "GMT": 0, "MEZ": 3600, "CET": 3600, "MESZ": 7200, "CEST": 7200, "EET": 7200,
            "EEST": 10800, "WET": 0, "WEST": 3600}  # fmt: skip
_SPAN = re.compile(r"(.*\d[^\d-]*?)\s+(?:-|\N{EN DASH}|to|bis|a)\s+(.*)")
_SERIAL = re.compile(r"\d{5}(?:[.,]\d+)?")
_EPOCH = re.compile(r"\d{10}(?:\.0+)?|\d{13}")
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


def looks_like_times(cells: "pd.Series") -> bool:
    """Whether a column is of dates or times of day."""
    filled = cells[cells != ""].head(200)
    if filled.empty:
        return False
    first = filled.str.replace(_SPAN, r"\1", regex=True)
    dated = first.apply(lambda cell: _form_of(cell) is not None)
    return bool(dated.mean() > 0.7 or first.str.fullmatch(_EPOCH).mean() > 0.9)


def looks_like_hours(cells: "pd.Series") -> bool:
    """Whether a column is of times of day alone."""
    filled = cells[cells != ""].head(200)
    return len(filled) > 0 and bool(filled.str.fullmatch(r"\d{1,2}[:.]\d{2}([:.]\d{2})?( ?-.*)?").mean() > 0.9)


def _form_of(cell: str) -> re.Pattern[str] | None:
    return next((form for form in _FORMS if form.fullmatch(cell.strip())), None)


def read_clock(cells: "pd.Series", where: str, first_row: int, options: Options, notes: Notes) -> Clock:
    """Raises InputError naming the first times that cannot be read, or how dates may be read in two ways."""
    import numpy as np

    sample = cells.iloc[0]
    if _EPOCH.fullmatch(sample):
        return _counted(cells, where, first_row, 1000.0 if len(sample) == 13 else 1.0)
    if _SERIAL.fullmatch(sample):
        days = _floats(cells, where, first_row)
        local = np.rint(days * 86_400).astype("int64") + _EXCEL_EPOCH_S
        notes.read.append("times are a spreadsheet's numbers of days")
        return Clock(local, np.full(len(local), np.nan))
    starts, ends = cells, None
    if _SPAN.fullmatch(sample) and _form_of(_SPAN.sub(r"\1", sample)):
        parts = cells.str.extract(_SPAN)
        starts, ends = parts[0].fillna(cells), parts[1]
    fields = _fields(starts, where, first_row)
    order = _date_order(fields, starts, where, options, notes) if "a" in fields else None
    local = _seconds(fields, order, starts, where, first_row)
    offset = _offsets(fields)
    if "mark" in fields and fields["mark"].notna().any():
        notes.read.append("the marks A and B tell the two hours of the end of summer time apart")
    return Clock(local, offset, _span(ends, starts, local, order))


def _span(ends: "pd.Series | None", starts: "pd.Series", local: "np.ndarray", order: DateOrder | None) -> int | None:
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
        fields = _fields(text, "", 0)
        lengths = _seconds(fields, order, text, "", 0) - local[: len(text)]
    values, counts = np.unique(lengths, return_counts=True)
    return int(values[counts.argmax()]) or None


def _counted(cells: "pd.Series", where: str, first_row: int, per_second: float) -> Clock:
    import numpy as np

    seconds = np.rint(_floats(cells, where, first_row) / per_second).astype("int64")
    return Clock(seconds, np.zeros(len(seconds)))


def _floats(cells: "pd.Series", where: str, first_row: int) -> "np.ndarray":
    import numpy as np
    import pandas as pd

    values: np.ndarray = pd.to_numeric(cells.str.replace(",", ".", regex=False), errors="coerce").to_numpy(dtype=float)
    bad = ~np.isfinite(values)
    if bad.any():
        raise _unreadable(cells, bad, where, first_row)
    return values


def _fields(cells: "pd.Series", where: str, first_row: int) -> "pd.DataFrame":
    """What the form of the first time finds in all; others may have another form, such as dates without midnight."""
    import pandas as pd

    form = next((found for cell in cells.head(50) if (found := _form_of(cell)) is not None), None)
    if form is None:
        raise _unreadable(cells, [True] * len(cells), where, first_row)
    fixed = _fields_at(cells, form)
    if fixed is not None:
        return fixed
    found = cells.str.extract(re.compile(f"^(?:{form.pattern})$"))
    bad = found["y"].isna()
    for other in _FORMS:
        if not bad.any():
            break
        if other is form or ("a" in other.groupindex) != ("a" in form.groupindex):
            continue
        more = cells[bad].str.extract(re.compile(f"^(?:{other.pattern})$"))
        found = pd.concat([found[~bad], more]).loc[cells.index]
        bad = found["y"].isna()
    if bad.any():
        raise _unreadable(cells, bad.to_numpy(), where, first_row)
    return found


def _fields_at(cells: "pd.Series", form: re.Pattern[str]) -> "pd.DataFrame | None":
    """The fields of texts that have each field where the first one has it; None: they have not. A year by the minute
    is read so in a tenth of the time."""
    import numpy as np
    import pandas as pd

    sample = str(cells.iloc[0])
    found = form.fullmatch(sample)
    if found is None or not sample.isascii():
        return None
    try:
        texts = np.array(cells.to_list(), dtype=f"S{len(sample) + 1}")
    except UnicodeEncodeError:
        return None
    signs = texts.view(np.uint8).reshape(len(texts), -1)
    if signs[:, -1].any() or not signs[:, -2].all():  # longer or shorter ones
        return None
    signs = signs[:, :-1]
    fields: dict[str, object] = {}
    fixed = np.ones(len(sample), dtype=bool)
    for name in form.groupindex:
        begin, end = found.span(name)
        if begin < 0:
            continue
        fixed[begin:end] = False
        part = signs[:, begin:end]
        if sample[begin:end].isdigit():
            digits = part.astype("int64") - ord("0")
            if (digits < 0).any() or (digits > 9).any():
                return None
            fields[name] = digits @ 10 ** np.arange(end - begin - 1, -1, -1)
        else:
            words, place = np.unique(np.ascontiguousarray(part).view(f"S{end - begin}").ravel(), return_inverse=True)
            fields[name] = np.array([word.decode() for word in words], dtype=object)[place]
    if (signs[:, fixed] != signs[0, fixed]).any():
        return None
    return pd.DataFrame(fields, index=cells.index)


def _unreadable(cells: "pd.Series", bad: "np.ndarray | list[bool]", where: str, first_row: int) -> InputError:
    wrong = cells[bad]
    faults = [
        Fault(f"{where}: row {int(row) + first_row}", "is no time that can be read", shorten(cell), code=Code.FORMAT)
        for row, cell in wrong.head(3).items()
    ]
    if len(wrong) > 3:
        faults.append(Fault(where, f"and {len(wrong) - 3} more such cells", code=Code.FORMAT))
    return InputError(faults)


def _date_order(fields: "pd.DataFrame", cells: "pd.Series", where: str, options: Options, notes: Notes) -> DateOrder:
    """Which number is the day. Raises InputError where both may be."""
    import numpy as np

    if options.date_order is not None:
        return options.date_order
    first, second = fields["a"].astype(int), fields["b"].astype(int)
    if (first > 12).any():
        return DateOrder.DAY_FIRST
    if (second > 12).any():
        return DateOrder.MONTH_FIRST
    if "." in cells.iloc[0]:
        return DateOrder.DAY_FIRST
    # Ordered rows tell: with the wrong order they leap back and forth by months.
    orders = []
    for order in DateOrder:
        day, month = (first, second) if order is DateOrder.DAY_FIRST else (second, first)
        count = (fields["y"].astype(int) * 372 + month * 31 + day).to_numpy()
        leaps = np.abs(np.diff(count))
        orders.append((bool((leaps <= 2).all()), order))
    fitting = [order for fits, order in orders if fits]
    if len(fitting) == 1 and fields[["a", "b"]].drop_duplicates().shape[0] > 1:
        notes.assumed.append(
            f"{cells.iloc[0]!r} is {'day' if fitting[0] is DateOrder.DAY_FIRST else 'month'} first, for only so the "
            "days follow one another (--date-order)"
        )
        return fitting[0]
    what = f"may be day or month first: {cells.iloc[0]!r}; say --date-order dmy or mdy"
    raise InputError.one(where, what, code=Code.FORMAT)


def _seconds(
    fields: "pd.DataFrame", order: DateOrder | None, cells: "pd.Series", where: str, first_row: int
) -> "np.ndarray":
    """Seconds since 1970 of the clock; 24:00 is midnight of the next day. Raises InputError for a 30 February."""
    import numpy as np
    import pandas as pd

    def whole(name: str) -> "pd.Series":
        if name in fields and fields[name].dtype.kind == "i":
            return fields[name]
        return fields[name].fillna("0").astype("int64") if name in fields else pd.Series(0, index=fields.index)

    year = whole("y")
    year = year.where(year >= 100, year + 2000)
    if order is not None:
        day, month = (whole("a"), whole("b")) if order is DateOrder.DAY_FIRST else (whole("b"), whole("a"))
    elif "name" in fields:
        names = fields["name"].str.casefold()
        month = names.map(_MONTHS).fillna(names.str[:3].map(_MONTHS)).fillna(0).astype("int64")
        day = whole("d")
    else:
        day, month = whole("d"), whole("m")
    hour, minute, second = whole("H"), whole("M"), whole("S")
    if "p" in fields and fields["p"].notna().any():
        late = fields["p"].str[0].str.casefold() == "p"
        hour = hour % 12 + 12 * late.astype("int64")
    days = pd.to_datetime({"year": year, "month": month, "day": day}, errors="coerce")
    bad = days.isna() | (hour > 24) | (minute > 59) | (second > 60) | ((hour == 24) & (minute + second > 0))
    if bad.any():
        raise _unreadable(cells, bad.to_numpy(), where, first_row)
    at = days.to_numpy().astype("datetime64[s]").astype("int64")
    return np.asarray(at + hour.to_numpy() * 3600 + minute.to_numpy() * 60 + second.to_numpy())


def _offsets(fields: "pd.DataFrame") -> "np.ndarray":
    """Offsets from UTC [s], NaN where none is said; infinite where a mark says summer (+) or standard (-) time."""
    import numpy as np

    result = np.full(len(fields), np.nan)
    if "z" in fields and fields["z"].notna().any():
        zones = {text: _offset(text) for text in fields["z"].dropna().unique()}
        result = fields["z"].map(zones).to_numpy(dtype=float, na_value=np.nan)
    if "mark" in fields and fields["mark"].notna().any():
        # A is summer time, B standard time, of central Europe as of every zone with a change by an hour.
        result = np.where(fields["mark"] == "A", np.inf, np.where(fields["mark"] == "B", -np.inf, result))
    return result


def _offset(text: str) -> int:
    if text in _OFFSETS:
        return _OFFSETS[text]
    sign, digits = text.lstrip("UTCGM")[0], re.sub(r"\D", "", text)
    seconds = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    return -seconds if sign == "-" else seconds


def zone_of(name: str) -> tzinfo:
    """A zone of the IANA database, ``UTC+01:00`` or ``+01:00``. Raises InputError."""
    fixed = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", name)
    if fixed:
        span = timedelta(hours=int(fixed[2]), minutes=int(fixed[3] or 0))
        return timezone(-span if fixed[1] == "-" else span)
    if name.upper() in {"UTC", "Z", "GMT"}:
        return UTC
    try:
        return ZoneInfo({"CET": "Europe/Berlin", "MEZ": "Europe/Berlin", "EET": "Europe/Athens"}.get(name, name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        what = "is no time zone; a name such as Europe/Berlin, UTC, or an offset such as UTC+01:00 is allowed"
        raise InputError.one("--time-zone", what, name, code=Code.UNKNOWN) from None


def to_utc(clock: Clock, zone: tzinfo, where: str, options: Options, notes: Notes) -> tuple["np.ndarray", "np.ndarray"]:
    """Seconds of UTC, and which rows have a time: those of an hour that there is not may be dropped.

    Raises InputError for times that the zone's clock never shows.
    """
    import numpy as np
    import pandas as pd

    if clock.zoned:
        return clock.local_s - clock.offset_s.astype("int64"), np.ones(len(clock.local_s), dtype=bool)
    said = np.isfinite(clock.offset_s)
    if isinstance(zone, timezone):
        shift = int(zone.utcoffset(None).total_seconds())
        offset = np.where(said, np.nan_to_num(clock.offset_s, posinf=0, neginf=0), shift).astype("int64")
        return clock.local_s - offset, np.ones(len(offset), dtype=bool)
    series = pd.Series(clock.local_s)
    # Of one clock time the first row is summer time, the second one standard time, and so on in turns.
    descending = len(series) > 1 and series.iloc[0] > series.iloc[-1]
    turn = series.groupby(series).cumcount(ascending=not descending).to_numpy() % 2
    summer = np.where(np.isposinf(clock.offset_s), True, np.where(np.isneginf(clock.offset_s), False, turn == 0))
    naive = pd.DatetimeIndex(clock.local_s.astype("datetime64[s]"))
    placed = naive.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
    here = ~placed.isna()
    utc = np.where(here, placed.as_unit("s").asi8, 0)
    utc = np.where(said, clock.local_s - np.where(said, clock.offset_s, 0).astype("int64"), utc)
    here = here | said
    if not here.all():
        _no_such_hour(naive[~here], zone, where, options, notes)
    _doubled(naive, series, zone, notes)
    return utc, here


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


def _doubled(naive: "pd.DatetimeIndex", series: "pd.Series", zone: tzinfo, notes: Notes) -> None:
    """Notes how the hours that the clock shows twice were read."""
    first = naive.tz_localize(zone, ambiguous=[True] * len(naive), nonexistent="shift_forward")
    second = naive.tz_localize(zone, ambiguous=[False] * len(naive), nonexistent="shift_forward")
    twice = first != second
    if not twice.any():
        return
    counts = series[twice].value_counts()
    days = sorted({f"{time:%Y-%m-%d}" for time in naive[twice]})
    if (counts > 1).all():
        notes.read.append(f"the hour that the clock shows twice is there twice, summer time first: {some(days)}")
    else:
        notes.assumed.append(
            "of the hour that the clock shows twice the file has one, taken for summer time; the other is a hole: "
            f"{some(days)}"
        )


def local_instants(clock: Clock, zone: tzinfo, notes: Notes) -> "np.ndarray":
    """Seconds of UTC of single events, which follow one another in no steps.

    An event in the hour that the clock shows twice is taken for summer time, one in the hour that there is not is moved
    to its end.
    """
    import numpy as np
    import pandas as pd

    if clock.zoned:
        return np.asarray(clock.local_s - clock.offset_s.astype("int64"))
    naive = pd.DatetimeIndex(clock.local_s.astype("datetime64[s]"))
    if isinstance(zone, timezone):
        return np.asarray(clock.local_s - int(zone.utcoffset(None).total_seconds()))
    summer = naive.tz_localize(zone, ambiguous=[True] * len(naive), nonexistent="shift_forward")
    winter = naive.tz_localize(zone, ambiguous=[False] * len(naive), nonexistent="shift_forward")
    if (twice := int((summer != winter).sum())) > 0:
        notes.assumed.append(f"{twice} times in the hour that the clock shows twice are summer time")
    return np.asarray(summer.as_unit("s").asi8)
