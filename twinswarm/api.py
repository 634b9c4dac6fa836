"""The functions of the public API. Import them from `twinswarm`."""

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - a parameter has this name
from datetime import time as Time  # noqa: N812 - it says what it is in a signature
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TypeVar

from schemas.cycle import Course
from schemas.errors import Code, Fault, InputError, shorten
from schemas.site import Site, day_start
from twinswarm.simulation.coverage import check_profiles
from twinswarm.simulation.runs import local_course, local_instant, parse_date, parse_duration
from twinswarm.simulation.variants import Reference, StorageChoice, with_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.messages import Plan
    from services.analysis.run_result import RunResult
    from services.ems.algorithm import Algorithm
    from services.history.reader import History

ChoiceT = TypeVar("ChoiceT", StorageChoice, Reference)
AnySite = Site | str | Path
"""A site, or what `load_site` takes."""
Storage = Literal["none", "bess", "v2g", "both"]
"""What the EMS may store in."""
Baseline = Literal["no-cars", "uncontrolled", "smart"]
"""What savings are measured against, never with BESS or V2G."""


def load_site(site: str | Path, case: str | None = None) -> Site:
    """The site of a description: a YAML file, a folder with site.yaml, resolved JSON, or a name of one in the box.

    ``case``: one of the description's cases, by name. Raises `InputError` with every fault of the description.
    """
    from sites.loader import load_site as load

    return load(site, case)


def run_day(
    site: AnySite = "fit_g2v",
    *,
    case: str | None = None,
    date: Date | str | None = None,
    begin: Time | str | None = None,
    length: timedelta | str | None = None,
    storage: Storage = "both",
    baseline: Baseline = "smart",
    ems: "Algorithm | None" = None,
    scenario: Path | str | None = None,
    history: Path | str | None = None,
) -> "RunResult":
    """Lives through a day in memory, and compares it with its baseline: the numbers of ``twinswarm run``.

    ``case``: of the description, where ``site`` is not loaded yet. ``date``: the local day, by default the site's.
    ``begin``: local time, by default midnight. ``length``: a timedelta, or text such as ``"2h"``; by default until
    the end of that local day. ``ems``: a function from the problem to set-points [kW] in the place of the optimiser.
    ``scenario``: a file of scripted events, docs/scenario.md.
    ``history``: an SQLite file that the run is added to, to be read by `open_history`; by default nothing is kept.
    Raises `InputError` for wrong input, `TwinswarmError` when the run fails.
    """
    from twinswarm.simulation.pipeline import Order, conduct_in_memory

    span = RunSpan(date, begin, length)
    loaded = as_site(site, case)
    course = span.course(loaded)
    loaded = as_scripted(loaded, scenario, course)
    chosen, compared = as_storage(storage), as_baseline(baseline)
    with _history_file(history) as file:
        return conduct_in_memory(Order(loaded, course, chosen, compared, file, ems))


def plan(
    site: AnySite = "fit_g2v",
    at: Time | str = "00:00",
    *,
    case: str | None = None,
    date: Date | str | None = None,
    storage: Storage = "both",
    baseline: Baseline = "smart",
) -> "Plan":
    """The plan that the site's EMS makes at a local time, a step's beginning: powers [kW], SOC, objective [€].

    The site lives through its day until then, unrecorded, because a plan needs measurements. Raises `InputError`.
    """
    from twinswarm.simulation.one_plan import plan_at

    loaded = as_site(site, case)
    course = RunSpan(date).course(loaded)
    moment = local_instant(at, day_start(course.t0, loaded.zone), loaded, where="at")
    return plan_at(with_storage(loaded, as_storage(storage), as_baseline(baseline)), course, moment)


def open_history(history: Path | str) -> "History":
    """A history for reading: an SQLite file, or a text such as ``influxdb://host:port/org/bucket``.

    It is to be closed, as by ``contextlib.closing``. Raises `InputError` when there is none.
    """
    from twinswarm.simulation.histories import open_history as open_url

    text = str(history)
    return open_url(text if text.startswith(("sqlite:", "influxdb")) else f"sqlite:{text}")


# What the functions share.


@dataclass(frozen=True, slots=True)
class RunSpan:
    """From when, and for how long, as a caller says it."""

    date: Date | str | None = None
    begin: Time | str | None = None
    length: timedelta | str | None = None

    def course(self, site: Site) -> Course:
        """Raises InputError."""
        day = parse_date(self.date, "date") if isinstance(self.date, str) else self.date
        span = parse_duration(self.length, "length") if isinstance(self.length, str) else self.length
        course = local_course(site, day, span)
        if self.begin is not None:
            t0 = local_instant(self.begin, course.t0, site, where="begin")
            course = Course(t0, course.t_end if span is None else t0 + span, course.step_s)
        check_profiles(site, course.t0, course.t_end)
        return course


def as_site(site: AnySite, case: str | None) -> Site:
    """Raises InputError."""
    if isinstance(site, str | Path):
        return load_site(site, case)
    if case is not None:
        what = "is of a description: give it to load_site, where the site is loaded already"
        raise InputError.one("case", what, case, code=Code.CONFLICT)
    return site


def as_scripted(site: Site, scenario: Path | str | None, course: Course) -> Site:
    """Raises InputError with every fault of the scenario."""
    from twinswarm.simulation.scripted import with_scenario

    return site if scenario is None else with_scenario(site, scenario, course)


def as_storage(storage: str) -> StorageChoice:
    """Raises InputError."""
    return _choice(StorageChoice, storage, "storage")


def as_baseline(baseline: str) -> Reference:
    """Raises InputError."""
    return _choice(Reference, baseline, "baseline")


def _choice(kinds: type[ChoiceT], text: str, where: str) -> ChoiceT:
    try:
        return kinds(text)
    except ValueError:
        what = f"{', '.join(kinds)} are allowed"
        raise InputError([Fault(where, what, shorten(text), code=Code.UNKNOWN)]) from None


@contextmanager
def _history_file(history: Path | str | None) -> "Iterator[Path]":
    if history is not None:
        yield Path(history)
        return
    with TemporaryDirectory(prefix="twinswarm-") as folder:
        yield Path(folder) / "history.sqlite"
