"""How long the value of each time holds, in files whose steps change."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

JITTER = 0.1
"""Part of a step by which a time may miss it."""
_RUN = 3
"""So many equal differences in a row are a step; fewer are holes among values of another one."""


def own_steps(times_s: "np.ndarray", usual_s: int) -> "np.ndarray":
    """Seconds from each time on in which its value holds.

    They are those to the next time, where that is the usual difference of the file, or one of several equal ones in a
    row that divides or is divided by it. Any other difference is a hole: before it, a value holds as long as the one
    before, or as the next one, if the time left is shorter.
    """
    import numpy as np

    differences = np.diff(times_s)
    steps = np.full(len(times_s), usual_s)
    if (differences == usual_s).all():
        return steps
    step = np.full(len(differences), 0)
    lengths = [int(one) for one in np.unique(differences[_in_runs(differences)])]
    for length in (usual_s, *(one for one in lengths if one % usual_s == 0 or usual_s % one == 0)):
        near = np.abs(differences - length) <= 2 * JITTER * length
        step[near & (step == 0)] = length
    _drop_holes(step)
    known = np.flatnonzero(step)
    step[known[(step[known] != usual_s) & ~_in_runs(step[known])]] = 0
    if not step.any():
        return steps
    known = np.flatnonzero(step)
    last = np.searchsorted(known, np.arange(len(times_s)), side="right") - 1
    before = step[known[np.maximum(last, 0)]]
    after = step[known[np.minimum(last + 1, len(known) - 1)]]
    room = np.r_[differences, times_s[-1] - times_s[0]]
    return np.where(before <= room * (1 + 2 * JITTER), before, after)


def _drop_holes(step: "np.ndarray") -> None:
    """Sets to 0 what is longer than the steps on both sides and too rare to be one, so that these are one run."""
    import numpy as np

    known = np.flatnonzero(step)
    edges = np.flatnonzero(np.r_[True, np.diff(step[known]) != 0, True])
    lengths, values = np.diff(edges), step[known[edges[:-1]]]
    around = np.r_[0, values, 0]
    holes = (lengths < _RUN) & (values > around[:-2]) & (values > around[2:])
    step[known[np.repeat(holes, lengths)]] = 0


def _in_runs(numbers: "np.ndarray") -> "np.ndarray":
    """Which numbers stand in a row of at least `_RUN` equal ones."""
    import numpy as np

    edges = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1], True])
    lengths = np.diff(edges)
    return np.asarray(np.repeat(lengths >= _RUN, lengths))
