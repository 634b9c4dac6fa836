"""Hours of a day as whole numbers in a column beside a date, as OMIE and Spanish distributors have them.

1 to 24 are the hours that end then, with 25 on the day on which summer time ends and 23 on the one on which it begins.
0 to 23 are those that begin then.
"""

import re
from dataclasses import replace
from datetime import timezone, tzinfo
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError, shorten
from twinswarm.imports.clock import Clock

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_HEADER = re.compile(r"\b(horas?|hours?|hr|stunden?|std|ora|ore|heures?|h)\b", re.IGNORECASE)


def holds_hour_numbers(cells: "pd.Series", header: str) -> bool:
    """Whether a column is of hours by its header and its numbers."""
    filled = cells[cells != ""]
    if _HEADER.search(header.replace("_", " ")) is None or not filled.str.fullmatch(r"\d{1,2}").all():
        return False
    numbers = set(filled.astype(int))
    return len(numbers) > 12 and max(numbers) <= 25 and (0 in numbers or max(numbers) >= 24)


def with_hours(dates: Clock, hours: "pd.Series", zone: tzinfo, where: str, first_row: int) -> Clock:
    """The begin of each hour. Raises InputError for a number that is no hour of its day.

    On the days on which the clock changes, hours are counted through where their last number is that of all hours of
    the day; otherwise they are those of the clock.
    """
    import numpy as np
    import pandas as pd

    numbers = pd.to_numeric(hours, errors="coerce").to_numpy(dtype=float)
    counted = numbers - (0 if (numbers == 0).any() else 1)
    offset, length = _offset_and_length(dates.local_s, zone)
    last = pd.Series(counted).groupby(dates.local_s).transform("max").to_numpy()
    through = (length > 24) & (last == length - 1) | (length < 24) & (last < length)
    bad = ~np.isfinite(counted) | (counted >= np.maximum(length, 24))
    if bad.any():
        row, cell = next(iter(hours[bad].items()))
        what = f"is no hour of its day, which has {int(length[bad][0])}"
        raise InputError.one(f"{where}: row {int(str(row)) + first_row}", what, shorten(cell), code=Code.FORMAT)
    local = dates.local_s + counted.astype("int64") * 3600
    return replace(dates, local_s=local, offset_s=np.where(through, offset, dates.offset_s))


def _offset_and_length(local_s: "np.ndarray", zone: tzinfo) -> tuple["np.ndarray", "np.ndarray"]:
    """Of days by their local midnight: its offset from UTC [s], and their hours."""
    import numpy as np
    import pandas as pd

    if isinstance(zone, timezone):
        return np.full(len(local_s), np.nan), np.full(len(local_s), 24)

    def offsets(local: "np.ndarray") -> "np.ndarray":
        naive = pd.DatetimeIndex(local.astype("datetime64[s]"))
        utc = naive.tz_localize(zone, ambiguous=[True] * len(naive), nonexistent="shift_forward")
        return np.asarray(local - utc.as_unit("s").asi8)

    here = offsets(local_s)
    return here, 24 - (offsets(local_s + 86_400) - here) // 3600
