"""Cost and savings of one local day of a run, and the sum of days."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from schemas.site import Site
from services.analysis.comparison import Comparison
from services.analysis.wear import wear_eur
from services.history.settlement import demand_charge_eur, savings_eur

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DayResult:
    """A local day, or the ``hours`` of it that were recorded; with ``date`` None the sum of days.

    At full precision; None is what could not be known. Signs and definitions as in `RunResult`, of which the fields
    of the same name are those of the day alone.
    """

    date: date | None
    hours: float
    """Settled: up to 23, 24 or 25 a day."""
    complete: bool
    """The whole local day was recorded and settled."""
    cost_eur: float
    reference_cost_eur: float
    savings_eur: float
    psf: float | None
    psf_samples: int
    peak_kw: float | None
    """Highest mean import of a quarter at the PCC."""
    reference_peak_kw: float | None
    import_kwh: float
    export_kwh: float
    losses_kwh: float
    stored_change_kwh: float
    """In the batteries at the end more than the reference's day left in them; not in the savings."""
    stored_change_eur: float | None
    """At the day's mean purchase price."""
    residual_kwh: float | None
    """The largest of a step in the energy balance."""
    unsettled_steps: int
    demand_charge_eur: float | None
    """As if the day's highest quarter were the month's; of the sum, the days' highest. None without such a tariff."""
    reference_demand_charge_eur: float | None
    demand_savings_eur: float | None
    """A month's money, once: beside the savings, and not a sum of days."""
    bess_wear_eur: float | None


def day_result(day: date, length: timedelta, compared: Comparison, site: Site) -> DayResult:
    """From a comparison over that local day, which lasts ``length``, or over part of it. It has a reference."""
    run, reference = compared.run, compared.reference
    assert reference is not None
    savings, stored = compared.savings_eur, compared.stored_difference_kwh
    assert savings is not None and stored is not None
    lasted = run.times[-1] - run.times[0]
    shaving = compared.shaving()
    unsettled = run.settlement.unsettled
    charge = site.tariff.demand_charge_eur_per_kw
    demand = demand_charge_eur(compared.pcc_kw, charge)
    reference_demand = demand_charge_eur(compared.reference_kw, charge)
    return DayResult(
        date=day,
        hours=lasted / _HOUR,
        complete=lasted == length and not unsettled,
        cost_eur=run.settlement.cost_eur,
        reference_cost_eur=reference.settlement.cost_eur,
        savings_eur=savings,
        psf=shaving.psf,
        psf_samples=shaving.samples,
        peak_kw=run.import_peak_kw,
        reference_peak_kw=reference.import_peak_kw,
        import_kwh=run.settlement.import_kwh,
        export_kwh=run.settlement.export_kwh,
        losses_kwh=compared.energy.losses_kwh,
        stored_change_kwh=stored,
        stored_change_eur=compared.stored_difference_eur,
        residual_kwh=compared.energy.residual_kwh_max,
        unsettled_steps=unsettled,
        demand_charge_eur=demand,
        reference_demand_charge_eur=reference_demand,
        demand_savings_eur=_saved(demand, reference_demand),
        bess_wear_eur=wear_eur(run.tracks, run.times, site.ems.bess_wear_eur_per_kwh),
    )


def sum_of(days: Sequence[DayResult]) -> DayResult:
    """At least one. Energies and money add up, the PSF is the mean over all quarters; peaks and residual: highest."""
    samples = sum(day.psf_samples for day in days)
    ratios = [day.psf * day.psf_samples for day in days if day.psf is not None]
    wear = [day.bess_wear_eur for day in days if day.bess_wear_eur is not None]
    demand = _highest(day.demand_charge_eur for day in days)
    reference_demand = _highest(day.reference_demand_charge_eur for day in days)
    values = [day.stored_change_eur for day in days if day.stored_change_eur is not None]
    return DayResult(
        date=None,
        hours=math.fsum(day.hours for day in days),
        complete=all(day.complete for day in days),
        cost_eur=math.fsum(day.cost_eur for day in days),
        reference_cost_eur=math.fsum(day.reference_cost_eur for day in days),
        savings_eur=math.fsum(day.savings_eur for day in days),
        psf=math.fsum(ratios) / samples if samples else None,
        psf_samples=samples,
        peak_kw=_highest(day.peak_kw for day in days),
        reference_peak_kw=_highest(day.reference_peak_kw for day in days),
        import_kwh=math.fsum(day.import_kwh for day in days),
        export_kwh=math.fsum(day.export_kwh for day in days),
        losses_kwh=math.fsum(day.losses_kwh for day in days),
        stored_change_kwh=math.fsum(day.stored_change_kwh for day in days),
        stored_change_eur=math.fsum(values) if len(values) == len(days) else None,
        residual_kwh=_highest(day.residual_kwh for day in days),
        unsettled_steps=sum(day.unsettled_steps for day in days),
        demand_charge_eur=demand,
        reference_demand_charge_eur=reference_demand,
        demand_savings_eur=_saved(demand, reference_demand),
        bess_wear_eur=math.fsum(wear) if len(wear) == len(days) else None,
    )


def _saved(demand_eur: float | None, reference_eur: float | None) -> float | None:
    return None if demand_eur is None or reference_eur is None else savings_eur(demand_eur, reference_eur)


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
