"""Money, energy and peaks of a settled time beside its baseline's: what the results of a run and of a day share."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.capabilities import Group
from schemas.site import Site
from services.analysis.calendar_wear import calendar_wear_eur
from services.analysis.comparison import Comparison
from services.analysis.timeliness import Timeliness
from services.analysis.wear import bess_wear_eur, sum_of_known, vehicle_wear_eur
from services.history.doubts import DoubtfulValue
from services.history.settlement import co2_import_kg, demand_charges_eur, month_peaks_kw, savings_eur


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Timeliness):
    """At full precision. ``None`` is what could not be known, or what no baseline is there for.

    Sign of savings: ``savings_eur`` = cost of the baseline - cost, positive is money saved. (The published Table II
    prints the opposite sign; whoever prints that table turns it round.)
    """

    cost_eur: float
    """At the PCC meter, losses included, equation (1)."""
    import_kwh: float
    export_kwh: float
    losses_kwh: float
    unsettled_steps: int
    """Without known energy or price; not in the cost."""

    reference_cost_eur: float | None
    savings_eur: float | None
    """Of energy alone."""

    demand_charge_eur: float | None
    """As if the highest settlement period were the month's, above ``paid_peak_kw``; apart from the cost. None without
    such a tariff."""
    reference_demand_charge_eur: float | None
    demand_savings_eur: float | None
    """By how much the baseline's demand charge is above the run's. It is a month's money, once, however long the time
    is; None without such a tariff or baseline."""

    paid_peak_kw: float | None
    """The month's peak from before the run, as the site states it: its charge is paid whatever the run does, and is in
    none of the charges above. None: none is stated for this time."""

    bess_wear_eur: float | None
    """Price of the BESS's throughput, beside the cost and not in the savings; None where wear has no price. The
    baseline has no BESS and so no such wear."""
    vehicle_wear_eur: float | None
    """Likewise of what vehicles gave back; in the baseline they give nothing back."""
    bess_calendar_wear_eur: float | None
    """Price of the hours at their SOCs by which the BESSs age, beside the cost; None where it has no price."""
    vehicle_calendar_wear_eur: float | None
    """Likewise of vehicles while they are plugged."""
    reference_vehicle_calendar_wear_eur: float | None
    """The same in the baseline, whose vehicles come and go at the same times and wait at other SOCs."""

    co2_import_kg: float | None
    """Emissions of imported energy; None where the site names no intensity."""
    reference_co2_import_kg: float | None

    import_peak_kw: float | None
    """Highest mean import of a settlement period at the PCC; 0 where nothing was imported."""
    export_peak_kw: float | None
    reference_import_peak_kw: float | None
    reference_export_peak_kw: float | None

    psf: float | None
    """Peak-shaving factor, equation (22), quarters with a baseline above 0.5 kW: the mean of the ratios of run to
    baseline in each quarter. It says how much flatter the quarters are on average, and nothing of the highest one."""
    psf_samples: int

    stored_energy_difference_kwh: float | None
    """In the batteries at the end above what the baseline left in them, in the cells; not in the savings."""
    stored_energy_difference_eur: float | None
    """Valued at the mean purchase price of the time; beside the savings, never in them."""
    energy_residual_kwh_max: float | None
    """Largest absolute residual of the energy balance in a step."""

    doubts: tuple[DoubtfulValue, ...]
    """Values that cannot be true: recorded, named, not settled with."""
    doubtful_values: int
    """How many they are."""

    @property
    def wear_eur(self) -> float | None:
        """Cycle wear of all batteries; None where none has a price."""
        return sum_of_known(self.bess_wear_eur, self.vehicle_wear_eur)

    @property
    def calendar_wear_eur(self) -> float | None:
        """Calendar wear of all batteries; None where none has a price."""
        return sum_of_known(self.bess_calendar_wear_eur, self.vehicle_calendar_wear_eur)

    @property
    def all_wear_eur(self) -> float | None:
        """Cycle and calendar wear of all batteries; None where none has a price."""
        return sum_of_known(self.wear_eur, self.calendar_wear_eur)

    @property
    def savings_after_wear_eur(self) -> float | None:
        """Savings less all wear above the baseline's; None without a baseline, or where wear has no price."""
        if self.savings_eur is None or self.all_wear_eur is None:
            return None
        return self.savings_eur - self.all_wear_eur + (self.reference_vehicle_calendar_wear_eur or 0.0)

    def fields(self) -> dict[str, Any]:
        """By name, for a value that has more of them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Outcome)}


def outcome_of(compared: Comparison, site: Site) -> Outcome:
    run, reference = compared.run, compared.reference
    demand = _demand_eur(compared, compared.pcc_kw, site)
    reference_demand = None if reference is None else _demand_eur(compared, compared.reference_kw, site)
    shaving = compared.shaving()
    begin, end = run.times[0], run.times[-1]
    return Outcome(
        cost_eur=run.settlement.cost_eur,
        import_kwh=run.settlement.import_kwh,
        export_kwh=run.settlement.export_kwh,
        losses_kwh=compared.energy.losses_kwh,
        unsettled_steps=run.settlement.unsettled,
        reference_cost_eur=None if reference is None else reference.settlement.cost_eur,
        savings_eur=compared.savings_eur,
        demand_charge_eur=demand,
        reference_demand_charge_eur=reference_demand,
        demand_savings_eur=demand_savings_eur(demand, reference_demand),
        paid_peak_kw=_paid_peak_kw(compared, site),
        bess_wear_eur=bess_wear_eur(run.tracks, run.times, site.ems.bess_wear_eur_per_kwh),
        vehicle_wear_eur=vehicle_wear_eur(run.tracks, run.times, site.ems.vehicle_wear_eur_per_kwh),
        bess_calendar_wear_eur=calendar_wear_eur(run.tracks, begin, end, site, Group.BATTERY),
        vehicle_calendar_wear_eur=calendar_wear_eur(run.tracks, begin, end, site, Group.VEHICLES),
        reference_vehicle_calendar_wear_eur=None
        if reference is None
        else calendar_wear_eur(reference.tracks, begin, end, site, Group.VEHICLES),
        co2_import_kg=co2_import_kg(site, run.settlement),
        reference_co2_import_kg=None if reference is None else co2_import_kg(site, reference.settlement),
        import_peak_kw=run.import_peak_kw,
        export_peak_kw=run.export_peak_kw,
        reference_import_peak_kw=None if reference is None else reference.import_peak_kw,
        reference_export_peak_kw=None if reference is None else reference.export_peak_kw,
        psf=shaving.psf,
        psf_samples=shaving.samples,
        stored_energy_difference_kwh=compared.stored_difference_kwh,
        stored_energy_difference_eur=compared.stored_difference_eur,
        energy_residual_kwh_max=compared.energy.residual_kwh_max,
        doubts=compared.doubts,
        doubtful_values=sum(doubt.count for doubt in compared.doubts),
        **compared.timeliness.fields(),
    )


def _demand_eur(compared: Comparison, pcc_kw: Sequence[float | None], site: Site) -> float | None:
    """That of the month in which it is highest: a month's money, once."""
    times = [quarter.time for quarter in compared.run.quarters]
    charges = demand_charges_eur(site.tariff, month_peaks_kw(times, pcc_kw, site.zone))
    return max(charges.values()) if charges else None


def _paid_peak_kw(compared: Comparison, site: Site) -> float | None:
    """The peak from before the run of a month that the run touches [kW]."""
    before = site.tariff.month_peak
    months = {f"{quarter.time.astimezone(site.zone):%Y-%m}" for quarter in compared.run.quarters}
    return (before.import_kw or None) if before is not None and before.month in months else None


def demand_savings_eur(demand_eur: float | None, reference_eur: float | None) -> float | None:
    """None where either is."""
    return None if demand_eur is None or reference_eur is None else savings_eur(demand_eur, reference_eur)
