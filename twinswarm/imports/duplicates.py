"""Rows of one time with different values: which they are, and in what else they differ."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_NAMED = 3
FEW = 12
"""A column of at most so many different cells may tell registers or meters apart."""


@dataclass(frozen=True)
class Rows:
    """The rows of a table that hold its values, so that an error can name them."""

    cells: "pd.DataFrame"
    """Of these rows."""
    place: Callable[[int, str], str]
    """Where a cell of an index and a column stands in the file."""
    shown_s: "np.ndarray"
    """Seconds of the clock that the file shows."""
    column: str
    """That of the values."""

    def only(self, which: "np.ndarray") -> "Rows":
        """Those of a mask or of places."""
        return replace(self, cells=self.cells.iloc[which], shown_s=self.shown_s[which])


def time_name(time_s: object, zone: str = "Z") -> str:
    try:
        return f"{datetime.fromtimestamp(int(time_s), UTC):%Y-%m-%d %H:%M}{zone}"  # type: ignore[call-overload]
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return f"second {time_s} since 1970"


def conflict(times_s: "np.ndarray", group: "np.ndarray", differing: "np.ndarray", where: str, rows: Rows) -> InputError:
    """Of times in order, of which ``group`` counts the different ones and ``differing`` says which have a conflict.

    Where another column tells the rows apart, they are not one measurement, and no rule makes one value of them.
    """
    import numpy as np

    names = []
    for one in np.flatnonzero(differing)[:_NAMED]:
        mine = rows.only(group == one)
        cells = mine.cells[mine.column]
        at = ", ".join(f"{rows.place(row, mine.column)} has {cell!r}" for row, cell in cells.iloc[:4].items())
        names.append(f"{time_name(mine.shown_s[0], '')} ({time_name(times_s[group == one][0])}): {at}")
    what = f"{int(differing.sum())} times have different values: {'; '.join(names)}"
    if int(differing.sum()) > _NAMED:
        what += f"; and {int(differing.sum()) - _NAMED} more"
    told = _telling(rows, group, differing)
    if told is None:
        what += "; say --duplicates first, last, mean or sum"
    else:
        values = ", ".join(map(repr, sorted(set(rows.cells[told]))))
        what += f". Column {told!r} tells them apart: {values}. Leave the rows of one of these in the file"
        what += "; or, if they are readings of one and the same thing, say --duplicates first, last or mean"
    return InputError.one(where, what, code=Code.DUPLICATE)


def _telling(rows: Rows, group: "np.ndarray", differing: "np.ndarray") -> str | None:
    """The column of few different cells, all different where one time has different values."""
    here = differing[group]
    cells, times = rows.cells[here], group[here]
    for name in rows.cells.columns:
        if name == rows.column or cells[name].nunique() < 2 or rows.cells[name].nunique() > FEW:
            continue
        by_time = cells[name].groupby(times)
        if (by_time.nunique() == by_time.size()).all():
            return str(name)
    return None
