"""A site's forecasts measured: errors over all that its data carry, and what it costs not to know the future."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.site import ForecastKind, Meter, Pv, Site, TimeProfile, day_start, next_midnight
from twinswarm.study.forecast_errors import Walk, walked
from twinswarm.study.forecast_regret import Regret, regrets
from twinswarm.study.own_site import course_over

LEARNING_DAYS = 28
"""Days before errors count; a quarter of what the data carry, if that is less."""
TYPICAL_DAYS = 56
"""Days that are walked where all profiles are of a typical day."""


@dataclass(frozen=True)
class Evaluation:
    """All that was measured."""

    site: Site
    walk: Course
    count_from: datetime
    carries: str
    """What the site's data carry, in words."""
    walks: tuple[Walk, ...]
    course: Course | None
    """Of the regret; None: it was not asked for."""
    regrets: tuple[Regret, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "site": self.site.site,
            "carries": self.carries,
            "errors": {
                "start": self.walk.t0.isoformat(),
                "end": self.walk.t_end.isoformat(),
                "count_from": self.count_from.isoformat(),
                "kinds": {
                    walk.kind.value: [
                        {"device": device, "lead_h": lead.total_seconds() / 3600, **sums.to_json()}
                        for (device, lead), sums in walk.errors.items()
                    ]
                    for walk in self.walks
                },
            },
            "regret": None
            if self.course is None
            else {
                "start": self.course.t0.isoformat(),
                "end": self.course.t_end.isoformat(),
                "kinds": [regret.to_json() for regret in self.regrets],
            },
        }


def evaluate(
    site: Site,
    kinds: Sequence[ForecastKind],
    first: date | None,
    length: str | None,
    processes: int | None = None,
    on_walk: Callable[[], None] | None = None,
    on_day: Callable[[], None] | None = None,
) -> Evaluation:
    """Walks forward over all that the site's data carry, and lives ``length`` from ``first`` on through for regret.

    What each kind has learned before ``first`` it knows. ``length`` None: no regret. ``on_walk`` is called after each
    walk, ``on_day`` after each run. Raises InputError for a time that the data do not cover.
    """
    start, end, carries = span_of(site)
    course = None if length is None else course_over(site, length, first)
    if course is not None and not start <= course.t0 < course.t_end <= end:
        start, end = min(start, course.t0), max(end, course.t_end)
    walk = Course(start, end, site.time.step_s)
    count_from = start + min(timedelta(days=LEARNING_DAYS), (end - start) / 4)
    walks = []
    for kind in kinds:
        walks.append(walked(site, kind, walk, count_from, None if course is None else course.t0))
        if on_walk is not None:
            on_walk()
    found: tuple[Regret, ...] = ()
    if course is not None:
        found = tuple(regrets(site, course, {walk.kind: walk.learned for walk in walks}, processes, on_day).values())
    return Evaluation(site, walk, count_from, carries, tuple(walks), course, found)


def span_of(site: Site) -> tuple[datetime, datetime, str]:
    """Whole local days that the profiles of load and PV cover, and what they are in words.

    Profiles of a typical day repeat; where all are, so many days up to the site's date are walked. Raises InputError
    for a site with neither load nor PV.
    """
    used = {
        name for device in site.devices.values() if isinstance(device, Meter | Pv) for _, name in device.profiles_used
    }
    if not any(isinstance(device, Meter | Pv) for device in site.devices.values()):
        raise InputError.one("SITE", "has neither a load meter nor PV to forecast", site.site, code=Code.EMPTY)
    spans = [profile for name in sorted(used) if isinstance(profile := site.profiles[name], TimeProfile)]
    if not spans:
        noon = datetime(site.date.year, site.date.month, site.date.day, 12, tzinfo=site.zone)
        end = next_midnight(noon, site.zone)
        start = day_start(noon - timedelta(days=TYPICAL_DAYS - 1), site.zone)
        return start, end, "typical days only, which repeat: nothing can be learned that is not in them"
    begin, last = max(span.begin for span in spans), min(span.end for span in spans)
    start = begin if begin == day_start(begin, site.zone) else next_midnight(begin, site.zone)
    end = day_start(last, site.zone)
    if start >= end:
        what = "the profiles of load and PV have not one whole local day in common"
        raise InputError.one("SITE", what, site.site, code=Code.RANGE)
    days = round((end - start) / timedelta(days=1))
    first, until = start.astimezone(site.zone).date(), (end - timedelta(hours=1)).astimezone(site.zone).date()
    return start, end, f"{days} days, {first} to {until}"
