"""The allowed name nearest to a misspelled one."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing when no allowed name is near."""
    found = get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""
