"""A site by hand: a flat load, two prices, and an ideal battery that does not exist."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from runtime.in_memory import run_direct
from schemas.participant import Received
from schemas.site import Bess, Connection, DayProfile, EmsOptions, Location, Meter, Site, Tariff, TimeOptions
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import lockstep_run
from services.history.memory import MemoryHistory, lockstep_info
from twinswarm.simulation.compose import maker, members
from twinswarm.simulation.runs import course_of

RUN = "20261101T120000.000000Z-0001"
DAY = date(2024, 5, 17)
CHEAP, DEAR = 0.10, 0.30
IDEAL = Bess(
    capacity_kwh=20,
    max_charge_kw=10,
    max_discharge_kw=10,
    charge_efficiency=1,
    discharge_efficiency=1,
    soc_min_frac=0,
    soc_max_frac=1,
    initial_soc_frac=0,
)


def hall(
    ghosts: dict[str, Any], load_kw: float = 10.0, prices: tuple[float, float] = (CHEAP, DEAR), **update: Any
) -> Site:
    """Until noon a kWh costs 0.10 €, then 0.30 €, by default; it is sold at nothing."""
    site = Site(
        site="hall",
        location=Location(latitude_deg=45, longitude_deg=9, time_zone="Europe/Rome"),
        date=DAY,
        connection=Connection(import_limit_kw=100, export_limit_kw=100),
        tariff=Tariff(purchase="buys", sale="sells"),
        devices={"load": Meter(profile="flat")},
        profiles={
            "flat": DayProfile(values=(load_kw,) * 96),
            "buys": DayProfile(values=(prices[0],) * 48 + (prices[1],) * 48),
            "sells": DayProfile(values=(0.0,) * 96),
        },
        ems=EmsOptions(horizon="day"),
        time=TimeOptions(step_s=3600),
        ghosts=ghosts,
    )
    return site.model_copy(update=update)


def live(site: Site, hours: int = 24) -> MemoryHistory:
    """A day of the site in lock-step, or its first hours, with whoever lives beside it."""
    course, messages = course_of(site, DAY, timedelta(hours=hours)), list[Received]()
    everybody = [maker(site, name)() for name in members(site) if name != "recorder"]
    clock = Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    run_direct(everybody, course, RUN, (clock, lockstep_run(course, now)), on_message=messages.append)
    return MemoryHistory(lockstep_info(RUN, site, course.t0, course.t_end, course.step_s, now), site, messages)
