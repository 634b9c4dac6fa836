"""Readings of a counter as power: differences, with resets, roll-overs and single false readings."""

from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.duplicates import time_name
from twinswarm.imports.notes import Notes, some
from twinswarm.imports.options import Options
from twinswarm.imports.regular import MAX_STEPS, Grid, usual_step

if TYPE_CHECKING:
    import numpy as np

_LEAP = 20.0
"""An increase by more than so many times the usual large one is no energy."""

_FAR = 50.0
"""As far above it a counter leaps that was exchanged for another one."""

_LEAST_FULL = 1e4
"""Counters of fewer digits are not made; what falls from 94 to 0 begins again."""

_DROPOUT = 100
"""So many readings at most a meter that does not answer leaves too low."""

_PLAUSIBLE = 3.0
"""So many times the usual large increase at most is the energy of a time in which a meter did not answer."""


def power_of(
    times_s: "np.ndarray", readings: "np.ndarray", where: str, options: Options, notes: Notes, kwh: float = 1.0
) -> Grid:
    """Mean power [kW] of equal steps from readings in order, as the counter shows them.

    ``kwh`` is the energy of one of its units; a counter rolls over at a power of ten of what it shows.

    Between two readings the energy is spread evenly, so that what the counter counted is what the profile holds,
    however far they are apart. After a reset the energy since then is the reading itself; where a reading fits neither
    a reset nor a roll-over, the step is a hole. Raises InputError.
    """
    import numpy as np

    known = np.isfinite(readings)
    times, values = times_s[known], readings[known]
    times, values = _without_dropouts(times, values, notes)
    times, values = _without_slips(times, values, notes)
    if len(times) < 2:
        raise InputError.one(where, f"has {len(times)} readings, and two are needed", code=Code.EMPTY)
    step = options.step_s or usual_step(times, where)
    increments, unknown = _increments(times, values, notes)
    total = np.r_[0.0, np.cumsum(increments)]
    # Steps begin where most readings are: at half past in India.
    phases, counts = np.unique(times % step, return_counts=True)
    phase = int(phases[counts.argmax()])
    begin = -(-(int(times[0]) - phase) // step) * step + phase
    end = (int(times[-1]) - phase) // step * step + phase
    count = (end - begin) // step
    if count > MAX_STEPS or count < 1:
        what = f"spans {count} steps of {step} s, from {time_name(times[0])} to {time_name(times[-1])}"
        raise InputError.one(where, what, code=Code.RANGE)
    edges = begin + step * np.arange(count + 1)
    if not np.isin(edges, times).all():
        apart = int((np.diff(times) > step).sum())
        notes.repaired.append(
            f"readings are not at all steps of {step} s; between two of them the energy is spread evenly"
            + (
                f"; {apart} are farther apart than a step, {int(np.diff(times).max()) // 60} min at most"
                if apart
                else ""
            )
        )
    at_edges = np.interp(edges, times, total)
    powers = np.diff(at_edges) * 3600.0 / step
    for place in np.flatnonzero(unknown):
        first = max((int(times[place]) - begin) // step, 0)
        last = min(-(-(int(times[place + 1]) - begin) // step), count)
        powers[first:last] = np.nan
    lost = float(total[-1] - (at_edges[-1] - at_edges[0]))
    if abs(lost) > 1e-9 * max(total[-1], 1.0):
        notes.repaired.append(f"{lost * kwh:.3f} kWh before the first and after the last whole step were cut off")
    return Grid(begin, step, powers * kwh)


def _without_dropouts(times: "np.ndarray", values: "np.ndarray", notes: Notes) -> tuple["np.ndarray", "np.ndarray"]:
    """Without readings of a meter that did not answer: they fall, and then leap back to where the counter would be.

    A counter that began again would have to count more than is usual to be there.
    """
    import numpy as np

    if len(values) < 4:
        return times, values
    usual, lengths = _usual_above(values), _lengths(times)
    past = np.r_[0.0, np.cumsum(lengths)]
    out = np.zeros(len(values), dtype=bool)
    for place in np.flatnonzero(np.diff(values) < 0):
        if out[place]:
            continue
        back = np.flatnonzero(values[place + 2 : place + 2 + _DROPOUT] >= values[place])
        if not len(back):
            continue
        end = place + 2 + int(back[0])
        most = _PLAUSIBLE * usual
        across = values[end] - values[place] <= most * (past[end] - past[place])
        leaps = values[end] - values[end - 1] > most * max(1.0, float(lengths[end - 1]))
        out[place + 1 : end] |= across and leaps
    return _left_out(times, values, out, "fall below those before and after them", notes)


def _left_out(
    times: "np.ndarray", values: "np.ndarray", out: "np.ndarray", why: str, notes: Notes
) -> tuple["np.ndarray", "np.ndarray"]:
    if out.any():
        named = [f"{time_name(time)} ({value:g})" for time, value in zip(times[out], values[out], strict=True)]
        notes.repaired.append(f"{int(out.sum())} readings {why} and were left out: {some(named)}")
    return times[~out], values[~out]


def _usual_above(values: "np.ndarray") -> float:
    """A large increase among the usual ones, without those that lead back from a fall, if there are enough others."""
    import numpy as np

    increments = np.diff(values)
    above = increments[values[:-1] >= np.maximum.accumulate(values)[:-1]]
    return _usual(above if (above > 0).sum() >= 10 else increments)


def _lengths(times: "np.ndarray") -> "np.ndarray":
    """Of the times between readings, in usual ones."""
    import numpy as np

    differences = np.diff(times)
    return np.asarray(differences / np.median(differences))


def _without_slips(times: "np.ndarray", values: "np.ndarray", notes: Notes) -> tuple["np.ndarray", "np.ndarray"]:
    """Without single readings below or above both neighbours while the neighbours go on: a zero, a spike."""
    import numpy as np

    if len(values) < 3:
        return times, values
    before, here, after = values[:-2], values[1:-1], values[2:]
    goes_on = after >= before
    usual = _usual(np.diff(values))
    slip = np.r_[
        False, goes_on & ((here < before) | (here > after)) & (after - before <= _LEAP * max(usual, 1e-9) * 2), False
    ]
    return _left_out(times, values, slip, "lie outside those before and after them", notes)


def _usual(differences: "np.ndarray") -> float:
    """A large increase among the usual ones [kWh]."""
    import numpy as np

    rising = differences[differences > 0]
    return float(np.quantile(rising, 0.95, method="lower")) if len(rising) else 0.0


def _increments(times: "np.ndarray", values: "np.ndarray", notes: Notes) -> tuple["np.ndarray", "np.ndarray"]:
    """Energy between readings [kWh], and where it is not known."""
    import numpy as np

    increments = np.diff(values)
    usual = _usual(increments)
    unknown = np.zeros(len(increments), dtype=bool)
    resets, rolled, swapped, leaps = [], [], [], []
    lengths = _lengths(times)
    daily = _daily(times[1:][increments < 0])
    for place in np.flatnonzero(increments > _FAR * usual * np.maximum(lengths, 1.0)):
        leaps.append(f"{time_name(times[place + 1])} ({values[place]:g} to {values[place + 1]:g})")
        increments[place], unknown[place] = 0.0, True
    for place in np.flatnonzero(increments < 0):
        before, after = float(values[place]), float(values[place + 1])
        most = _LEAP * usual * max(1.0, float(lengths[place]))
        full = 10.0 ** np.ceil(np.log10(max(before, 1.0)))
        beyond = full - before + after
        name = f"{time_name(times[place + 1])} ({before:g} to {after:g})"
        rolls = full >= _LEAST_FULL and before > 0.9 * full and not daily
        if rolls and after >= 0 and beyond <= _PLAUSIBLE * usual * max(1.0, float(lengths[place])):
            increments[place] = beyond
            rolled.append(name)
        elif 0 <= after <= most:
            increments[place] = after
            resets.append(name)
        else:
            increments[place], unknown[place] = 0.0, True
            swapped.append(name)
    for names, what in (
        (resets, "resets of the counter; what was counted since is the reading itself"),
        (rolled, "roll-overs of the counter at a power of ten; the energy across is known"),
        (leaps, f"leaps of the counter by more than {_FAR:g} times what is usual; the steps are holes"),
        (swapped, "falls of the counter that fit no reset; the steps are holes"),
    ):
        if names:
            notes.repaired.append(f"{len(names)} {what}: {some(names)}")
    return increments, unknown


def _daily(times: "np.ndarray") -> bool:
    """Whether several falls are at one time of day: a counter of each day's energy."""
    import numpy as np

    if len(times) < 2:
        return False
    beside = (times - times[0] + 43_200) % 86_400 - 43_200
    return bool(np.abs(beside).max() <= 3600)
