"""What planning with learned departures costs and saves: the same days with announced, learned and known departures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.participant import Json
from schemas.site import Charger, LearnedDepartures, Site
from services.analysis.summary import local, number
from twinswarm.simulation.seen_sessions import having_seen
from twinswarm.study.day import Day
from twinswarm.study.forecast_regret import Cause, without
from twinswarm.study.pool import Pool

if TYPE_CHECKING:
    from rich.table import Table

ANNOUNCED, KNOWN = "announced", "known"


@dataclass(frozen=True)
class DeparturePlans:
    """The same time lived through once for each way to plan departures; money in €, over the whole time."""

    site: Site
    course: Course
    days: Mapping[str, Day]

    def value_eur(self, name: str) -> float:
        """Cost less the value of what is left in the batteries, at the mean purchase price of the time."""
        day = self.days[name]
        return day.cost_eur - day.worth_eur(day.stored_kwh)

    def above_known_frac(self, name: str) -> float:
        """Part by which it costs more than with known departures."""
        return self.value_eur(name) / self.value_eur(KNOWN) - 1

    def to_json(self) -> dict[str, Any]:
        return {
            "site": self.site.site,
            "start": self.course.t0.isoformat(),
            "end": self.course.t_end.isoformat(),
            "plans": [
                {
                    "departures": name,
                    "cost_eur": day.cost_eur,
                    "stored_kwh": day.stored_kwh,
                    "value_eur": self.value_eur(name),
                    "above_known_frac": self.above_known_frac(name),
                    "missing_kwh": day.departure_shortfall_kwh,
                    "cars_discharged_kwh": day.cars_discharged_kwh,
                    "import_peak_kw": day.peak_import_kw,
                    "plan_statuses": day.statuses,
                }
                for name, day in self.days.items()
            ],
        }


def compare_departures(
    site: Site,
    course: Course,
    chances: Sequence[float],
    processes: int | None = None,
    on_day: Callable[[], None] | None = None,
) -> DeparturePlans:
    """``chances``: those with which a vehicle has left before the learned departure that is planned with.

    What the EMS has learned it learned from the site's sessions before the time. Raises InputError for a site without
    charging sessions.
    """
    if not any(isinstance(device, Charger) and (device.sessions or device.daily) for device in site.devices.values()):
        raise InputError.one("SITE", "has no charging sessions", site.site, code=Code.EMPTY)
    plain = _planned(site, None)
    sites = {ANNOUNCED: plain}
    for chance in chances:
        options = site.ems.learned_departures or LearnedDepartures()
        sites[f"learned {chance:g}"] = _planned(site, options.model_copy(update={"leave_frac": chance}))
    sites[KNOWN] = without(plain, [Cause.DEPARTURES])
    seen: dict[str, Mapping[str, Json]] = {
        name: state for name, variant in sites.items() if (state := having_seen(variant, course.t0))
    }
    with Pool(course, [], processes) as pool:
        timed = pool.run(sites, lambda _: on_day() if on_day else None, seen)
    return DeparturePlans(site, course, {name: one.day for name, one in timed.items()})


def _planned(site: Site, departures: LearnedDepartures | None) -> Site:
    return site.model_copy(update={"ems": site.ems.model_copy(update={"learned_departures": departures})})


def departure_table(found: DeparturePlans) -> "Table":
    """A row for each way to plan."""
    from rich.table import Table

    zone = found.site.location.time_zone
    period = f"{local(found.course.t0, zone)} to {local(found.course.t_end, zone)}"
    table = Table(title=f"{found.site.site}, {period}", title_style="bold", title_justify="left")
    table.add_column("departures", no_wrap=True)
    heads = ("cost\n€", "stored\nkWh", "cost less\nstored, €", "above\nknown, %", "missing at\ndeparture\nkWh")
    for head in (*heads, "more, € per\nkWh not\nmissing", "V2G\nkWh", "highest\nimport\nkW"):
        table.add_column(head, justify="right", no_wrap=True)
    first = found.days[ANNOUNCED]
    for name, day in found.days.items():
        fewer_kwh = first.departure_shortfall_kwh - day.departure_shortfall_kwh
        more_eur = found.value_eur(name) - found.value_eur(ANNOUNCED)
        table.add_row(
            name,
            number(day.cost_eur),
            number(day.stored_kwh, 1),
            number(found.value_eur(name)),
            number(100 * found.above_known_frac(name)),
            number(day.departure_shortfall_kwh, 1),
            number(more_eur / fewer_kwh, 3) if abs(fewer_kwh) > 0.1 else "",
            number(day.cars_discharged_kwh, 1),
            number(day.peak_import_kw, 1),
        )
    return table
