"""Any table: delimited text or an Excel sheet with a column of times and one of values, or a row for each day."""

from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Kind
from twinswarm.imports.series import series_of
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import Sheet, read_sheet

NAME = "table"


def read(wanted: Wanted) -> Imported:
    """Raises InputError."""
    return imported(read_sheet(wanted.file, wanted.options, wanted.notes), wanted, NAME)


def imported(sheet: Sheet, wanted: Wanted, shape: str, *, sure: bool = False) -> Imported:
    """The values of a sheet. ``sure``: as of `series_of`. Raises InputError."""
    grid = series_of(sheet, wanted.kind, wanted.home, wanted.options, wanted.notes, sure=sure)
    return Imported(wanted.kind, shape, {wanted.kind.value: grid}, wanted.notes)


SHAPE = Shape(NAME, "any table of times and values", frozenset({Kind.LOAD, Kind.PV, Kind.PRICE, Kind.CO2}), read)
