"""Columns of numbers: which sign is the decimal one, and what is no number."""

import re
from collections import Counter
from typing import TYPE_CHECKING

from schemas.errors import Code, Fault, InputError, shorten
from twinswarm.imports.notes import Notes, some
from twinswarm.imports.options import Options
from twinswarm.imports.sheet import Sheet
from twinswarm.imports.units import IN_CELL, behind_numbers, numerator

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MISSING = frozenset(
    {
        "",
        "-",
        "--",
        "n/a",
        "na",
        "nan",
        "null",
        "none",
        "n/e",
        "#n/a",
        "#nv",
        "#nd",
        "k.a.",
        "nd",
        "n.d.",
        "?",
        "unavailable",
        "unknown",
    }
)
"""Words for a value that is not there."""


def numbers_of(sheet: Sheet, column: str, options: Options, notes: Notes) -> "np.ndarray":
    """The numbers of a column, NaN where there is none. Raises InputError for cells that are no numbers."""
    import numpy as np
    import pandas as pd

    cells = sheet.cells[column].str.replace("\u2212", "-", regex=False)
    missing = cells.str.casefold().isin(MISSING)
    # Blanks and apostrophes among digits are thousands separators; a currency sign or a unit may stand around.
    bare = cells.str.replace(r"(?<=\d)[ '\u2019\u202f](?=\d{3})", "", regex=True)
    _check_units(sheet, column, bare[~missing], options)
    bare = bare.str.replace(IN_CELL, "", regex=True).str.strip()
    written = ~sheet.came_as_numbers(column)
    decimal = _decimal(sheet, column, bare[~missing & written], options, notes)
    plain, odd = _plain(bare, decimal)
    plain, odd = plain.where(written, bare), odd & written
    known = plain.where(~missing & ~odd)
    values: np.ndarray = pd.to_numeric(known, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~missing.to_numpy() & ~np.isfinite(values)
    if wrong.any():
        raise InputError(_faults(sheet, column, cells, wrong, decimal))
    if missing.any():
        words = sorted(set(cells[missing]) - {""})
        said = f" ({some([repr(word) for word in words])})" if words else ""
        notes.read.append(f"{int(missing.sum())} cells of {column!r} hold no value{said}")
    return values


def _plain(cells: "pd.Series", decimal: str) -> tuple["pd.Series", "pd.Series"]:
    """Texts with a decimal point and no thousands separators, and which are no number with that decimal sign."""
    other = "." if decimal == "," else ","
    grouped = cells.str.fullmatch(rf"[-+]?[1-9]\d{{0,2}}(\{other}\d{{3}})+(\{decimal}\d*)?")
    bare = cells.where(~grouped, cells.str.replace(other, "", regex=False))
    odd = bare.str.contains(other, regex=False) | bare.str.contains("_", regex=False)
    return (bare.str.replace(",", ".", regex=False) if decimal == "," else bare), odd


def _check_units(sheet: Sheet, column: str, cells: "pd.Series", options: Options) -> None:
    """Raises InputError where a cell has another unit than its column. What ``--unit`` says of all alike, counts."""
    found = cells.str.extract(IN_CELL)
    units = found[0].fillna(found[1]).dropna()
    if units.empty:
        return
    units = units.map(numerator)
    if options.unit is not None and len(units) == len(cells) and units.nunique() == 1:
        return
    said = behind_numbers(column) if options.unit is None else numerator(options.unit)
    wanted = said or str(units.iloc[0])
    other = units[units.str.casefold() != wanted.casefold()]
    if len(other):
        index = int(other.index[0])
        source = "--unit" if options.unit is not None else "its header" if said else "the cells above it"
        what = f"is in {other.iloc[0]}, and by {source} the column is in {wanted}; one unit for all is needed (--unit)"
        where = f"{sheet.file.path}: {sheet.place(index, column)}"
        raise InputError.one(where, what, cells[index], code=Code.CONFLICT)


def _decimal(sheet: Sheet, column: str, cells: "pd.Series", options: Options, notes: Notes) -> str:
    """Raises InputError where the cells may be read in both ways."""
    if options.decimal is not None:
        if options.decimal not in {",", "."}:
            raise InputError.one("--decimal", '"," or "." is allowed', options.decimal, code=Code.UNKNOWN)
        return options.decimal
    commas, points = cells.str.contains(",", regex=False), cells.str.contains(".", regex=False)
    if not commas.any() and not points.any():
        return "."
    both = cells[commas & points]
    if len(both):
        sign = "," if both.iloc[0].rfind(",") > both.iloc[0].rfind(".") else "."
        notes.read.append(f"decimal {_word(sign)} and thousands separators in {column!r}")
        return sign
    if commas.any() and points.any():
        what = f"has decimal points and decimal commas, such as {cells[points].iloc[0]!r} and {cells[commas].iloc[0]!r}"
        raise InputError.one(f"{sheet.file.path}, column {column}", f"{what}; say --decimal", code=Code.FORMAT)
    sign, signed = (",", cells[commas]) if commas.any() else (".", cells[points])
    digits = signed.str.replace(r"[^\d.,]", "", regex=True)
    groups = digits.str.fullmatch(rf"[1-9]\d{{0,2}}(\{sign}\d{{3}})+")
    if not groups.all():
        if sign == ",":
            notes.read.append(f"decimal comma in {column!r}")
        return sign
    # 1.234 may be one and a bit or more than a thousand. Numbers without the sign beside it would then be below 1000.
    several = digits.str.count(rf"\{sign}") > 1
    if several.any():
        notes.read.append(f"{_word(sign)} as thousands separator in {column!r}")
        return "." if sign == "," else ","
    usual = "," if sheet.separator == ";" else "."
    if len(signed) == len(cells) and len(cells) > 1 and sign == usual:
        notes.assumed.append(
            f"{cells.iloc[0]!r} in {column!r} has a decimal {_word(sign)} and three digits (--decimal)"
        )
        return sign
    what = (
        f"may be read with a decimal {_word(sign)} or with a thousands separator: {signed.iloc[0]!r}; "
        'say --decimal "," or "."'
    )
    raise InputError.one(f"{sheet.file.path}, column {column}", what, code=Code.FORMAT)


def _word(sign: str) -> str:
    return "comma" if sign == "," else "point"


def _faults(sheet: Sheet, column: str, cells: "pd.Series", wrong: "np.ndarray", decimal: str) -> list[Fault]:
    """The first of each different cell, five at most, with how many there are."""
    counts = Counter(cells[wrong])
    first = {
        cell: int(place) for place, cell in zip(reversed(cells.index[wrong]), reversed(list(cells[wrong])), strict=True)
    }
    faults = [
        Fault(
            f"{sheet.file.path}: {sheet.place(first[cell], column)}",
            f"is not a number with a decimal {_word(decimal)}" + (f" [{count} cells]" if count > 1 else ""),
            shorten(cell),
            code=Code.FORMAT,
        )
        for cell, count in list(counts.items())[:5]
    ]
    if len(counts) > 5:
        rest = sum(counts.values()) - sum(list(counts.values())[:5])
        faults.append(
            Fault(
                str(sheet.file.path),
                f"and {rest} more such cells; another column? it has {sheet.listed()}",
                code=Code.FORMAT,
            )
        )
    return faults


def looks_numeric(cells: "pd.Series") -> bool:
    """Whether a column is of numbers, mostly."""
    filled = cells[~cells.str.casefold().isin(MISSING)].head(500)
    return len(filled) > 0 and bool(
        filled.str.fullmatch(
            re.compile(r"[-+\u2212]?[\d.,'\u2019 ]*\d[\d.,]*([eE][-+]?\d+)?( ?(kWh|kW|€|W|Wh|MWh))?")
        ).mean()
        > 0.8
    )
