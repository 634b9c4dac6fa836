"""Units that stand elsewhere than in the header of the values: in a column of their own, above the header, or in the
header of a column of sums."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.notes import Notes
from twinswarm.imports.numbers import looks_numeric, numbers_of
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.sheet import Sheet
from twinswarm.imports.units import Unit, unit_in, unit_named, units_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_WORDS = r"(?:mess)?einheit|unit(?:s|à| of measure)?(?: di misura)?|unidad(?:es)?|uom"
_LINE = re.compile(rf'"?(?:{_WORDS})"?\s*[,;:\t]\s*"?([^",;\t]+?)"?[\s,;]*', re.IGNORECASE)
"""A line above the header that says the unit, as of Green Button's CSV: ``UOM,kWh``."""
_RATING = re.compile(r"\d ?[kM]?Wh?\b", re.IGNORECASE)
"""6 kW are those of a contract."""
_NEAR = 0.02
"""Of a sum that is rounded."""


def unit_column(sheet: Sheet, kind: Kind) -> Unit | None:
    """The unit that stands in a column of its own, the same in all rows."""
    for name in sheet.columns:
        if re.fullmatch(_WORDS, name, re.IGNORECASE):
            found = set(sheet.cells[name]) - {""}
            if len(found) == 1:
                return unit_in(found.pop(), kind)
    return None


def unit_line(sheet: Sheet, kind: Kind) -> tuple[Unit, str] | None:
    """The unit of a line above the header that says nothing else, and that line; None: there is none, or several."""
    said = {line.strip(): match[1] for line in sheet.above if (match := _LINE.fullmatch(line.strip())) is not None}
    units = {line: unit for line, text in said.items() if (unit := unit_in(text, kind)) is not None}
    return next(((unit, line) for line, unit in units.items()), None) if len(set(units.values())) == 1 else None


def names_a_unit(sheet: Sheet, kind: Kind) -> bool:
    """Whether a table with a column for each interval names a unit anywhere."""
    return _in_words(sheet, kind) is not None or any(unit_in(head, kind) is not None for head in sheet.columns)


def unit_of_table(
    sheet: Sheet,
    kind: Kind,
    heads: Sequence[str],
    rows: "pd.Series",
    values: "np.ndarray",
    options: Options,
    notes: Notes,
) -> Unit:
    """The unit of a table with a column for each interval, the ``heads``; ``rows``: of which row each value is.

    The header of another column says it where that is the sum, the largest or the mean one of its row. Raises
    InputError.
    """
    if options.unit is not None:
        return unit_named(options.unit, kind)
    in_heads = {unit for head in heads if (unit := unit_in(head, kind)) is not None}
    found = in_heads.pop() if len(in_heads) == 1 else _in_words(sheet, kind)
    if found is not None:
        notes.read.append(f"the unit is {found.name}")
        return found
    others = {name: unit for name in sheet.columns if name not in heads and (unit := unit_in(name, kind)) is not None}
    fitting = {name: unit for name, unit in others.items() if _sums_up(sheet, name, unit, rows, values, options)}
    if len(set(fitting.values())) == 1:
        name, unit = next(iter(fitting.items()))
        notes.read.append(f"the unit is {unit.name}, by the column {name!r}")
        return unit
    what = f"names no unit of its intervals; say --unit: {', '.join(units_of(kind))}"
    if others:
        columns = " and ".join(map(repr, others))
        what += f" (as far as numbers show, they are not in the unit of {columns})"
    raise InputError.one(str(sheet.file.path), what, code=Code.MISSING)


def _in_words(sheet: Sheet, kind: Kind) -> Unit | None:
    """In a column of its own, or above the header, such as ``Curva di carico in kW``."""
    if (found := unit_column(sheet, kind)) is not None:
        return found
    if (line := unit_line(sheet, kind)) is not None:
        return line[0]
    above = {unit for line in sheet.above if not _RATING.search(line) and (unit := unit_in(line, kind)) is not None}
    return above.pop() if len(above) == 1 else None


def _sums_up(sheet: Sheet, name: str, unit: Unit, rows: "pd.Series", values: "np.ndarray", options: Options) -> bool:
    """Whether a column of numbers is, in the unit of the values, the sum of energies of its row, or its largest or mean
    power or price. A column without numbers has only a name to say it by."""
    import numpy as np
    import pandas as pd

    if not looks_numeric(sheet.cells[name]):
        return True
    try:
        said = pd.Series(numbers_of(sheet, name, options, Notes()), index=sheet.cells.index)
    except InputError:
        return False
    by_row = pd.Series(values).groupby(rows.to_numpy())
    for many in [by_row.sum()] if unit.energy else [by_row.max(), by_row.mean()]:
        here = many[many != 0]
        ratio = (said.reindex(here.index) / here).to_numpy()
        ratio = ratio[np.isfinite(ratio)]
        if len(ratio) and abs(float(np.median(ratio)) - 1) < _NEAR:
            return True
    return False
