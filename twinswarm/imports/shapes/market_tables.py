"""Tables that market platforms let people download: ENTSO-E, SMARD, Energy-Charts.

ENTSO-E: ``MTU (CET/CEST)`` or ``MTU (UTC)`` with spans, areas and sequences in columns of their own. SMARD: ``Datum
von;Datum bis;Deutschland/Luxemburg [€/MWh] Originalauflösungen``, a hyphen for nothing, local times of Germany.
Energy-Charts: ``Date (GMT+1)`` with offsets, units in a second line.
"""

from collections.abc import Callable
from dataclasses import replace

from schemas.errors import Code, InputError
from twinswarm.imports.imported import Imported
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.series import series_of
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import Sheet, read_sheet

_GERMANY = "Europe/Berlin"


def _entsoe(wanted: Wanted) -> Imported:
    """Raises InputError for several areas, of which none is chosen."""
    sheet = read_sheet(wanted.file, wanted.options, wanted.notes)
    options = wanted.options
    times = next((name for name in sheet.columns if name.startswith(("MTU", "Time"))), None)
    if times is not None and options.time_zone is None:
        zone = "UTC" if "UTC" in times else "Europe/Brussels"
        options = replace(options, time_zone=zone, time_column=options.time_column or times)
    if "Area" in sheet.columns:
        sheet = _one_of(sheet, "Area", options.area, "--area", wanted)
    if "Sequence" in sheet.columns:
        sequences = sheet.cells["Sequence"]
        first = sequences.str.contains("Without") | sequences.str.fullmatch(r"(Sequence )?(Sequence )?1")
        if not first.all():
            wanted.notes.read.append(f"{int((~first).sum())} rows of further sequences of the auction are left out")
            sheet = replace(sheet, cells=sheet.cells[first])
    if options.column is None and wanted.kind is Kind.PRICE:
        fitting = [name for name in sheet.columns if name.lower().startswith("day-ahead price")]
        options = replace(options, column=fitting[0] if len(fitting) == 1 else None)
    return _series(sheet, wanted, options, "entsoe")


def _one_of(sheet: Sheet, column: str, chosen: str | None, option: str, wanted: Wanted) -> Sheet:
    there = sorted(set(sheet.cells[column]) - {""})
    mine = [one for one in there if chosen is None or chosen in {one, one.rpartition("|")[2]}]
    if len(mine) != 1:
        what = f"the file has {', '.join(there)}; say one of them"
        raise InputError.one(option, what, chosen, code=Code.MISSING if chosen is None else Code.UNKNOWN)
    wanted.notes.read.append(f"{column} {mine[0]}")
    return replace(sheet, cells=sheet.cells[sheet.cells[column] == mine[0]])


def _smard(wanted: Wanted) -> Imported:
    """Raises InputError for several areas, of which none is chosen."""
    sheet = read_sheet(wanted.file, wanted.options, wanted.notes)
    options = replace(wanted.options, time_zone=wanted.options.time_zone or _GERMANY)
    if options.column is None and options.area is not None:
        fitting = [name for name in sheet.columns if options.area.casefold() in name.casefold()]
        if len(fitting) != 1:
            raise InputError.one("--area", f"the file has {sheet.listed()}", options.area, code=Code.UNKNOWN)
        options = replace(options, column=fitting[0])
    return _series(sheet, wanted, options, "smard")


def _energy_charts(wanted: Wanted) -> Imported:
    sheet = read_sheet(wanted.file, wanted.options, wanted.notes)
    options = wanted.options
    if not sheet.cells.iloc[0, 0]:  # the line of units
        sheet = replace(sheet, cells=sheet.cells.iloc[1:], line=sheet.line + 1)
    if options.unit is None and wanted.kind is Kind.PRICE and "EUR/MWh" in wanted.file.begin:
        options = replace(options, unit="€/MWh")
    return _series(sheet, wanted, options, "energy-charts-table")


def _series(sheet: Sheet, wanted: Wanted, options: Options, name: str) -> Imported:
    """``options``: those that are wanted, with what the platform says; a unit that nobody asked for is its own."""
    sure = wanted.options.unit is None
    grid = series_of(sheet, wanted.kind, wanted.home, options, wanted.notes, sure=sure)
    return Imported(wanted.kind, name, {wanted.kind.value: grid}, wanted.notes)


def _head(*words: str) -> Callable[[RawFile], bool]:
    return lambda file: any(file.begin.partition("\n")[0].lstrip('"\ufeff').startswith(word) for word in words)


_KINDS = frozenset({Kind.PRICE, Kind.LOAD, Kind.PV})
SHAPES = (
    Shape(
        "entsoe", "table of ENTSO-E's transparency platform", _KINDS, _entsoe, _head("MTU (", "Time (CET", "Time (UTC")
    ),
    Shape(
        "smard", "table of SMARD, Bundesnetzagentur", _KINDS, _smard,
        lambda file: "Originalauflösung" in file.begin or "Original resolutions" in file.begin
        or "Berechnete Auflösungen" in file.begin or "Calculated resolutions" in file.begin,
    ),
    Shape(
        "energy-charts-table", "table of a chart of Energy-Charts", _KINDS, _energy_charts,
        _head("Date (GMT", "Datum (GMT", "Date (UTC", "Datum (UTC"),
    ),
)  # fmt: skip
