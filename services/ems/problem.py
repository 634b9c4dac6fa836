"""The frozen problem: everything the solver sees, and nothing else.

No site description, no message's content and no clock comes past this point. A plan is a function of the problems of
its run. Units and signs: `schemas.units`; all powers here are magnitudes averaged over a step, all energies are kWh
in store.
"""

import bisect
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Assumption, Phases, ShortfallKind
from schemas.sums import sum_in_order

Values = tuple[float, ...]
"""One value per step of the window."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A stored energy that is wanted at the end of a step, at the price of a shortfall (the BESS at midnight)."""

    step: int
    energy_kwh: float


@dataclass(frozen=True, slots=True)
class AgeingPrice:
    """Price of an hour at a SOC, for each kWh of capacity [€/(kWh·h)]: convex, linear between points from 0 to 1."""

    soc_frac: Values
    eur_per_kwh_h: Values

    @property
    def pieces(self) -> int:
        return len(self.soc_frac) - 1

    def width_frac(self, piece: int) -> float:
        return self.soc_frac[piece + 1] - self.soc_frac[piece]

    def slope(self, piece: int) -> float:
        """What another kWh in store adds to the price of an hour [€/(kWh·h)], whatever the capacity is."""
        return (self.eur_per_kwh_h[piece + 1] - self.eur_per_kwh_h[piece]) / self.width_frac(piece)

    def slope_at(self, soc_frac: float) -> float:
        """The slope of the piece that this SOC is in; of two the upper one."""
        within = bisect.bisect_right(self.soc_frac, soc_frac) - 1
        return self.slope(min(max(within, 0), self.pieces - 1))

    def at(self, soc_frac: float) -> float:
        """Above 1 the last piece goes on."""
        within = min(max(bisect.bisect_right(self.soc_frac, soc_frac) - 1, 0), self.pieces - 1)
        return self.eur_per_kwh_h[within] + self.slope(within) * (soc_frac - self.soc_frac[within])


@dataclass(frozen=True, slots=True)
class Asked:
    """The power that a person asks of a device, with the sign of `schemas.units`, in the first ``steps`` steps.

    It is a wish with a price, ``Prices.asked_eur_per_kwh``: nothing else decides, but limits and hard bounds hold.
    """

    kw: float
    steps: int


@dataclass(frozen=True, slots=True)
class BessUnit:
    """A stationary battery with its measured energy at the window's start."""

    device: str
    capacity_kwh: float
    max_charge_kw: float
    max_discharge_kw: float
    charge_efficiency: float
    discharge_efficiency: float
    energy_min_kwh: float
    energy_max_kwh: float
    energy_kwh: float
    wishes: tuple[Wish, ...] = ()
    left_eur_per_kwh: float = 0.0
    """Value of what is in store at the window's end."""
    flowing_kw: float = 0.0
    """Power when the window begins; positive: it charges."""
    held_kw: float | None = None
    """Power that is to be kept in the first step, see `services.ems.calm`; None: it is decided."""
    ageing: AgeingPrice | None = None
    """None: calendar ageing has no price."""
    asked: Asked | None = None
    """None: nobody asks for a power."""


@dataclass(frozen=True, slots=True)
class DischargeDay:
    """AC energy that a vehicle may still give back up to the end of a local day."""

    end: datetime
    kwh: float


@dataclass(frozen=True, slots=True)
class Stay:
    """A vehicle at a charger in [arrival, departure): plugged now (arrival at or before the window) or expected.

    ``energy_kwh`` is what it holds at the later of arrival and the window's start; with a lag, once set-points of that
    instant have taken effect. Where ``capacity_kwh`` is 0 nothing is known of its SOC, and all its energies count from
    plug-in.
    """

    vehicle: str
    arrival: datetime
    departure: datetime
    capacity_kwh: float
    energy_kwh: float
    target_kwh: float
    energy_min_kwh: float
    energy_max_kwh: float
    max_charge_kw: float
    max_discharge_kw: float
    lag_s: float = 0.0
    """Time from a set-point to its effect, see `services.ems.lag`."""
    discharge_kwh: float = math.inf
    """AC energy that it may still give back in this charging session."""
    discharge_days: tuple[DischargeDay, ...] = ()
    """Likewise by local day, as far as the window goes; empty: no cap."""
    priority: bool = False
    """Its target comes before those of others."""

    @property
    def shortfall_weight(self) -> float:
        """By how much dearer than another's its shortfall at departure is."""
        return PRIORITY_WEIGHT if self.priority else 1.0

    @property
    def commanded_until(self) -> datetime:
        """The end of the set-points that take effect while it is there."""
        return self.departure - timedelta(seconds=self.lag_s)


@dataclass(frozen=True, slots=True)
class TaperCurve:
    """Charging power falls linearly with SOC, from full power at ``start_frac`` to ``end_power_frac`` of it at 1."""

    start_frac: float
    end_power_frac: float

    @property
    def falls(self) -> float:
        """The part of the full power that is lost per unit of SOC."""
        return (1.0 - self.end_power_frac) / (1.0 - self.start_frac)

    def part_at(self, soc_frac: float) -> float:
        """The part of the full power that is left."""
        return min(1.0, 1.0 - self.falls * (soc_frac - self.start_frac))


@dataclass(frozen=True, slots=True)
class PhaseGap:
    """Powers that a charger has neither on one phase nor on three: between the most of one and the least of three."""

    one_phase_max_kw: float
    three_phase_min_kw: float


@dataclass(frozen=True, slots=True)
class ChargerUnit:
    """A controllable charger and its stays that touch the window, by arrival, without overlap."""

    device: str
    max_charge_kw: float
    max_discharge_kw: float
    min_power_kw: float
    """Smallest power other than 0 in the first step; of a charger that switches its phases, on those that it may use
    then."""
    charge_efficiency: float
    discharge_efficiency: float
    stays: tuple[Stay, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    """What had to be assumed of its vehicles; for the plan to say, not for the model."""
    taper: TaperCurve | None = None
    """None: vehicles draw full power up to full, or nothing is known of it."""
    flowing_kw: float = 0.0
    """Power when the window begins; positive: it charges."""
    held_kw: float | None = None
    """Power that is to be kept in the first step, see `services.ems.calm`; None: it is decided."""
    ageing: AgeingPrice | None = None
    """Of the vehicles here; None: calendar ageing has no price."""
    asked: Asked | None = None
    """None: nobody asks for a power."""
    now_max_kw: float = math.inf
    """Most charging power in the first step: while the phases of a charger are held, what they give."""
    phase_gap: PhaseGap | None = None
    """Of a charger that switches its phases, where the ranges of one and of three do not meet; None: none."""
    phases: tuple[Phases, ...] = ()
    """Of a charger that switches its phases, those that may be used in the first step, the present ones first; for the
    set-point, not for the model."""

    @property
    def most_now_kw(self) -> float:
        """Most charging power in the first step [kW]."""
        return min(self.max_charge_kw, self.now_max_kw)


@dataclass(frozen=True, slots=True)
class FixedUnit:
    """A charger or a heat pump that is not controlled: its power is a forecast [kW]."""

    device: str
    power_kw: Values
    assumptions: tuple[Assumption, ...] = ()
    left_to_fallback: str | None = None
    """Why a charger that could be controlled is not, for the plan to say."""


@dataclass(frozen=True, slots=True)
class PvUnit:
    """A PV inverter; ``available_kw`` is what it can deliver."""

    device: str
    rated_kw: float
    curtailable: bool
    available_kw: Values
    asked_limit_kw: float | None = None
    """The most that a person lets it produce, within which ``available_kw`` is already; None: nobody does."""


@dataclass(frozen=True, slots=True)
class HeatUnit:
    """A heat pump with its thermal buffer. Powers are electrical, energies are heat."""

    device: str
    max_power_kw: float
    min_power_kw: float
    loss_frac_per_h: float
    capacity_kwh: float
    energy_min_kwh: float
    """Lower end of the comfort band."""
    energy_max_kwh: float
    energy_kwh: float
    cop: Values
    demand_kw: Values
    """Heat that the building wants."""


@dataclass(frozen=True, slots=True)
class Group:
    """Devices behind one cable or transformer, or on a phase of it: ``limit_kw`` of summed power in both directions."""

    devices: tuple[str, ...]
    limit_kw: float
    load_kw: Values = ()
    """Load behind it, which counts along: the most that it may be, or that is to be left room for; empty: none."""
    shares: tuple[float, ...] = ()
    """The share of each device's power that counts, in the order of ``devices``; empty: all of it."""
    least_load_kw: Values = ()
    """The part of the load that is certain, and so makes room for export; empty: all of it."""
    element: str = ""
    """The cable or the transformer, or the place in the site of a limit that the site names."""
    kind: ShortfallKind = ShortfallKind.NETWORK_LIMIT
    """Kind of the shortfall when it is exceeded."""

    def loads_kw(self, steps: int) -> tuple[Values, Values]:
        """Load in each step that counts against the limit on import, and on export."""
        most = self.load_kw or (0.0,) * steps
        return most, self.least_load_kw or most

    def share(self, device: str) -> float:
        """0 for a device that is not behind."""
        if device not in self.devices:
            return 0.0
        return self.shares[self.devices.index(device)] if self.shares else 1.0


@dataclass(frozen=True, slots=True)
class OutsideLimit:
    """A limit from outside by step [kW], infinite where there is none: at the PCC, or of a named group of devices."""

    source: str
    import_kw: Values
    export_kw: Values
    group: str = ""
    """Empty: the PCC."""
    devices: tuple[str, ...] = ()
    """Of the group, those that are there."""
    failsafe: bool = False
    """A heartbeat has stopped, and a failsafe holds."""

    def share(self, device: str) -> float:
        """0 for a device that is not in the group."""
        return float(device in self.devices)


EARLY_FRAC = 0.01
"""By so much an excess of a limit from outside is dearer at the window's beginning than at its end.

A limit that asks for more energy than there is is then exceeded late: until then the limit may end, PV or a vehicle may
come. More than prices of energy differ from hour to hour, and less than what a store loses, so that lateness does not
cost more energy above the limit.
"""

LATER_STEP_H = 1.0
"""Length of a step after the window [h]."""


PRIORITY_WEIGHT = 2.0
"""A kWh that a vehicle with priority lacks costs so many times the price of a shortfall.

Of two vehicles the one with priority is then charged first unless its charger loses half of what the other's stores.
"""

PATIENCE = 2.0
"""What waits costs this many times the tie-break of throughput, so that of equal prices the earlier is taken."""


@dataclass(frozen=True, slots=True)
class Later:
    """Steps of `LATER_STEP_H` after the window, for vehicles that are plugged at its end and stay on."""

    net_load_kw: Values
    """Load and losses less PV; negative: surplus."""
    purchase_eur_per_kwh: Values
    """As the objective weighs it, and so is the sale price, see `Weights`."""
    sale_eur_per_kwh: Values
    groups: tuple[Group, ...] = ()
    """The limits that are shared, with the load behind them by later step."""

    @property
    def steps(self) -> int:
        return len(self.net_load_kw)

    @property
    def step_h(self) -> float:
        return LATER_STEP_H


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices besides equation (1)."""

    shortfall_eur_per_kwh: float = 5.0
    limit_eur_per_kwh: float = 50.0
    outside_limit_eur_per_kwh: float = 0.0
    """Above a limit from outside at the window's end; means something where there is one."""
    bess_wear_eur_per_kwh: float = 0.0
    """On what is charged and discharged."""
    vehicle_wear_eur_per_kwh: float = 0.0
    """On what vehicles give back."""
    tie_throughput_eur_per_kwh: float = 1e-4
    tie_flat_eur_per_kwh: float = 1e-5
    ramping_eur_per_kw: float = 0.0
    """On every change of a store's power from step to step; 0: changes are free."""
    reversal_eur: float = 0.0
    """What a plan may cost more for each time less that a store is turned round, see `services.ems.reversals`."""
    demand_eur_per_kw: float = 0.0
    """On the month's highest import; 0: no demand charge."""
    ratchet_eur_per_kw: float = 0.0
    """On the bill of each later month that the month's highest import raises, see `Problem.ratchet_free_kw`."""
    asked_eur_per_kwh: float = 0.0
    """What each kWh of the power that persons ask for is worth in the first step, and half as much after it."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The objective: what is minimised is money times ``cost``, and what follows."""

    cost: float = 1.0
    """On money: energy, wear, demand charge."""
    co2_eur_per_kg: float = 0.0
    """On emissions of imported energy."""
    unused_eur_per_kwh: float = 0.0
    """On what is exported, and on PV that is curtailed."""
    peak_eur_per_kw: float = 0.0
    """On the month's highest import, beside the demand charge."""

    def of_import(self, purchase_eur_per_kwh: float, co2_g_per_kwh: float) -> float:
        """What another imported kWh adds to the objective [€]."""
        return self.cost * purchase_eur_per_kwh + self.co2_eur_per_kg * co2_g_per_kwh / 1000

    def of_export(self, sale_eur_per_kwh: float) -> float:
        """What another exported kWh takes off it [€]."""
        return self.cost * sale_eur_per_kwh - self.unused_eur_per_kwh


@dataclass(frozen=True, slots=True)
class Problem:
    """One optimisation: ``steps`` steps of ``step_s`` seconds from ``start`` (UTC) on."""

    start: datetime
    step_s: int
    steps: int
    load_kw: Values
    losses_kw: Values
    purchase_eur_per_kwh: Values
    sale_eur_per_kwh: Values
    import_limit_kw: float
    export_limit_kw: float
    flat_reference_kw: float
    """m of the flat-PCC bands: max(5 kW, mean forecast net load of the day), see `flat_reference`."""
    bess: tuple[BessUnit, ...] = ()
    chargers: tuple[ChargerUnit, ...] = ()
    fixed: tuple[FixedUnit, ...] = ()
    pv: tuple[PvUnit, ...] = ()
    heat: tuple[HeatUnit, ...] = ()
    groups: tuple[Group, ...] = ()
    outside_limits: tuple[OutsideLimit, ...] = ()
    month_peak_kw: float = 0.0
    """Highest import of the month so far."""
    free_peak_kw: float = 0.0
    """Import up to which the bill of the demand charge does not rise, whatever the month has seen."""
    month_end: datetime | None = None
    """When the local month of the first step is over; None: not before the end of all that is seen."""
    next_free_peak_kw: float = 0.0
    """As ``free_peak_kw``, of the month that begins then; of no effect where the window does not reach into it."""
    ratchet_free_kw: Values = ()
    """By later month the import up to which the month's highest raises no bill of it; empty: there is no ratchet."""
    prices: Prices = Prices()
    later: Later | None = None
    """None: no vehicle is known to stay on after the window."""
    weights: Weights = Weights()
    co2_g_per_kwh: Values = ()
    """Emissions of imported energy by step; empty: not known, and not in the objective."""

    @property
    def step_h(self) -> float:
        return self.step_s / 3600

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.step_s * self.steps)

    @property
    def later_end(self) -> datetime:
        """The end of all that is seen."""
        later = self.later
        return self.end if later is None else self.end + timedelta(hours=later.steps * later.step_h)

    @property
    def months(self) -> int:
        """Local months of which the window has steps: one or two."""
        return 1 if self.month_end is None or self.month_end >= self.end else 2

    def paid_kw(self, month: int) -> float:
        """The import that raises no demand charge of the first (0) or second (1) month: its highest so far, or what is
        billed without one."""
        return max(self.month_peak_kw, self.free_peak_kw) if month == 0 else self.next_free_peak_kw

    @property
    def import_eur_per_kwh(self) -> Values:
        """What another imported kWh adds to the objective: the purchase price, unless there are other weights."""
        if self.weights == Weights():
            return self.purchase_eur_per_kwh
        co2 = self.co2_g_per_kwh or (0.0,) * self.steps
        return tuple(self.weights.of_import(*pair) for pair in zip(self.purchase_eur_per_kwh, co2, strict=True))

    @property
    def export_eur_per_kwh(self) -> Values:
        """What another exported kWh takes off the objective: the sale price, unless there are other weights."""
        if self.weights == Weights():
            return self.sale_eur_per_kwh
        return tuple(self.weights.of_export(price) for price in self.sale_eur_per_kwh)

    @property
    def weighed_eur(self) -> float:
        """What load and PV of the window come to with weights other than money's [€]; 0 without.

        Weights set against money cancel it, so that the total says nothing of how much is at stake.
        """
        if self.weights == Weights():
            return 0.0
        buying, selling = self.import_eur_per_kwh, self.export_eur_per_kwh
        load = sum_in_order(abs(price) * kw for price, kw in zip(buying, self.load_kw, strict=True))
        pv = sum_in_order(
            abs(price) * kw for unit in self.pv for price, kw in zip(selling, unit.available_kw, strict=True)
        )
        return self.step_h * (load + pv)

    @property
    def outside_limit_eur_per_kwh(self) -> Values:
        """Price above a limit from outside by step: earlier is dearer, evenly, by `EARLY_FRAC` at the beginning."""
        dearer = EARLY_FRAC * self.prices.outside_limit_eur_per_kwh / self.steps
        return tuple(
            self.prices.outside_limit_eur_per_kwh + dearer * (self.steps - 1 - step) for step in range(self.steps)
        )

    def step_start(self, step: int) -> datetime:
        return self.start + timedelta(seconds=self.step_s * step)


def flat_reference(load_kw: Values, pv: tuple[PvUnit, ...]) -> float:
    """m [kW] of the flat-PCC tie-break: max(5 kW, mean of load minus available PV over the window).

    It is computed at the first problem of a local day and stays for that day, so that the secondary objective does
    not drift while the window shrinks.
    """
    total = sum_in_order(load_kw) - sum_in_order(sum_in_order(unit.available_kw) for unit in pv)
    return max(5.0, total / len(load_kw))
