"""Texts of dates and times in many forms: their fields, the order of the date, seconds of a clock."""

import re
from typing import TYPE_CHECKING

from schemas.errors import Code, Fault, InputError, shorten
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import DateOrder, Options

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

HALF = r"[AaPp]\.? ?[Mm]\b\.?"
"""AM, PM, a.m., p. m."""
_CLOCK = (
    r"(?P<H>\d{1,2})[:.h](?P<M>\d{2})(?:[:.](?P<S>\d{2})(?:[.,]\d+)?)?"
    rf" ?(?P<p>{HALF})?(?P<mark>[AB](?![a-z])|(?: ?DST))?"
)
_ZONE = r" ?\(?(?P<z>Z|UTC|GMT|MESZ|MEZ|CEST|CET|EEST|EET|WEST|WET|(?:UTC|GMT)?[+-]\d{2}:?\d{2}|[+-]\d{2})?\)?"
_MONTH_NAMES = (
    "jan gen ene janv", "feb febr fév", "mar mär mrz mars", "apr avr abr", "may mai mag", "jun giu juin",
    "jul lug juil", "aug ago août", "sep set sept", "oct okt ott", "nov", "dec dez dic déc",
)  # fmt: skip
_MONTHS = {name: month for month, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_FOOT = 10
"""So many rows below a table, without a time, may be its foot."""
_FOOT_WORDS = re.compile(r"(?:sum|tot|ges|gesamt|saldo)\w*\b", re.IGNORECASE)
"""What a row begins with that is a sum, and no weekday."""
_WEEKDAY = rf"(?:(?!(?i:{_FOOT_WORDS.pattern}))\w{{2,9}},? )?"
_DATES = (
    rf"{_WEEKDAY}(?P<y>\d{{4}})[-/.](?P<m>\d{{1,2}})[-/.](?P<d>\d{{1,2}})",
    rf"{_WEEKDAY}(?P<a>\d{{1,2}})[-/.](?P<b>\d{{1,2}})[-/.](?P<y>\d{{4}}|\d{{2}})",
    rf"{_WEEKDAY}(?P<d>\d{{1,2}})[ .-]+(?P<name>[^\W\d]{{3,9}})[.,]?[ -](?P<y>\d{{4}})",
    r"(?P<name>[^\W\d]{3,9})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})",
)
_COMPACT = r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:[ T:_-]?(?P<H>\d{2}):?(?P<M>\d{2})(?::?(?P<S>\d{2}))?)?"
_FORMS = (
    *(re.compile(rf"{date}(?:,?[ T]+{_CLOCK})?{_ZONE}") for date in _DATES),
    re.compile(_COMPACT + _ZONE),
)
DST = "DST"
"""A mark of summer time behind a time, as Huawei's FusionSolar writes it; times without it are standard time."""
_OFFSETS = {"Z": 0, "UTC": 0, "GMT": 0, "MEZ": 3600, "CET": 3600, "MESZ": 7200, "CEST": 7200, "EET": 7200,
            "EEST": 10800, "WET": 0, "WEST": 3600}  # fmt: skip


def foot_of(times: "pd.Series", table: "pd.DataFrame", notes: Notes) -> int:
    """How many rows below a table, such as a sum, have no time; they are noted as left out. 0 where they are too many
    for a foot: then they are faults."""
    dated = (times.str.contains(r"\d", regex=True) & ~times.str.match(_FOOT_WORDS)).to_numpy()
    count = int(dated[::-1].argmax()) if dated.any() else 0
    if not 0 < count <= _FOOT:
        return 0
    words = [" ".join(row[row != ""]) for _, row in table.iloc[-count:].iterrows()]
    notes.repaired.append(f"{count} rows below the table were left out: {'; '.join(words)[:120]!r}")
    return count


def form_of(cell: str) -> re.Pattern[str] | None:
    return next((form for form in _FORMS if form.fullmatch(cell.strip())), None)


def fields_of(cells: "pd.Series", where: str, first_row: int) -> "pd.DataFrame":
    """What the form of the first time finds in all; others may have another form, such as dates without midnight."""
    import pandas as pd

    form = next((found for cell in cells.head(50) if (found := form_of(cell)) is not None), None)
    if form is None:
        raise unreadable(cells, [True] * len(cells), where, first_row)
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
        raise unreadable(cells, bad.to_numpy(), where, first_row)
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


def unreadable(cells: "pd.Series", bad: "np.ndarray | list[bool]", where: str, first_row: int) -> InputError:
    wrong = cells[bad]
    faults = [
        Fault(f"{where}: row {int(row) + first_row}", "is no time that can be read", shorten(cell), code=Code.FORMAT)
        for row, cell in wrong.head(3).items()
    ]
    if len(wrong) > 3:
        faults.append(Fault(where, f"and {len(wrong) - 3} more such cells", code=Code.FORMAT))
    return InputError(faults)


_WORDS = {DateOrder.DAY_FIRST: "day", DateOrder.MONTH_FIRST: "month", DateOrder.YEAR_FIRST: "year"}
_PLACES = {DateOrder.DAY_FIRST: "yba", DateOrder.MONTH_FIRST: "yab", DateOrder.YEAR_FIRST: "aby"}
"""Where year, month and day stand."""


def date_order(fields: "pd.DataFrame", cells: "pd.Series", where: str, options: Options, notes: Notes) -> DateOrder:
    """Which number is the day. Raises InputError where both may be."""
    if options.date_order is not None:
        return options.date_order
    if re.search(r"(?<!\d)\d{1,2}\.\d{1,2}\.", cells.iloc[0]):
        return DateOrder.DAY_FIRST
    places = {order: tuple(fields[name].astype(int) for name in names) for order, names in _PLACES.items()}
    # Nobody writes the year first with slashes and without its century.
    short = bool((places[DateOrder.DAY_FIRST][0] < 100).all()) and "-" in cells.iloc[0]
    possible = [
        order
        for order, (_, month, day) in places.items()
        if (month <= 12).all() and (day <= 31).all() and (short or order is not DateOrder.YEAR_FIRST)
    ]
    if len(possible) < 2:  # none: the rows that fit no order are told later
        return possible[0] if possible else DateOrder.DAY_FIRST
    fitting = [order for order in possible if _follow(*places[order])]
    if len(fitting) == 1 and fields[["a", "b", "y"]].drop_duplicates().shape[0] > 1:
        notes.assumed.append(
            f"{cells.iloc[0]!r} is {_WORDS[fitting[0]]} first, for only so the days follow one another (--date-order)"
        )
        return fitting[0]
    orders, words = " or ".join(possible), " or ".join(_WORDS[order] for order in possible)
    what = f"may be {words} first: {cells.iloc[0]!r}; say --date-order {orders}"
    raise InputError.one(where, what, code=Code.FORMAT)


def _follow(year: "pd.Series", month: "pd.Series", day: "pd.Series") -> bool:
    """Whether neighbouring rows are of neighbouring days: with the wrong order they leap back and forth by months."""
    import numpy as np

    return bool((np.abs(np.diff((year * 372 + month * 31 + day).to_numpy())) <= 2).all())


def seconds_of(
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
    if order is not None:
        year, month, day = (whole(name) for name in _PLACES[order])
    elif "name" in fields:
        names = fields["name"].str.casefold()
        month = names.map(_MONTHS).fillna(names.str[:3].map(_MONTHS)).fillna(0).astype("int64")
        day = whole("d")
    else:
        day, month = whole("d"), whole("m")
    year = year.where(year >= 100, year + 2000)
    hour, minute, second = whole("H"), whole("M"), whole("S")
    no_half = pd.Series(False, index=fields.index)
    if "p" in fields and fields["p"].notna().any():
        half = fields["p"].str[0].str.casefold()
        no_half = half.notna() & ((hour > 23) | (half == "a") & (hour > 12))
        # 12 AM is midnight, 12 PM noon; 13:00 needs no PM, and may have it.
        hour = hour.where(half.isna(), hour % 12 + 12 * (half == "p").astype("int64"))
    days = pd.to_datetime({"year": year, "month": month, "day": day}, errors="coerce")
    bad = days.isna() | no_half | (hour > 24) | (minute > 59) | (second > 60) | ((hour == 24) & (minute + second > 0))
    if bad.any():
        raise unreadable(cells, bad.to_numpy(), where, first_row)
    at = days.to_numpy().astype("datetime64[s]").astype("int64")
    return np.asarray(at + hour.to_numpy() * 3600 + minute.to_numpy() * 60 + second.to_numpy())


def offsets_of(fields: "pd.DataFrame") -> "np.ndarray":
    """Offsets from UTC [s], NaN where none is said; infinite where a mark says summer (+) or standard (-) time."""
    import numpy as np

    result = np.full(len(fields), np.nan)
    if "z" in fields and fields["z"].notna().any():
        zones = {text: _offset(text) for text in fields["z"].dropna().unique()}
        result = fields["z"].map(zones).to_numpy(dtype=float, na_value=np.nan)
    if "mark" in fields and fields["mark"].notna().any():
        # A is summer time, B standard time, of central Europe as of every zone with a change by an hour.
        marks = fields["mark"].str.strip()
        result = np.where(marks == "A", np.inf, np.where(marks == "B", -np.inf, result))
        if (summer := (marks == DST).to_numpy()).any():
            # The doubled hour has the mark the first time alone.
            result = np.where(summer, np.inf, np.where(np.isnan(result), -np.inf, result))
    return result


def _offset(text: str) -> int:
    if text in _OFFSETS:
        return _OFFSETS[text]
    sign, digits = text.lstrip("UTCGM")[0], re.sub(r"\D", "", text)
    seconds = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    return -seconds if sign == "-" else seconds
