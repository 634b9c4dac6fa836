"""Options of a site: place, connection, EMS, time."""

from enum import StrEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from schemas.messages.plan import EmsMode
from schemas.messages.stamp import DeviceId
from schemas.site.base import SitePart
from schemas.site.profile import ProfileName
from schemas.units import PositiveKw, SocFrac


class Location(SitePart):
    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    longitude_deg: Annotated[float, Field(ge=-180, le=180)]
    altitude_m: Annotated[float, Field(ge=-500, le=9000)] = 0.0
    time_zone: str = "Europe/Rome"
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    """ISO 3166-1 alpha-2, such as IT. Whose public holidays count; needed where a profile has a variant for them."""
    subdivision: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,10}$")] | None = None
    """ISO 3166-2 without the country, such as BY, where holidays differ within a country."""

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            # OSError: a folder of the database, such as "Europe".
            raise ValueError(f"{value!r} is not in the IANA time zone database") from None
        return value

    @model_validator(mode="after")
    def _within_a_country(self) -> Self:
        if self.subdivision is not None and self.country is None:
            raise ValueError(f"subdivision {self.subdivision} is given without its country")
        return self


class Connection(SitePart):
    """Limits at the PCC, equations (20) and (21)."""

    import_limit_kw: PositiveKw
    export_limit_kw: PositiveKw
    co2_profile: ProfileName | None = None
    """Emissions of energy from the grid [g/kWh]; planned by with `ems.objective`."""

    @property
    def profiles_used(self) -> list[tuple[str, str]]:
        """Field and name."""
        return [] if self.co2_profile is None else [("co2_profile", self.co2_profile)]


class Horizon(StrEnum):
    DAY = "day"
    """To local midnight, as in the paper."""
    ROLLING = "rolling"
    """``rolling_h`` hours, bounded by the known prices plus ``price_extension_h``."""


class Calm(SitePart):
    """A store's set-point stays as it is unless a change is worth it."""

    min_gain_eur: Annotated[float, Field(ge=0, le=100)] = 0.001
    """What a change must gain by the plan, or it is left out."""
    deadband_kw: PositiveKw = 0.2
    """A smaller change is made only where a target or a limit needs it."""
    hold_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """So soon after a change another one must gain ten times as much, and charging is not turned into discharging."""


class LearnedDepartures(SitePart):
    """Vehicles are planned to leave when those like them did, where that is before their drivers announce."""

    leave_frac: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The chance with which a vehicle has left before the departure that is planned with: the chance level."""
    least_sessions: Annotated[int, Field(ge=5, le=500)] = 30
    """With fewer sessions seen what is announced or assumed holds."""


class PersonRequests(SitePart):
    """Persons may ask for set-points by hand, as at Home Assistant."""

    most_h: Annotated[float, Field(gt=0, le=48)] = 4.0
    """So long after a person asked the EMS decides again."""


LEAST_COST_WEIGHT = 0.001
"""Of money, also where a site gives it none: it decides between plans that are equal by what is wanted."""


class Objective(SitePart):
    """What the EMS minimises: weights of money, emissions, energy that leaves the site, and the peak.

    As it is by default, money. Targets and limits go before all of it as long as a kWh is dearer there: of what is
    imported it should not exceed ``shortfall_price_eur_per_kwh``, and a kW of peak a quarter of that.
    """

    cost: Annotated[float, Field(ge=0, le=1)] = 1.0
    """On money: energy, wear, demand charge. 0: as `LEAST_COST_WEIGHT`."""
    co2_eur_per_t: Annotated[float, Field(ge=0, le=2000)] = 0.0
    """Price of the emissions of imported energy, by ``connection.co2_profile``."""
    self_consumption_eur_per_kwh: Annotated[float, Field(ge=0, le=2)] = 0.0
    """On each kWh that is exported, or curtailed."""
    peak_eur_per_kw: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """On the highest import of the month, beside the demand charge."""

    @model_validator(mode="after")
    def _minimises_something(self) -> Self:
        if not (self.cost or self.co2_eur_per_t or self.self_consumption_eur_per_kwh or self.peak_eur_per_kw):
            raise ValueError("every weight is 0: there is nothing to minimise")
        return self


class EmsOptions(SitePart):
    mode: EmsMode = EmsMode.CONTROL
    horizon: Horizon = Horizon.ROLLING
    rolling_h: Annotated[float, Field(gt=0, le=168)] = 36.0
    price_extension_h: Annotated[float, Field(ge=0, le=48)] = 12.0
    """Beyond the known prices those of the same local hour a day earlier are assumed, for so long at most."""
    bess_terminal_soc_frac: SocFrac | Literal["start"] | None = "start"
    """At every local midnight in the window. ``start``: that with which the EMS found the BESS on this local day, and
    what is left at the window's end has a value. A number: just that. None: neither."""
    shortfall_price_eur_per_kwh: Annotated[float, Field(gt=0, le=1000)] = 5.0
    """Price of energy that a departing vehicle, or the BESS at midnight, lacks."""
    limit_price_eur_per_kwh: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """Price of energy above the limits of the connection, of cables, of the transformer and of ``cable_limits``."""
    bess_wear_eur_per_kwh: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Price of AC throughput, charging and discharging."""
    vehicle_wear_eur_per_kwh: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Price of AC energy that vehicles give back. What they drive with wears them without a price here."""
    ramping_price_eur_per_kw: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Price on a change of a store's power from one step to the next: how much calm may cost."""
    reversal_price_eur: Annotated[float, Field(ge=0, le=10)] = 0.002
    """Where buying and selling pays: what a plan may cost more for each reversal from charging to discharging less."""
    objective: Objective = Objective()
    tie_throughput_eur_per_kwh: Annotated[float, Field(ge=0, le=0.01)] = 1e-4
    """Secondary objective: of equal-cost plans the one with least throughput ..."""
    tie_flat_eur_per_kwh: Annotated[float, Field(ge=0, le=0.01)] = 1e-5
    """... and then a flat PCC profile: each higher band of import (and export) costs this much more."""
    calm: Calm | None = None
    """None: every plan's set-points are sent as they are."""
    learned_departures: LearnedDepartures | None = None
    """None: vehicles are planned to leave when it is announced, or assumed."""
    requests: PersonRequests | None = None
    """None: the EMS takes no requests of persons."""
    power_watch: bool | None = None
    """An alarm for a device that does not do what it acknowledged, which is then planned with what it shows. None: in
    wall time; in lock-step every twin does what it acknowledges."""
    plan_device_lag: bool = True
    """Plans with the dead times and ramps that births state: what is asked of a vehicle takes effect by that much later
    and ends when it leaves."""
    cable_limits: tuple["GroupLimit", ...] = ()
    node_budget: Annotated[int, Field(gt=0)] = 1_000
    """Branch-and-bound nodes of one optimisation."""
    iteration_budget: Annotated[int, Field(gt=0)] = 200_000
    wall_budget_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Wall time: seconds of the machine for one decision, at most half a settlement period. Lock-step has none."""
    replan_least_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    """Wall time: least time between plans, when a vehicle comes or leaves, a target or limit changes, or a device falls
    silent or comes back within a settlement period. 0: plans are made at its start only. None: 30 in a run as fast as
    time, 0 in a faster one, where twins leave on schedule."""
    grace_s: Annotated[float, Field(ge=0, le=3600)] = 120.0
    """Wall time: a set-point stays valid so long after its quarter."""


class GroupLimit(SitePart):
    """Several devices behind one cable: their summed power is limited in both directions."""

    name: DeviceId | None = None
    """By which a limit from outside names this group."""
    devices: Annotated[tuple[str, ...], Field(min_length=1)]
    limit_kw: PositiveKw


EmsOptions.model_rebuild()


class OnSilence(StrEnum):
    """The clock's reaction to a device that stops answering in lock-step."""

    AWAIT = "await"
    DROP = "drop"
    FATAL = "fatal"


class TimeOptions(SitePart):
    step_s: Annotated[int, Field(gt=0, le=3600)] = 900
    tick_timeout_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Silence after which a tick is repeated."""
    silent_attempts: Annotated[int, Field(ge=2, le=1000)] = 60
    """Repetitions after which the policy below applies."""
    on_silence: OnSilence = OnSilence.FATAL
    rollcall_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0

    @model_validator(mode="after")
    def _divides_the_hour(self) -> Self:
        if 3600 % self.step_s:
            raise ValueError(f"step_s {self.step_s} does not divide an hour")
        return self
