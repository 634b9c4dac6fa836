"""What it costs not to know the future: days lived through again with one cause after another removed.

Regret is telescoped: the causes are removed in the order of `CAUSES`, each on top of those before it, and a cause's
part is the change that its removal makes. So the parts sum to the whole exactly; another order gives other parts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from schemas.cycle import Course
from schemas.participant import Json
from schemas.site import AnyDevice, Bess, Charger, ForecastKind, HeatPump, Meter, Network, Pv, Site
from twinswarm.study.day import Day
from twinswarm.study.pool import Pool


class Cause(StrEnum):
    """A cause of regret, in the order in which they are removed."""

    LOAD = "load"
    """The load is known in advance."""
    PV = "pv"
    """Available PV power is known in advance."""
    DEPARTURES = "departures"
    """Drivers leave when they announce."""
    DEAD_TIME = "dead time"
    """Set-points take effect at once, without ramps."""
    CALM = "calm"
    """Every set-point is sent, however little it gains."""
    NETWORK = "network"
    """One busbar: no losses, no limits of cables and transformer."""


CAUSES = tuple(Cause)
FORECAST_CAUSES = (Cause.LOAD, Cause.PV, Cause.DEPARTURES)


def without(site: Site, causes: Sequence[Cause]) -> Site:
    """The site with these causes of regret removed."""
    known = [quantity for quantity, cause in (("load", Cause.LOAD), ("pv", Cause.PV)) if cause in causes]
    learned = tuple(quantity for quantity in site.forecast.learned if quantity not in known)
    options = site.forecast.model_copy(update={"learned": learned} if learned else {"kind": ForecastKind.PROFILE})
    update: dict[str, Any] = {
        "forecast": options,
        "devices": {name: _without(device, causes) for name, device in site.devices.items()},
    }
    if Cause.CALM in causes:
        update["ems"] = site.ems.model_copy(update={"calm": None})
    if Cause.NETWORK in causes:
        update["network"] = Network()
    return site.model_copy(update=update)


def _without(device: AnyDevice, causes: Sequence[Cause]) -> AnyDevice:
    update: dict[str, Any] = {}
    if isinstance(device, Meter) and Cause.LOAD in causes:
        update["forecast_profile"] = None
    if isinstance(device, Pv) and Cause.PV in causes:
        update["forecast"] = device.source
    if isinstance(device, Charger) and Cause.DEPARTURES in causes:
        update["sessions"] = tuple(
            session.model_copy(update={"announced_departure": None}) for session in device.sessions
        )
    if isinstance(device, Charger | Bess) and Cause.DEAD_TIME in causes:
        update |= {"dead_time_s": 0.0, "ramp_kw_per_s": None}
    if isinstance(device, HeatPump) and Cause.DEAD_TIME in causes:
        update["dead_time_s"] = 0.0
    if Cause.NETWORK in causes:
        update["node"] = None
    return device.model_copy(update=update)


@dataclass(frozen=True)
class Regret:
    """The regret of one kind of forecast over a time. Money in €, over all days."""

    kind: ForecastKind
    days: float
    chain: tuple[Day, ...]
    """As it is, then with one cause after another removed."""
    price_eur_per_kwh: float
    """Of energy left in batteries, and of energy lost: the time's mean purchase price."""

    def value_eur(self, removed: int) -> float:
        """Cost less the value of what is left in the batteries, with so many causes removed."""
        day = self.chain[removed]
        return day.cost_eur - day.stored_kwh * self.price_eur_per_kwh

    def parts_eur_per_day(self) -> dict[Cause, float]:
        """By cause. They sum to `total_eur_per_day`."""
        return {cause: (self.value_eur(i) - self.value_eur(i + 1)) / self.days for i, cause in enumerate(CAUSES)}

    @property
    def total_eur_per_day(self) -> float:
        return (self.value_eur(0) - self.value_eur(len(CAUSES))) / self.days

    @property
    def forecast_eur_per_day(self) -> float:
        """The part of load, PV and departures: above perfect foresight in the same building."""
        return (self.value_eur(0) - self.value_eur(len(FORECAST_CAUSES))) / self.days

    @property
    def load_and_pv_eur_per_day(self) -> float:
        """The part that a forecast of load and PV can do something about."""
        return (self.value_eur(0) - self.value_eur(2)) / self.days

    @property
    def perfect_eur_per_day(self) -> float:
        """With perfect foresight in the same building."""
        return self.value_eur(len(FORECAST_CAUSES)) / self.days

    def share_of_perfect(self, eur_per_day: float) -> float | None:
        """Part of what perfect foresight costs; None where that costs nothing."""
        return eur_per_day / self.perfect_eur_per_day if self.perfect_eur_per_day > 0 else None

    @property
    def energy_lost_eur_per_day(self) -> float:
        """The energy lost in cables and transformer, a part of the network's."""
        return self.chain[len(CAUSES) - 1].losses_kwh * self.price_eur_per_kwh / self.days

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "days": self.days,
            "perfect_foresight_eur_per_day": self.perfect_eur_per_day,
            "regret_eur_per_day": self.forecast_eur_per_day,
            "regret_frac": self.share_of_perfect(self.forecast_eur_per_day),
            "load_and_pv_eur_per_day": self.load_and_pv_eur_per_day,
            "load_and_pv_frac": self.share_of_perfect(self.load_and_pv_eur_per_day),
            "parts_eur_per_day": {cause.value: eur for cause, eur in self.parts_eur_per_day().items()},
            "energy_lost_eur_per_day": self.energy_lost_eur_per_day,
            "total_eur_per_day": self.total_eur_per_day,
            "chain": [
                {
                    "removed": [cause.value for cause in CAUSES[:i]],
                    "cost_eur": day.cost_eur,
                    "stored_kwh": day.stored_kwh,
                    "losses_kwh": day.losses_kwh,
                    "departure_shortfall_kwh": day.departure_shortfall_kwh,
                    "plan_statuses": day.statuses,
                }
                for i, day in enumerate(self.chain)
            ],
        }


def regrets(
    site: Site,
    course: Course,
    learned: Mapping[ForecastKind, Json],
    processes: int | None = None,
    on_day: Callable[[], None] | None = None,
) -> dict[ForecastKind, Regret]:
    """The regret of each kind of forecast of ``learned``, with the state that it begins with (None: nothing learned).

    Runs that are the same for several kinds are lived through once. Raises TwinswarmError.
    """
    chains: dict[ForecastKind, list[str]] = {}
    sites: dict[str, Site] = {}
    states: dict[str, Mapping[str, Json]] = {}
    for kind, state in learned.items():
        started = site.model_copy(update={"forecast": site.forecast.model_copy(update={"kind": kind})})
        names = []
        for removed in range(len(CAUSES) + 1):
            variant = without(started, CAUSES[:removed])
            name = next((name for name, other in sites.items() if other == variant), f"{kind}-{removed}")
            sites.setdefault(name, variant)
            if state is not None and variant.forecast.kind is not ForecastKind.PROFILE:
                states[name] = {"forecast": state}
            names.append(name)
        chains[kind] = names
    with Pool(course, [], processes) as pool:
        days = {
            name: timed.day for name, timed in pool.run(sites, lambda _: on_day() if on_day else None, states).items()
        }
    length = (course.t_end - course.t0).total_seconds() / 86_400
    price = next(iter(days.values())).worth_eur(1.0)
    return {kind: Regret(kind, length, tuple(days[name] for name in names), price) for kind, names in chains.items()}
