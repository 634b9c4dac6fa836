"""The plant of a league by its truth: the stores that an EMS may move, and the sessions as they really were."""

from dataclasses import dataclass

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.site import Bess, Charger, ChargingSession, HeatPump, Site


@dataclass(frozen=True, slots=True)
class Visit:
    """A vehicle at a charger that an EMS may move; energies are in its battery."""

    charger: str
    spec: Charger
    session: ChargingSession

    @property
    def arrival_kwh(self) -> float:
        return self.session.arrival_soc_frac * self.session.capacity_kwh

    @property
    def target_kwh(self) -> float:
        return self.session.target_soc_frac * self.session.capacity_kwh


def batteries(site: Site) -> dict[str, Bess]:
    """The stationary batteries by name."""
    return {name: device for name, device in sorted(site.devices.items()) if isinstance(device, Bess)}


def visits(site: Site, course: Course) -> list[Visit]:
    """Of the controllable chargers within the course, by charger and arrival."""
    return [
        Visit(name, device, session)
        for name, device in sorted(site.devices.items())
        if isinstance(device, Charger) and device.controllable
        for session in device.sessions_between(course.t0, course.t_end, site.zone)
    ]


def check(site: Site) -> None:
    """Raises InputError for a site that has nothing to control, or whose perfect foresight is not known."""
    heat = [name for name, device in site.devices.items() if isinstance(device, HeatPump) and device.controllable]
    if heat:
        what = "perfect foresight of a heat pump is not known: set `controllable: false`"
        raise InputError.one(f"devices.{heat[0]}", what, heat[0], code=Code.CONFLICT)
    chargers = [d for d in site.devices.values() if isinstance(d, Charger) and d.controllable]
    if not chargers and not batteries(site):
        raise InputError.one("SITE", "has neither a BESS nor a charger that an EMS moves", site.site, code=Code.EMPTY)
