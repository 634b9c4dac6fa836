"""A run with a scenario: scripted events, of a file."""

from pathlib import Path

from schemas.cycle import Course
from schemas.site import Site
from sites.loader import load_scenario


def with_scenario(site: Site, file: str | Path, course: Course) -> Site:
    """The site with the events of ``file``; local times are on the run's first day. Raises InputError, all faults."""
    day = course.t0.astimezone(site.zone).date()
    return load_scenario(file, site, day, course.t0, course.t_end)
