"""Cost and savings of one local day of a run, and the sum of days."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from schemas.site import Site
from services.analysis.comparison import Comparison
from services.analysis.outcome import Outcome, demand_savings_eur, outcome_of
from services.analysis.plain import to_json
from services.history.doubts import merged_doubts

_HOUR = timedelta(hours=1)

_NAMES = {
    "import_peak_kw": "peak_kw",
    "reference_import_peak_kw": "reference_peak_kw",
    "stored_energy_difference_kwh": "stored_change_kwh",
    "stored_energy_difference_eur": "stored_change_eur",
    "energy_residual_kwh_max": "residual_kwh",
}
"""Names in JSON and in InfluxDB that differ from those of the fields; scripts and dashboards read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult(Outcome):
    """A local day, or the ``hours`` of it that were recorded; with ``date`` None the sum of days.

    What `Outcome` says is of the day alone. It has a baseline.
    """

    date: date | None
    hours: float
    """Settled: up to 23, 24 or 25 a day."""
    complete: bool
    """The whole local day was recorded and settled."""
    reference_cost_eur: float
    savings_eur: float
    stored_energy_difference_kwh: float

    def to_json(self) -> dict[str, object]:
        """By the names that programs read."""
        found: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            found[_NAMES.get(field.name, field.name)] = to_json(value)
        return found


def day_result(day: date, length: timedelta, compared: Comparison, site: Site) -> DayResult:
    """From a comparison over that local day, which lasts ``length``, or over part of it. It has a baseline."""
    assert compared.reference is not None
    times = compared.run.times
    lasted = times[-1] - times[0]
    outcome = outcome_of(compared, site)
    complete = lasted == length and not outcome.unsettled_steps
    return DayResult(**outcome.fields(), date=day, hours=lasted / _HOUR, complete=complete)


def sum_of(days: Sequence[DayResult]) -> DayResult:
    """At least one. Energies and money add up, the PSF is the mean over all quarters; peaks and residual: highest.

    The demand charge is that of the highest day.
    """
    samples = sum(day.psf_samples for day in days)
    ratios = [day.psf * day.psf_samples for day in days if day.psf is not None]
    demand = _highest(day.demand_charge_eur for day in days)
    reference_demand = _highest(day.reference_demand_charge_eur for day in days)
    return DayResult(
        date=None,
        hours=math.fsum(day.hours for day in days),
        complete=all(day.complete for day in days),
        cost_eur=math.fsum(day.cost_eur for day in days),
        reference_cost_eur=math.fsum(day.reference_cost_eur for day in days),
        savings_eur=math.fsum(day.savings_eur for day in days),
        demand_charge_eur=demand,
        reference_demand_charge_eur=reference_demand,
        demand_savings_eur=demand_savings_eur(demand, reference_demand),
        bess_wear_eur=_total([day.bess_wear_eur for day in days]),
        vehicle_wear_eur=_total([day.vehicle_wear_eur for day in days]),
        bess_calendar_wear_eur=_total([day.bess_calendar_wear_eur for day in days]),
        vehicle_calendar_wear_eur=_total([day.vehicle_calendar_wear_eur for day in days]),
        reference_vehicle_calendar_wear_eur=_total([day.reference_vehicle_calendar_wear_eur for day in days]),
        co2_import_kg=_total([day.co2_import_kg for day in days]),
        reference_co2_import_kg=_total([day.reference_co2_import_kg for day in days]),
        psf=math.fsum(ratios) / samples if samples else None,
        psf_samples=samples,
        import_peak_kw=_highest(day.import_peak_kw for day in days),
        export_peak_kw=_highest(day.export_peak_kw for day in days),
        reference_import_peak_kw=_highest(day.reference_import_peak_kw for day in days),
        reference_export_peak_kw=_highest(day.reference_export_peak_kw for day in days),
        import_kwh=math.fsum(day.import_kwh for day in days),
        export_kwh=math.fsum(day.export_kwh for day in days),
        losses_kwh=math.fsum(day.losses_kwh for day in days),
        stored_energy_difference_kwh=math.fsum(day.stored_energy_difference_kwh for day in days),
        stored_energy_difference_eur=_total([day.stored_energy_difference_eur for day in days]),
        energy_residual_kwh_max=_highest(day.energy_residual_kwh_max for day in days),
        unsettled_steps=sum(day.unsettled_steps for day in days),
        paid_peak_kw=_highest(day.paid_peak_kw for day in days),
        doubts=merged_doubts(doubt for day in days for doubt in day.doubts),
        doubtful_values=sum(day.doubtful_values for day in days),
        setpoints_sent=sum(day.setpoints_sent for day in days),
        setpoints_refused=sum(day.setpoints_refused for day in days),
        setpoints_late=sum(day.setpoints_late for day in days),
        periods_without_setpoints=sum(day.periods_without_setpoints for day in days),
        periods_commanded=sum(day.periods_commanded for day in days),
        telemetry_late_frac=math.fsum(day.telemetry_late_frac * day.hours for day in days)
        / math.fsum(day.hours for day in days),
        speed=days[-1].speed,
        speeds=_changes(speed for day in days for speed in day.speeds),
    )


def _changes(speeds: Iterable[float]) -> tuple[float, ...]:
    """One after the other, without repetition."""
    return tuple(speed for speed, _ in itertools.groupby(speeds))


def _total(values: Sequence[float | None]) -> float | None:
    """None where any is not known."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
