"""Tables of values by time: load, PV power and prices."""

import re
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from schemas.plausibility import MAX_CO2_G_PER_KWH
from twinswarm.imports.clock import Clock, left_out, read_clock, to_utc
from twinswarm.imports.columns import TimeColumn, time_column, value_column
from twinswarm.imports.counters import power_of
from twinswarm.imports.dates import foot_of
from twinswarm.imports.duplicates import Rows
from twinswarm.imports.interval_numbers import Numbers, with_numbers
from twinswarm.imports.notes import Notes
from twinswarm.imports.numbers import numbers_of
from twinswarm.imports.options import Kind, Options, Reading, Stamp
from twinswarm.imports.regular import Grid, on_grid, ordered, resampled, usual_step, without_holes
from twinswarm.imports.sheet import Sheet
from twinswarm.imports.table_unit import unit_of_table
from twinswarm.imports.wide import melted
from twinswarm.imports.zones import zone_said

if TYPE_CHECKING:
    import numpy as np

_HALF_A_DAY_S = 43_200
_COUNTER_WORDS = re.compile(
    r"stand\b|\bindex\b|lettura|reading|register|counter|contatore|cumul|(?<!\d)[12]\.8\.\d", re.IGNORECASE
)


def series_of(
    sheet: Sheet, kind: Kind, home: tzinfo | None, options: Options, notes: Notes, *, sure: bool = False
) -> Grid:
    """The values of a table: kW or €/kWh on equal steps without holes. Raises InputError.

    ``home``: the zone of the site, None where there is none. ``sure``: the shape of the file says column and unit, so
    that small prices, or those of a day of zeros, are no reason to ask.
    """
    where = str(sheet.file.path)
    if sheet.cells.empty:
        raise InputError.one(where, "has no rows of what is read here", code=Code.EMPTY)
    wide = melted(sheet, options, notes)
    if wide is not None:
        table, sheet, times, column = sheet, wide.sheet, wide.times, wide.column
        numbers = numbers_of(sheet, column, options, notes)
        unit = unit_of_table(table, kind, wide.heads, wide.rows, numbers, options, notes)
    else:
        times = time_column(sheet, options, notes)
        column, unit = value_column(sheet, kind, times.columns, options, notes)
        sheet, times = _without_foot(sheet, times, notes)
        numbers = numbers_of(sheet, column, options, notes)
    clock = read_clock(times.cells, f"{where}, column {times.name}", sheet.line, options, notes)
    zone = zone_said(clock, times.name, home, where, options, notes)
    if times.numbers is not None:
        clock, sheet, numbers = _placed(clock, times.numbers, times.name, sheet, numbers, zone, options, notes)
    counter = unit.energy and _is_counter(column, numbers, clock, where, options, notes)
    stamp = Stamp.START if counter else _stamp_of(clock, times, where, options, notes)
    values = numbers if counter else numbers * unit.factor * options.factor
    rows = Rows(sheet.cells, sheet.place, clock.local_s, column)
    keep = _without_blank_hours(clock, values, zone)
    clock, values, rows = clock.only(keep), values[keep], rows.only(keep)
    utc, here, put_back_s = _starts(clock, zone, where, options, notes, stamp)
    utc, values = ordered(utc[here], values[here], where, options, notes, rows.only(here))
    if counter:
        grid = power_of(utc, values, where, options, notes, unit.factor * options.factor)
    else:
        span = clock.span_s if clock.span_s and usual_step(utc, where) < clock.span_s else None
        grid = on_grid(utc, values, where, notes, energy=unit.energy, span_s=span, put_back_s=put_back_s)
    by = home or zone
    grid = without_holes(grid, by, where, options, notes)
    if options.step_s is not None:
        grid = resampled(grid, options.step_s, by, notes)
    return _checked(grid, kind, where, notes, options, sure=sure)


def _without_foot(sheet: Sheet, times: TimeColumn, notes: Notes) -> tuple[Sheet, TimeColumn]:
    """Without rows below the table, such as a sum. A row without a time elsewhere is a fault later on."""
    last = len(sheet.cells) - foot_of(times.cells, sheet.cells, notes)
    numbers = None if times.numbers is None else replace(times.numbers, cells=times.numbers.cells.iloc[:last])
    return replace(sheet, cells=sheet.cells.iloc[:last]), replace(times, cells=times.cells.iloc[:last], numbers=numbers)


def _placed(
    dates: Clock,
    numbers: Numbers,
    name: str,
    sheet: Sheet,
    values: "np.ndarray",
    zone: tzinfo,
    options: Options,
    notes: Notes,
) -> tuple[Clock, Sheet, "np.ndarray"]:
    """The times of intervals that have numbers, with the rows that are of one. Raises InputError."""
    if options.stamp is Stamp.END:
        what = "the numbers of intervals say where they begin: 1 is the first of the day; leave it away"
        raise InputError.one("--stamp", what, options.stamp.value, code=Code.CONFLICT)

    def place(index: int) -> str:
        return f"{sheet.file.path}: {sheet.place(index, name)}"

    clock, here = with_numbers(dates, numbers, values, zone, place, notes)
    return clock.only(here), replace(sheet, cells=sheet.cells[here]), values[here]


def _is_counter(column: str, values: "np.ndarray", clock: Clock, where: str, options: Options, notes: Notes) -> bool:
    """Whether energies are readings of a counter. Raises InputError where it cannot be known."""
    import numpy as np

    if options.reading is not None:
        notes.read.append(
            f"energies are {'readings of a counter' if options.reading is Reading.COUNTER else 'of each interval'}"
        )
        return options.reading is Reading.COUNTER
    filled = np.isfinite(values)
    order = np.argsort(clock.local_s[filled], kind="stable")
    known, local_s = values[filled][order], clock.local_s[filled][order]
    steps = np.diff(known)
    named = _COUNTER_WORDS.search(column) is not None
    rises = len(known) > 20 and known[-1] > known[0] and float((steps > 0).mean()) > 0.3
    grows = rises and float((steps < 0).mean()) < 0.002
    if named and int((steps < 0).sum()) <= max(3, 0.02 * len(steps)):
        notes.read.append(f"{column!r} are readings of a counter")
        return True
    if grows or named or _falls_once_a_day(known, local_s):
        what = (
            "never falls, as the readings of a counter"
            if grows
            else "is named as a counter's readings, but rises and falls as energies of intervals"
            if named
            else "never falls but to about 0, at one time of the day, as the readings of a counter of each day"
        )
        raise InputError.one(
            f"{where}, column {column}", f"{what}; say --reading counter or --reading interval", code=Code.CONFLICT
        )
    notes.assumed.append("energies are those of each interval (--reading counter)")
    return False


def _falls_once_a_day(known: "np.ndarray", local_s: "np.ndarray") -> bool:
    """Whether values, which are in order of time, rise, and fall at one time of the day alone, to no more than an
    increase."""
    import numpy as np

    steps = np.diff(known)
    falls = np.flatnonzero(steps < 0)
    if (
        len(known) <= 20
        or np.median(np.diff(local_s)) >= _HALF_A_DAY_S
        or not len(falls)
        or float((steps > 0).mean()) < 0.2
    ):
        return False
    at = local_s[falls + 1]
    beside = (at - at[0] + 43_200) % 86_400 - 43_200
    days = np.unique(at // 86_400)
    once = len(days) == len(falls) and bool(np.abs(beside).max() <= 3600)
    return once and bool((known[falls + 1] <= 2 * steps.max()).all())


def _stamp_of(clock: Clock, times: TimeColumn, where: str, options: Options, notes: Notes) -> Stamp:
    """Which end of the interval a time is: as is said, as the header says, or as the first and the last time show."""
    if options.stamp is not None:
        notes.read.append(f"times are the {options.stamp.value} of their interval")
        return options.stamp
    if clock.span_s is not None or times.stamp is not None:
        stamp = Stamp.START if clock.span_s is not None else times.stamp or Stamp.START
        notes.read.append(f"times are the {stamp.value} of their interval, by {times.name!r}")
        return stamp
    first, last = int(clock.local_s.min()), int(clock.local_s.max())
    step = usual_step(clock.local_s, where)
    if first % 86_400 == step % 86_400 and last % 86_400 == 0 and step < 86_400:
        notes.read.append(
            "times are the end of their interval: the first is a step after midnight, the last midnight (--stamp start)"
        )
        return Stamp.END
    notes.assumed.append("times are the start of their interval (--stamp end)")
    return Stamp.START


def _starts(
    clock: Clock, zone: tzinfo, where: str, options: Options, notes: Notes, stamp: Stamp
) -> tuple["np.ndarray", "np.ndarray", int | None]:
    """Start of each interval in UTC, which rows have one, and by how much they were put back from its end [s].

    The end of an interval may be written in two ways at a change of the clock: as the clock shows it then, or as the
    start and a step. The one that leaves fewer gaps and repetitions is taken. Raises InputError.
    """
    import numpy as np

    if stamp is Stamp.START:
        return *to_utc(clock, zone, where, options, notes), None
    step = usual_step(clock.local_s, where)
    found: list[tuple[int, np.ndarray, np.ndarray, Notes]] = []
    faults: list[InputError] = []
    for before, after in ((step, 0), (0, step)):
        own = Notes()
        try:
            utc, here = to_utc(replace(clock, local_s=clock.local_s - before), zone, where, options, own)
        except InputError as error:
            faults.append(error)
            continue
        starts = np.unique(utc[here])
        gaps = int(starts[-1] - starts[0]) // step + 1 - len(starts)
        found.append((gaps + len(utc) - len(starts), utc - after, here, own))
    if not found:
        raise faults[0]
    _, utc, here, own = min(found, key=lambda way: way[0])
    notes.add(own)
    return utc, here, step


def _without_blank_hours(clock: Clock, values: "np.ndarray", zone: tzinfo) -> "np.ndarray":
    """All rows but those of the hour that summer time leaves out, if they hold nothing."""
    import numpy as np

    if clock.zoned:
        return np.ones(len(values), dtype=bool)
    return np.asarray(~(left_out(clock.local_s, zone) & ~np.isfinite(values)))


def _checked(grid: Grid, kind: Kind, where: str, notes: Notes, options: Options, *, sure: bool) -> Grid:
    """Raises InputError for what no site takes."""
    import numpy as np

    values = grid.values
    if np.abs(values).max() > 1e6:
        what = f"has the value {values[np.abs(values).argmax()]:g}, beyond a million; another unit or column?"
        raise InputError.one(where, what, code=Code.RANGE)
    if kind is Kind.PRICE and np.abs(values).max() > 5:
        what = f"has a price of {values[np.abs(values).argmax()]:g} €/kWh, and at most 5 are taken; another --unit?"
        raise InputError.one(where, what, code=Code.RANGE)
    if kind is Kind.PRICE and not values.any():
        if not sure and options.column is None:
            what = "has prices of 0 alone; another --column? One that is said is taken"
            raise InputError.one(where, what, code=Code.RANGE)
        notes.read.append("all prices are 0")
    elif kind is Kind.PRICE and not sure and np.quantile(np.abs(values), 0.99) < 0.001:
        what = f"has prices of {np.abs(values).max():g} €/kWh at most; another --unit?"
        raise InputError.one(where, what, code=Code.RANGE)
    if kind is Kind.CO2 and not 0 <= values.min() <= values.max() <= MAX_CO2_G_PER_KWH:
        what = f"lies between {values.min():g} and {values.max():g} g/kWh, and 0 to {MAX_CO2_G_PER_KWH:g} are taken"
        raise InputError.one(where, f"{what}; another --unit or --column?", code=Code.RANGE)
    if kind is Kind.CO2 and values.max() < 1:
        raise InputError.one(where, f"has {values.max():g} g/kWh at most; another --unit?", code=Code.RANGE)
    if kind is Kind.PV:
        negative = values < 0
        if negative.mean() > 0.5 or values.max() <= 0:
            what = "is mostly negative; PV power is positive here: --factor -1 turns the sign"
            raise InputError.one(where, what, code=Code.RANGE)
        if negative.any():
            kwh = -float(values[negative].sum()) * grid.step_s / 3600
            notes.repaired.append(f"{int(negative.sum())} negative values of PV power, {kwh:.3f} kWh, are 0")
            return replace(grid, values=np.where(negative, 0.0, values))
    if kind is Kind.LOAD and (values < 0).any():
        notes.read.append(f"{int((values < 0).sum())} values are negative: is it the power at the PCC, PV included?")
    largest, usual = float(np.abs(values).max()), float(np.quantile(np.abs(values), 0.99))
    if len(values) > 500 and largest > 10 * usual > 0:
        notes.read.append(
            f"the largest value, {largest:g}, is {largest / usual:.0f} times what 99 % stay below: look at it"
        )
    return grid
