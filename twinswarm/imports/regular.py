"""Values of times in any order, put on equal steps: duplicates, changing steps, holes."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.duplicates import Rows, conflict, time_name
from twinswarm.imports.notes import Notes, some
from twinswarm.imports.options import Duplicates, Holes, Options
from twinswarm.imports.own_steps import JITTER, own_steps

if TYPE_CHECKING:
    import numpy as np

MAX_STEPS = 2_000_000
LEAST_STEP_S, MOST_STEP_S = 1, 86_400
_SHORT_S = 7200
"""Holes up to so long are bridged by a straight line."""
_MOST_HOLES = 0.25
"""Share of missing values from which on a rule has to be chosen."""
_WEEK_S, _DAY_S = 604_800, 86_400


@dataclass(frozen=True)
class Grid:
    """``values[i]`` holds in the step that begins at ``start_s + i·step_s`` (UTC); NaN: a hole."""

    start_s: int
    step_s: int
    values: "np.ndarray"
    filled: "np.ndarray | None" = None
    """Which values were filled in; None: none."""

    @property
    def times_s(self) -> "np.ndarray":
        import numpy as np

        return np.asarray(self.start_s + self.step_s * np.arange(len(self.values)))

    @property
    def start(self) -> datetime:
        return datetime.fromtimestamp(self.start_s, UTC)

    @property
    def end(self) -> datetime:
        return datetime.fromtimestamp(self.start_s + self.step_s * len(self.values), UTC)


def usual_step(times_s: "np.ndarray", where: str) -> int:
    """The most frequent difference of neighbouring times [s]. Raises InputError for fewer than two times."""
    import numpy as np

    differences = np.diff(np.unique(times_s))
    if not len(differences):
        raise InputError.one(where, "needs values of two times at least, to know their step", code=Code.EMPTY)
    steps, counts = np.unique(differences, return_counts=True)
    return int(steps[counts.argmax()])


def ordered(
    times_s: "np.ndarray", values: "np.ndarray", where: str, options: Options, notes: Notes, rows: Rows | None = None
) -> tuple["np.ndarray", "np.ndarray"]:
    """By time, each once. ``rows``: where the values stand, if in a table.

    Raises InputError for different values of one time without a rule.
    """
    import numpy as np

    falling = np.diff(times_s) < 0
    if falling.any():
        if (np.diff(times_s) <= 0).all():
            notes.read.append("rows are the latest first")
        else:
            notes.repaired.append(f"{int(falling.sum())} rows were earlier than the one before; all were put in order")
    order = np.argsort(times_s, kind="stable")
    times, sorted_values = times_s[order], values[order]
    # Of a time with a value and a blank, the value counts.
    first = np.r_[True, np.diff(times) > 0]
    if first.all():
        return times, sorted_values
    group = np.cumsum(first) - 1
    count = int(group[-1]) + 1
    filled = np.isfinite(sorted_values)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, group[filled], sorted_values[filled])
    np.maximum.at(high, group[filled], sorted_values[filled])
    once = times[first]
    result = np.where(np.isfinite(low), low, np.nan)
    differing = np.isfinite(low) & (high > low)
    same = int(len(times) - count)
    if differing.any():
        names = some([time_name(time) for time in once[differing]])
        if options.duplicates is Duplicates.ERROR and rows is not None:
            raise conflict(times, group, differing, where, rows.only(order))
        if options.duplicates is Duplicates.ERROR:
            what = f"{int(differing.sum())} times have different values: {names}"
            what += "; say --duplicates first, last, mean or sum"
            raise InputError.one(where, what, code=Code.DUPLICATE)
        result = _chosen(sorted_values, group, count, filled, options.duplicates)
        notes.repaired.append(
            f"{int(differing.sum())} times had different values; {options.duplicates.value} counts: {names}"
        )
    elif options.duplicates is Duplicates.SUM:
        result = _chosen(sorted_values, group, count, filled, options.duplicates)
        notes.repaired.append(f"rows of {same} times that are there twice were added")
        return once, result
    rest = same - int(differing.sum())
    if rest > 0:
        notes.repaired.append(f"{rest} rows repeat a time and its value; they were left out")
    return once, result


def _chosen(
    values: "np.ndarray", group: "np.ndarray", count: int, filled: "np.ndarray", rule: Duplicates
) -> "np.ndarray":
    import numpy as np

    result = np.full(count, np.nan)
    at, known = group[filled], values[filled]
    if rule is Duplicates.LAST:
        result[at] = known
    elif rule is Duplicates.FIRST:
        result[at[::-1]] = known[::-1]
    else:
        total, number = np.zeros(count), np.zeros(count)
        np.add.at(total, at, known)
        np.add.at(number, at, 1)
        divisor = number if rule is Duplicates.MEAN else np.minimum(number, 1)
        result = np.where(number > 0, total / np.maximum(divisor, 1), np.nan)
    return result


def on_grid(
    times_s: "np.ndarray",
    values: "np.ndarray",
    where: str,
    notes: Notes,
    *,
    energy: bool,
    span_s: int | None = None,
    put_back_s: int | None = None,
) -> Grid:
    """Ordered values on equal steps, as powers where they are energies of their intervals.

    Where a file changes from hours to quarter-hours, the value of an hour holds in its quarters. ``put_back_s``: the
    times were the ends of intervals, less so much. Raises InputError for times that lie on no steps.
    """
    import numpy as np

    step = usual_step(times_s, where) if span_s is None else span_s
    if span_s is not None:
        own = np.full(len(times_s), step)
    elif put_back_s is not None:
        # What holds until a time is what holds from it on, seen from the end.
        own = own_steps(-times_s[::-1], step)[::-1]
        times_s = times_s + put_back_s - own
    else:
        own = own_steps(times_s, step)
    finest = int(np.gcd.reduce(own))
    if not LEAST_STEP_S <= finest <= MOST_STEP_S:
        raise InputError.one(
            where, f"has values every {finest} s; {LEAST_STEP_S} s to a day are allowed", code=Code.RANGE
        )
    _note_changes(times_s, own, notes)
    powers = values * 3600.0 / own if energy else values
    offset = (times_s - times_s[0]) % finest
    off = np.minimum(offset, finest - offset)
    if (off > JITTER * finest).any():
        bad = times_s[off > JITTER * finest]
        what = (
            f"{len(bad)} times lie off the steps of {finest} s: {some([time_name(time) for time in bad])}; "
            "readings at irregular times can be read as a counter alone (--reading counter)"
        )
        raise InputError.one(where, what, code=Code.INVALID)
    snapped = times_s + np.where(offset > finest / 2, finest - offset, -offset)
    if (moved := int((off > 0).sum())) > 0:
        notes.repaired.append(
            f"{moved} times were up to {int(off.max())} s off their steps of {finest} s; they were moved there"
        )
    start = int(snapped[0])
    count = int((snapped[-1] - start + own[-1]) // finest)
    if count > MAX_STEPS:
        what = f"spans {count} steps of {finest} s, from {time_name(start)} to {time_name(snapped[-1])}"
        what += f"; at most {MAX_STEPS} are read; is a time wrong?"
        raise InputError.one(where, what, code=Code.RANGE)
    result = np.full(count, np.nan)
    place = (snapped - start) // finest
    for part in range(int(own.max()) // finest):
        here = (part * finest < own) & (place + part < count)
        if part == 0:
            result[place[here]] = powers[here]
        else:
            at = place[here] + part
            free = np.isnan(result[at])
            result[at[free]] = powers[here][free]
    return Grid(start, finest, result)


def _note_changes(times_s: "np.ndarray", own: "np.ndarray", notes: Notes) -> None:
    """Notes where the steps change, and where a hole leaves it open which value is the first of the new ones."""
    import numpy as np

    changes = np.flatnonzero(np.diff(own))
    if not len(changes):
        return
    names = some([f"{own[n + 1]} s from {time_name(times_s[n + 1])} on" for n in changes])
    notes.read.append(f"steps change within the file: {own[0]} s, {names}; a value holds in the whole of its own")
    beside = np.abs(np.diff(times_s) - own[:-1])[changes] > 2 * JITTER * own[changes]
    if beside.any():
        where = some([time_name(times_s[n]) for n in changes[beside]])
        notes.assumed.append(f"beside a hole at a change of steps a value holds as long as those on its side: {where}")


def without_holes(grid: Grid, zone: tzinfo, where: str, options: Options, notes: Notes) -> Grid:
    """Blanks at both ends cut off, holes between filled by the rule. Raises InputError for too many of them."""
    import numpy as np

    known = np.flatnonzero(np.isfinite(grid.values))
    if not len(known):
        raise InputError.one(where, "has no values at all", code=Code.EMPTY)
    first, last = int(known[0]), int(known[-1]) + 1
    if (cut := first + len(grid.values) - last) > 0:
        notes.repaired.append(f"{cut} steps without values at the ends were cut off")
    grid = replace(grid, start_s=grid.start_s + first * grid.step_s, values=grid.values[first:last].copy())
    missing = ~np.isfinite(grid.values)
    if not missing.any():
        return grid
    runs = _runs(missing)
    names = some([_run_name(grid, begin, end) for begin, end in runs])
    number = f"{int(missing.sum())} of {len(missing)} values are missing, in {len(runs)} holes: {names}"
    if options.holes is Holes.ERROR:
        raise InputError.one(where, number, code=Code.MISSING)
    if missing.mean() > _MOST_HOLES and options.holes is Holes.AUTO:
        what = f"{number}; so many are filled by a rule of your choice alone: --holes linear, week, previous or zero"
        raise InputError.one(where, what, code=Code.MISSING)
    values = grid.values
    rules: dict[str, int] = {}
    for begin, end in runs:
        short = (end - begin) * grid.step_s <= _SHORT_S
        rule = options.holes
        if rule is Holes.AUTO:
            rule = Holes.LINEAR if short else Holes.WEEK
        used = _fill(grid, values, missing, begin, end, rule, zone)
        rules[used] = rules.get(used, 0) + end - begin
    how = "; ".join(f"{count} {rule}" for rule, count in rules.items())
    notes.repaired.append(f"{number}. They were filled (--holes {options.holes.value}): {how}")
    return replace(grid, values=values, filled=missing)


def _fill(
    grid: Grid, values: "np.ndarray", missing: "np.ndarray", begin: int, end: int, rule: Holes, zone: tzinfo
) -> str:
    """Fills one hole; returns the rule in words."""
    import numpy as np

    if rule is Holes.ZERO:
        values[begin:end] = 0.0
        return "with 0"
    if rule is Holes.PREVIOUS:
        values[begin:end] = values[begin - 1]
        return "with the value before"
    if rule is Holes.WEEK:
        places = np.arange(begin, end)
        local = _local_s(grid, places, zone)
        for days in (-7, 7, -14, 14, -1, 1):
            source = places + days * _DAY_S // grid.step_s
            inside = (source >= 0) & (source < len(values))
            if not inside.all():
                continue
            source = source + (local + days * _DAY_S - _local_s(grid, source, zone)) // grid.step_s
            if (source >= 0).all() and (source < len(values)).all() and not missing[source].any():
                values[begin:end] = values[source]
                return f"as {abs(days)} day{'s' if abs(days) > 1 else ''} {'before' if days < 0 else 'after'}"
    left, right = values[begin - 1], values[end]
    values[begin:end] = left + (right - left) * np.arange(1, end - begin + 1) / (end - begin + 1)
    return "on a straight line"


def _local_s(grid: Grid, places: "np.ndarray", zone: tzinfo) -> "np.ndarray":
    """Seconds of the local clock at the start of steps."""
    import numpy as np
    import pandas as pd

    utc = pd.DatetimeIndex((grid.start_s + places * grid.step_s).astype("datetime64[s]")).tz_localize("UTC")
    return np.asarray(utc.tz_convert(zone).tz_localize(None).as_unit("s").asi8)


def _runs(missing: "np.ndarray") -> list[tuple[int, int]]:
    import numpy as np

    edges = np.flatnonzero(np.diff(np.r_[0, missing.astype(int), 0]))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def resampled(grid: Grid, step_s: int, zone: tzinfo, notes: Notes) -> Grid:
    """Means over longer steps, counted from local midnight; in shorter ones a value holds. Raises InputError."""
    import numpy as np

    if step_s == grid.step_s:
        return grid
    if step_s < grid.step_s:
        if grid.step_s % step_s:
            raise InputError.one(
                "--step", f"does not divide the file's step of {grid.step_s} s", step_s, code=Code.RANGE
            )
        notes.assumed.append(f"within its step of {grid.step_s} s a value is the same (--step {step_s})")
        return Grid(grid.start_s, step_s, np.repeat(grid.values, grid.step_s // step_s), _each(grid, step_s))
    if step_s % grid.step_s:
        raise InputError.one("--step", f"is no multiple of the file's step of {grid.step_s} s", step_s, code=Code.RANGE)
    width = step_s // grid.step_s
    into = int(_local_s(grid, np.array([0]), zone)[0] % step_s) // grid.step_s
    skip = (width - into) % width
    count = (len(grid.values) - skip) // width
    if count < 2:
        raise InputError.one("--step", f"leaves {max(count, 0)} values", step_s, code=Code.RANGE)
    rest = len(grid.values) - skip - count * width
    if skip or rest:
        notes.repaired.append(
            f"{skip + rest} steps of {grid.step_s} s at the ends fill no step of {step_s} s and were cut off"
        )
    inside = slice(skip, skip + count * width)
    values = grid.values[inside].reshape(count, width).mean(axis=1)
    filled = None if grid.filled is None else np.asarray(grid.filled[inside].reshape(count, width).any(axis=1))
    return Grid(grid.start_s + skip * grid.step_s, step_s, values, filled)


def _each(grid: Grid, step_s: int) -> "np.ndarray | None":
    import numpy as np

    return None if grid.filled is None else np.repeat(grid.filled, grid.step_s // step_s)


def _run_name(grid: Grid, begin: int, end: int) -> str:
    return f"{time_name(grid.start_s + begin * grid.step_s)} +{(end - begin) * grid.step_s / 3600:g} h"
