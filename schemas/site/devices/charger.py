"""A charger: its powers and phases, its taper, and the charging sessions that its twin lives through."""

import itertools
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from schemas.messages import ChargerNameplate, Fallback, PhaseSwitch
from schemas.site.base import SitePart
from schemas.site.calendar_wear import CalendarWear
from schemas.site.devices.base import Device, PhaseName, check_phase
from schemas.site.devices.vehicles import AssumedVehicle, ChargingSession, DailyChargingSession, VehicleReport
from schemas.units import Efficiency, PositiveKw, RampRate, Seconds

LEAST_PHASE_KW = 6 * 230 / 1000
"""Least charging power of a phase: 6 A (IEC 61851-1) at 230 V."""


class Taper(SitePart):
    """Charging power falls linearly with SOC, from the full power at ``start_soc_frac`` to ``end_power_frac`` at 1."""

    start_soc_frac: Annotated[float, Field(ge=0, lt=1)]
    end_power_frac: Annotated[float, Field(ge=0, le=1)] = 0.05


class PhaseSwitching(SitePart):
    """A three-phase charger charges on one phase, too."""

    max_charge_kw: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Most power on one phase. None: a third of that on three, the same current."""
    min_power_kw: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Smallest power on one phase. None: a third of that on three, the same current."""
    pause_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """For so long charging is interrupted while contactors move and the vehicle is asked again."""
    hold_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """Least time between two switches."""


class Charger(Device):
    kind: Literal["charger"] = "charger"
    max_charge_kw: Annotated[float, Field(gt=0, le=10_000)]
    max_discharge_kw: PositiveKw = 0.0
    min_power_kw: PositiveKw = 0.0
    charge_efficiency: Efficiency = 0.95
    discharge_efficiency: Efficiency = 0.95
    current: Literal["dc", "ac"] = "dc"
    phases: Literal[1, 3] = 3
    phase: PhaseName | None = None
    """Where a single-phase device is connected, or which of its phases a charger uses alone that switches them. None:
    the single-phase devices that name none take a, b, c in turn, in the order of their identifiers, and after them
    these chargers."""
    phase_switch: PhaseSwitching | None = None
    """It switches between one and three phases; None: it does not. An empty one takes the ordinary values."""
    dead_time_s: Seconds = 0.0
    ramp_kw_per_s: RampRate | None = None
    """None: power follows at once (after the dead time)."""
    taper: Taper | None = None
    sub_step_s: Annotated[float, Field(gt=0, le=900)] = 10.0
    """Sampling of ramps and tapers; power is constant within it."""
    fallback: Fallback = Fallback.UNCONTROLLED
    fallback_kw: PositiveKw | None = None
    """Most power on the fallback ``uncontrolled``. None: a one-way charger's full power; of a bidirectional one the
    least with which a vehicle charges at all, 6 A a phase (IEC 61851-1) or ``min_power_kw``."""
    controllable: bool = True
    """False: charges as soon as a vehicle is plugged, until its target; the EMS treats it as a load."""
    sessions: tuple[ChargingSession, ...] = ()
    daily: tuple[DailyChargingSession, ...] = ()
    reports: tuple[VehicleReport, ...] = ("vehicle", "soc", "capacity", "departure", "target", "limits")
    """What the simulated vehicles say; ``[]`` is an ordinary AC car, of which only the energy is known that was
    charged."""
    assume: AssumedVehicle | None = None
    """What the EMS assumes of a vehicle here that does not say it. Without it, a vehicle whose departure or energy
    wanted is not known is left to the charger's fallback."""
    calendar_wear: CalendarWear | None = None
    """Of the vehicles here, while they are plugged; None: it has no price."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_power_kw > self.max_charge_kw:
            raise ValueError(f"min_power_kw {self.min_power_kw} is above max_charge_kw {self.max_charge_kw}")
        if self.fallback_kw is not None and self.fallback_kw > self.max_charge_kw:
            raise ValueError(f"fallback_kw {self.fallback_kw} is above max_charge_kw {self.max_charge_kw}")
        switch = self.stated_phase_switch
        least_kw = self.min_power_kw if switch is None else switch.min_power_kw
        if self.fallback_kw is not None and 0 < self.fallback_kw < least_kw:
            raise ValueError(
                f"fallback_kw {self.fallback_kw} is below min_power_kw {least_kw}, and the charger would "
                "pause; 0 is allowed, or at least that"
            )
        self._check_phases()
        if len(set(self.reports)) < len(self.reports):
            raise ValueError(f"reports names something twice: {', '.join(self.reports)}")
        if self.current == "ac" and self.max_discharge_kw > 0 and self.phases == 1 and self.max_discharge_kw > 7.4:
            raise ValueError(f"max_discharge_kw {self.max_discharge_kw} is above 7.4 kW, the most of one phase at 32 A")
        ordered = sorted(self.sessions, key=lambda session: session.arrival)
        for before, after in itertools.pairwise(ordered):
            if after.arrival < before.departure:
                raise ValueError(
                    f"sessions overlap: {after.vehicle} arrives {after.arrival} before {before.vehicle} "
                    f"leaves {before.departure}"
                )
        for one, other in itertools.combinations(self.daily, 2):
            if one.meets(other):
                raise ValueError(
                    f"daily sessions overlap: {one.vehicle} {one.arrival} to {one.departure} "
                    f"and {other.vehicle} {other.arrival} to {other.departure}"
                )
        return self

    def _check_phases(self) -> None:
        check_phase(self.phase, self.phases, "charger", switches=self.phase_switch is not None)
        if self.phase_switch is None:
            if any(vehicle.phases is not None for vehicle in (*self.sessions, *self.daily)):
                raise ValueError(
                    "phases of a vehicle matter at a charger with phase_switch; here give the vehicle's max_charge_kw"
                )
            return
        for name, value, wanted in (
            ("current", self.current, "ac"),
            ("phases", self.phases, 3),
            ("max_discharge_kw", self.max_discharge_kw, 0),
        ):
            if value != wanted:
                raise ValueError(f"phase_switch is given, but {name} is {value}; {wanted} is wanted")
        if self.min_power_kw <= 0:
            raise ValueError(
                "phase_switch is given, but min_power_kw is 0: on three phases it is 4.14 at 6 A (IEC 61851-1)"
            )
        self._check_driver_of_phases()
        assert self.stated_phase_switch is not None
        switch = self.stated_phase_switch
        for name, of_one, of_three in (
            ("max_charge_kw", switch.max_charge_kw, self.max_charge_kw),
            ("min_power_kw", switch.min_power_kw, self.min_power_kw),
        ):
            if of_one > of_three:
                raise ValueError(f"phase_switch: {name} {of_one} of one phase is above {of_three} of three")
        if switch.min_power_kw > switch.max_charge_kw:
            raise ValueError(
                f"phase_switch: min_power_kw {switch.min_power_kw} is above max_charge_kw {switch.max_charge_kw}"
            )

    def _check_driver_of_phases(self) -> None:
        """Whoever commands the real charger has to be able to say on how many phases."""
        driver = self.driver
        if driver is None or driver.type == "ocpp":
            return
        if driver.type != "mqtt":
            raise ValueError(f"phase_switch is given, but a driver of type {driver.type} commands no phases")
        if driver.command is not None and "{phases}" not in driver.command.payload:
            raise ValueError("phase_switch is given, but the payload of driver.command has no {phases}")

    @property
    def stated_phase_switch(self) -> PhaseSwitch | None:
        """The phase switch as its birth states it."""
        switch = self.phase_switch
        if switch is None:
            return None
        return PhaseSwitch(
            max_charge_kw=self.max_charge_kw / 3 if switch.max_charge_kw is None else switch.max_charge_kw,
            min_power_kw=self.min_power_kw / 3 if switch.min_power_kw is None else switch.min_power_kw,
            pause_s=switch.pause_s,
            hold_s=switch.hold_s,
        )

    @property
    def nameplate(self) -> ChargerNameplate:
        shared = self._shared(ChargerNameplate) | {
            "fallback_kw": self.stated_fallback_kw,
            "phase_switch": self.stated_phase_switch,
        }
        if self.taper is not None:
            shared["taper_start_soc_frac"] = self.taper.start_soc_frac
            shared["taper_end_power_frac"] = self.taper.end_power_frac
        return ChargerNameplate(**shared)

    @property
    def stated_fallback_kw(self) -> float | None:
        """The power of the fallback ``uncontrolled`` [kW]; None: full power."""
        if self.fallback_kw is not None or self.max_discharge_kw == 0 or not self.controllable:
            return self.fallback_kw
        return min(max(LEAST_PHASE_KW * self.phases, self.min_power_kw), self.max_charge_kw)

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback if self.controllable else Fallback.UNCONTROLLED

    def sessions_between(self, start: datetime, end: datetime, zone: ZoneInfo) -> tuple[ChargingSession, ...]:
        """All sessions that touch [start, end), daily ones included, by arrival."""
        found = [s for s in self.sessions if s.arrival < end and s.departure > start]
        day, last = start.astimezone(zone).date() - timedelta(days=1), end.astimezone(zone).date()
        while day <= last:
            daily = (each.on(day, zone) for each in self.daily)
            found += [s for s in daily if s is not None and s.arrival < end and s.departure > start]
            day += timedelta(days=1)
        return tuple(sorted(found, key=lambda session: session.arrival))
