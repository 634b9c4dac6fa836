"""Who takes part in a league, by name: EMS of the product, rules, and a user's algorithm in a file or a program."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isclass
from typing import TYPE_CHECKING, Any

from schemas.errors import Code, InputError
from schemas.site import Site
from twinswarm.deploy.algorithm_file import load_algorithm
from twinswarm.deploy.algorithm_program import AlgorithmProgram, named_program
from twinswarm.league.rules import PvSurplus, Timer, Uncontrolled
from twinswarm.study.forecast_regret import FORECAST_CAUSES, without

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm

OURS, FORESIGHT, UNCONTROLLED = "ours", "foresight", "uncontrolled"
_RULES: dict[str, "Callable[[Site], Algorithm]"] = {
    UNCONTROLLED: Uncontrolled,
    "timer": Timer,
    "pv_surplus": PvSurplus,
}
NAMES = (OURS, FORESIGHT, *_RULES)
_OPTION = "--ems"


@dataclass(frozen=True)
class Entry:
    """The plant as a contestant finds it, and its algorithm; None: the product's EMS."""

    site: Site
    algorithm: "Algorithm | None"


def entry_of(name: str, site: Site) -> Entry:
    """A contestant that has seen nothing yet.

    ``name``: one of `NAMES`, or ``FILE.py:NAME`` with a function, or with a class that is made with the site and
    called with each problem, or ``NAME=COMMAND`` with a program (`twinswarm.deploy.algorithm_program`). Raises
    InputError.
    """
    if name == OURS:
        return Entry(site, None)
    if name == FORESIGHT:
        return Entry(without(site, FORECAST_CAUSES), None)
    if name in _RULES:
        return Entry(site, _RULES[name](site))
    if (program := named_program(name)) is not None:
        return Entry(site, AlgorithmProgram(*program, _OPTION))
    if ":" not in name:
        what = f"{', '.join(NAMES)}, FILE.py:NAME or NAME=COMMAND is allowed"
        raise InputError.one(_OPTION, what, name, code=Code.UNKNOWN)
    found: Any = load_algorithm(name, _OPTION)
    return Entry(site, _made(found, site, name) if isclass(found) else found)


def shown(name: str) -> str:
    """The name of a contestant in the table: that of a program is what stands before its command."""
    program = named_program(name)
    return name if program is None else program[0]


@contextmanager
def entered(name: str, site: Site) -> Iterator[Entry]:
    """A contestant while it plays; a program is closed afterwards."""
    entry = entry_of(name, site)
    try:
        yield entry
    finally:
        if isinstance(entry.algorithm, AlgorithmProgram):
            entry.algorithm.close()


def _made(kind: Callable[[Site], Any], site: Site, name: str) -> "Algorithm":
    try:
        made = kind(site)
    except InputError:
        raise
    except Exception as error:
        what = f"this class cannot be made with a site: {type(error).__name__}: {error}"
        raise InputError.one(_OPTION, what, name, code=Code.UNREADABLE) from error
    if not callable(made):
        raise InputError.one(_OPTION, "this class cannot be called with a problem", name, code=Code.FORMAT)
    algorithm: Algorithm = made
    return algorithm
