"""Intervals of a day by their numbers, in a column beside a date or as the heads of columns: hours, half-hours,
quarter-hours.

OMIE and Spanish distributors number hours from 1 (``H1`` to ``H25``), British suppliers half-hours (``HH1`` to
``HH50``). 1 is the first interval of the local day. On the days on which the clock changes they are counted through: 1
to 25 hours when summer time ends, 1 to 23 when it begins (OMIE, "Modelo de ficheros para la distribución pública de
información", 6.18; Elexon's settlement periods 1 to 46 and 1 to 50). 0 is the first one where there is a 0.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timezone, tzinfo
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.clock import Clock, left_out, offsets_at
from twinswarm.imports.notes import Notes, some

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PER_HOUR = (1, 2, 4)
"""So many intervals of an hour are known by their number alone."""
_MOST_HOURS = 25
_COLUMN = re.compile(r"\b(horas?|hours?|hr|stunden?|std|ora|ore|heures?|h|per(i|í)odos?|periods?)\b", re.IGNORECASE)
_HEAD = re.compile(r"([^\W\d]*)[ _.-]?(\d{1,3})(\D*)")
_WORDS = re.compile(
    r"|h|hh|hr|he|q|qh|p|sp|std|hours?|horas?|or[ae]|heures?|stunde|quarter|viertelstunde|per(i|í)odo?|intervall?",
    re.IGNORECASE,
)
"""What stands before such a number in the head of a column."""


@dataclass(frozen=True)
class Numbers:
    """The numbers of the intervals that values are of."""

    cells: "pd.Series"
    per_hour: int | None = None
    """None: by the largest number of each day."""
    columns: int | None = None
    """How many there are, where each is the head of a column."""


def holds_numbers(cells: "pd.Series", header: str) -> bool:
    """Whether a column is of such numbers by its header and its cells."""
    filled = cells[cells != ""]
    if _COLUMN.search(header.replace("_", " ")) is None or not are_numbers(cells):
        return False
    numbers = set(filled.astype(int))
    most = max(numbers)
    return len(numbers) > 12 and (
        any(24 * per <= most <= _MOST_HOURS * per for per in PER_HOUR) or (0 in numbers and most <= _MOST_HOURS)
    )


def are_numbers(cells: "pd.Series") -> bool:
    """Whether a column is of whole numbers of three digits at most."""
    filled = cells[cells != ""]
    return len(filled) > 0 and bool(filled.str.fullmatch(r"\d{1,3}").all())


def numbered_columns(names: Sequence[str]) -> tuple[dict[str, int], int] | None:
    """The columns that are the intervals of a day by the numbers in their heads, and how many of them an hour has.

    None: there are none, or they are there several times.
    """
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for name in names:
        found = _HEAD.fullmatch(name)
        if found is not None and _WORDS.fullmatch(found[1]) is not None:
            groups.setdefault((found[1].casefold(), found[3]), {})[name] = int(found[2])
    fitting = [(group, per) for group in groups.values() if (per := _per_hour(sorted(group.values()))) is not None]
    return fitting[0] if len(fitting) == 1 else None


def heads_beside(names: Sequence[str], heads: Mapping[str, int]) -> list[str]:
    """Columns beside those of `numbered_columns` that are named as one more interval: ``H3b``, ``H25 (winter)``."""
    first = _HEAD.fullmatch(next(iter(heads)))
    word = "" if first is None else first[1].casefold()
    found = {name: _HEAD.fullmatch(name) for name in names if name not in heads}
    return [
        name
        for name, one in found.items()
        if one is not None and one[1].casefold() == word and (word or re.fullmatch(r" ?[a-dA-D*]", one[3]))
    ]


def _per_hour(numbers: Sequence[int]) -> int | None:
    """How many intervals an hour has, of which a day has all these numbers; None: of no day."""
    if not numbers or list(numbers) != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
        return None
    return next((per for per in PER_HOUR if len(numbers) in {23 * per, 24 * per, 25 * per}), None)


def with_numbers(
    dates: Clock,
    numbers: Numbers,
    values: "np.ndarray",
    zone: tzinfo,
    place: Callable[[int], str],
    notes: Notes,
) -> tuple[Clock, "np.ndarray"]:
    """The begin of each interval, and which rows are of one: a 25th hour that holds 0 is none of a day of 24.

    ``place`` says where the row of an index stands in the file. Raises InputError for a number that is no interval of
    its day.

    On the days on which the clock changes, intervals are counted through where their last number is that of the last
    one of the day, or where the hour that the clock leaves out holds something and those beyond the day do not;
    otherwise they are those of the clock. A long day that ends early is counted through, if it could have had its last
    number.
    """
    import numpy as np
    import pandas as pd

    counted = pd.to_numeric(numbers.cells, errors="coerce").to_numpy(dtype=float)
    counted = counted - (0 if (counted == 0).any() else 1)
    last = _most_of_day(counted, dates.local_s)
    step = 3600 // _per_hour_of_rows(numbers, dates.local_s, last)
    offset, day_s = _offset_and_length(dates.local_s, zone)
    length = day_s // step
    holds = np.isfinite(values) & (values != 0)
    local = dates.local_s + np.nan_to_num(counted).astype("int64") * step
    in_gap = _most_of_day((holds & left_out(local, zone)).astype(float), dates.local_s) > 0
    last_held = _most_of_day(np.where(holds, counted, -1.0), dates.local_s)
    longer, shorter = day_s > 86_400, day_s < 86_400
    complete = (last == length - 1) | _ends_early(numbers, counted, last, step, dates.local_s)
    through = longer & complete | shorter & ((last < length) | (in_gap & (last_held < length)))
    most = np.where(through, length, np.maximum(length, 86_400 // step))
    beyond = ~np.isfinite(counted) | (counted >= most)
    if (bad := beyond & (holds | ~np.isfinite(counted))).any():
        index, cell = next(iter(numbers.cells[bad].items()))
        what = f"is no interval of its day, which has {int(length[bad][0])}"
        raise InputError.one(place(int(str(index))), what, cell, code=Code.FORMAT)
    if beyond.any():
        what = "cells of 0 or nothing beyond the last interval of their day were left out"
        notes.repaired.append(f"{int(beyond.sum())} {what}")
    _note_changes(dates.local_s[(longer | shorter) & through], length[(longer | shorter) & through], notes)
    return replace(dates, local_s=local, offset_s=np.where(through, offset, dates.offset_s)), ~beyond


def _per_hour_of_rows(numbers: Numbers, local_s: "np.ndarray", last: "np.ndarray") -> "np.ndarray":
    """Intervals of an hour, for each row. A market goes over to shorter ones and stays with them, so that a day of few
    numbers after one of many is one that is not complete."""
    import numpy as np

    if numbers.per_hour is not None:
        return np.full(len(local_s), numbers.per_hour)
    own = np.select([last < _MOST_HOURS * per for per in PER_HOUR], PER_HOUR, PER_HOUR[-1])
    order = np.argsort(local_s, kind="stable")
    result = np.empty_like(own)
    result[order] = np.maximum.accumulate(own[order])
    return np.asarray(result)


def _ends_early(
    numbers: Numbers, counted: "np.ndarray", last: "np.ndarray", step: "np.ndarray", local_s: "np.ndarray"
) -> "np.ndarray":
    """Whether a day has fewer than 24 hours, for each row, and could have 25. It could not where it has one of its
    numbers twice, as the clock shows an hour, or where there is no column for a 25th."""
    import pandas as pd

    twice = pd.DataFrame({"day": local_s, "number": counted}).duplicated().groupby(local_s).transform("any").to_numpy()
    room = numbers.columns is None or numbers.columns * step > 86_400
    return (last < 86_400 // step - 1) & ~twice & room  # type: ignore[no-any-return]


def _most_of_day(numbers: "np.ndarray", local_s: "np.ndarray") -> "np.ndarray":
    import pandas as pd

    return pd.Series(numbers).groupby(local_s).transform("max").to_numpy()  # type: ignore[no-any-return]


def _note_changes(days_s: "np.ndarray", lengths: "np.ndarray", notes: Notes) -> None:
    """Notes the days on which the clock changes, with the last number of each."""
    import numpy as np

    days, first = np.unique(days_s, return_index=True)
    if not len(days):
        return
    names = [
        f"{datetime.fromtimestamp(int(day), UTC):%Y-%m-%d} has {int(length)}"
        for day, length in zip(days, lengths[first], strict=True)
    ]
    notes.assumed.append(
        f"intervals are counted through where the clock changes, {some(names)} (--time-zone, if the clock never does)"
    )


def _offset_and_length(local_s: "np.ndarray", zone: tzinfo) -> tuple["np.ndarray", "np.ndarray"]:
    """Of days by their local midnight: its offset from UTC and their length [s]."""
    import numpy as np

    if isinstance(zone, timezone):
        return np.full(len(local_s), np.nan), np.full(len(local_s), 86_400)

    here = offsets_at(local_s, zone)
    return here, 86_400 - (offsets_at(local_s + 86_400, zone) - here)
