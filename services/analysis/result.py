"""From one or two recorded runs to a result."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.errors import InputError
from schemas.messages import Plan
from schemas.topics import Channel, Kind
from services.analysis.balance import balance
from services.analysis.quarters import Quarter, quarters_of
from services.analysis.run_result import DeviceResult, QuarterResult, RunResult
from services.analysis.settlement import Settlement, demand_charge_eur, settle
from services.analysis.shaving import STRICT_THRESHOLD_KW, peak_shaving_factor
from services.analysis.stored import StoredChange, departure_shortfall_kwh, stored_change
from services.recorder.history import History, pcc_of
from services.recorder.prices import Prices
from services.recorder.sessions import sessions_of
from services.recorder.track import Track, soc_of

__all__ = ["DeviceResult", "QuarterResult", "RunResult", "analyse"]


@dataclass(frozen=True, slots=True)
class _Reference:
    """The counterfactual over the time that was recorded of the run."""

    settlement: Settlement
    quarters: dict[datetime, Quarter]
    stored: StoredChange


def analyse(
    history: History,
    run: str,
    reference_history: History | None = None,
    reference_run: str | None = None,
    reference_name: str | None = None,
    wall_s: float | None = None,
) -> RunResult:
    """The result of a recorded run; with a reference also savings, PSF and the difference of stored energy.

    A run that was cut off is compared with the same time of its reference. ``wall_s`` is how long it took [s].
    Raises InputError when there is no such run, or no PCC meter told of itself in it.
    """
    info, site, tracks, times = history.info(run), history.site(run), history.tracks(run), history.grid(run)
    pcc = pcc_of(tracks)
    if pcc is None or len(times) < 2:
        raise InputError.one(str(history.path), "not one step of this run was measured at the PCC", run)
    prices = history.prices(run)
    settlement = settle(pcc, prices, times)
    quarters = quarters_of(tracks, prices, times, info.step)
    energy = balance(tracks, times)
    stored = stored_change(tracks)
    reference = None
    if reference_history is not None and reference_run is not None:
        reference = _reference(reference_history, reference_run, prices, times, info.step)
    reference_kw = _of_reference(reference, quarters)
    pcc_kw = [quarter.pcc_kw for quarter in quarters]
    psf = peak_shaving_factor(pcc_kw, reference_kw)
    strict = peak_shaving_factor(pcc_kw, reference_kw, STRICT_THRESHOLD_KW)
    counts = history.counts(run)
    alarms = Counter(alarm.code for _, alarm in history.alarms(run) if alarm.active)
    plans = _plans(history, run, quarters)
    price = settlement.mean_purchase_price_eur_per_kwh
    difference = None if reference is None else stored.total_kwh - reference.stored.total_kwh
    charge = site.tariff.demand_charge_eur_per_kw
    worst = energy.worst
    return RunResult(
        run=run,
        site=site.site,
        description=site.description,
        mode=str(info.mode),
        time_zone=site.location.time_zone,
        start=times[0],
        end=times[-1],
        complete=info.complete,
        cost_eur=settlement.cost_eur,
        import_kwh=settlement.import_kwh,
        export_kwh=settlement.export_kwh,
        demand_charge_eur=demand_charge_eur(pcc_kw, charge),
        unsettled_steps=settlement.unsettled,
        reference=None if reference is None else reference_name or reference_run,
        reference_cost_eur=None if reference is None else reference.settlement.cost_eur,
        reference_demand_charge_eur=None if reference is None else demand_charge_eur(reference_kw, charge),
        savings_eur=None if reference is None else reference.settlement.cost_eur - settlement.cost_eur,
        psf=psf.psf,
        psf_samples=psf.samples,
        psf_excluded_samples=psf.excluded,
        psf_unknown_samples=psf.unknown,
        psf_2kw=strict.psf,
        psf_2kw_excluded_samples=strict.excluded,
        energy_residual_kwh_max=energy.residual_kwh_max,
        energy_residual_at=None if worst is None else worst.start,
        energy_residual_undisturbed_kwh_max=energy.undisturbed_residual_kwh_max,
        energy_note=energy.note,
        energy_causes=energy.causes,
        losses_kwh=energy.losses_kwh,
        stored_bess_kwh=stored.bess_kwh,
        stored_vehicles_kwh=stored.vehicles_kwh,
        stored_energy_difference_kwh=difference,
        stored_energy_difference_eur=None if difference is None or price is None else difference * price,
        stored_price_eur_per_kwh=price,
        setpoints_sent=counts.setpoints_sent,
        setpoints_changed=counts.setpoints_changed,
        messages_recorded=counts.recorded,
        messages_missing=counts.missing,
        messages_stray=counts.stray,
        dead_letters=counts.dead_letters,
        alarms=alarms.total(),
        alarms_by_code=dict(sorted(alarms.items())),
        plan_statuses=plans.statuses,
        departure_shortfall_kwh=departure_shortfall_kwh(tracks),
        wall_s=wall_s,
        devices=tuple(_device(track, times, quarters) for track in tracks.values() if track is not pcc),
        quarters=tuple(_quarters(quarters, reference_kw, plans)),
    )


def _reference(history: History, run: str, prices: Prices, times: Sequence[datetime], step: timedelta) -> _Reference:
    """Settled at the prices of the run that it is compared with."""
    tracks = {
        name: dataclasses.replace(track, samples=tuple(s for s in track.samples if s.ts <= times[-1]))
        for name, track in history.tracks(run).items()
    }
    pcc = pcc_of(tracks)
    if pcc is None:
        raise InputError.one(str(history.path), "the reference was not measured at the PCC", run)
    quarters = quarters_of(tracks, prices, times, step)
    return _Reference(
        settle(pcc, prices, times), {quarter.time: quarter for quarter in quarters}, stored_change(tracks)
    )


def _of_reference(reference: _Reference | None, quarters: Sequence[Quarter]) -> list[float | None]:
    if reference is None:
        return [None] * len(quarters)
    return [found.pcc_kw if (found := reference.quarters.get(q.time)) is not None else None for q in quarters]


@dataclass(frozen=True, slots=True)
class _Plans:
    """Of a run's plans what is compared with what happened; all of them, whole, would not fit the memory of a year."""

    statuses: dict[str, int]
    first: Plan | None
    commanding_kw: dict[datetime, float | None]
    """By the quarter's beginning the mean PCC power that the plan made for it foresaw."""


def _plans(history: History, run: str, quarters: Sequence[Quarter]) -> _Plans:
    by_time = {quarter.time: quarter for quarter in quarters}
    statuses: Counter[str] = Counter()
    first: Plan | None = None
    commanding: dict[datetime, float | None] = {}
    for received in history.messages(run, Channel.PLAN):
        plan = received.body
        assert isinstance(plan, Plan)
        statuses[str(plan.status)] += 1
        first = first or plan
        if plan.start in by_time:
            commanding[plan.start] = _planned(plan, by_time[plan.start])
    return _Plans(dict(sorted(statuses.items())), first, commanding)


def _quarters(quarters: Sequence[Quarter], reference_kw: Sequence[float | None], plans: _Plans) -> list[QuarterResult]:
    return [
        QuarterResult(
            time=quarter.time,
            length_s=quarter.length.total_seconds(),
            pcc_kw=quarter.pcc_kw,
            reference_pcc_kw=reference,
            planned_pcc_kw=plans.commanding_kw.get(quarter.time),
            first_plan_pcc_kw=_planned(plans.first, quarter),
            purchase_price_eur_per_kwh=quarter.purchase_price_eur_per_kwh,
            sale_price_eur_per_kwh=quarter.sale_price_eur_per_kwh,
            losses_kw=quarter.losses_kw,
            power_kw=dict(quarter.power_kw),
            soc_frac=dict(quarter.soc_frac),
        )
        for quarter, reference in zip(quarters, reference_kw, strict=True)
    ]


def _planned(plan: Plan | None, quarter: Quarter) -> float | None:
    """Mean of the plan's PCC power over the quarter [kW]; None where it says nothing of all of it."""
    if plan is None or plan.pcc_kw is None:
        return None
    step = timedelta(seconds=plan.step_s)
    first = (quarter.time - plan.start) // step
    steps = max(1, quarter.length // step)
    values = plan.pcc_kw[first : first + steps] if first >= 0 else ()
    return math.fsum(values) / steps if len(values) == steps else None


def _device(track: Track, times: Sequence[datetime], quarters: Sequence[Quarter]) -> DeviceResult:
    flows = track.flows(times)
    drawn = [flow.import_kwh for flow in flows if flow.import_kwh is not None]
    given = [flow.export_kwh for flow in flows if flow.export_kwh is not None]
    means = [kw for quarter in quarters if (kw := quarter.power_kw[track.device]) is not None]
    causes = dict.fromkeys(flow.cause for flow in flows if flow.cause is not None)
    return DeviceResult(
        device=track.device,
        kind=str(track.kind),
        role=None if track.role is None else str(track.role),
        import_kwh=math.fsum(drawn) if drawn else None,
        export_kwh=math.fsum(given) if given else None,
        highest_kw=max(means, default=None),
        lowest_kw=min(means, default=None),
        soc_start_frac=soc_of(track.samples[0].body),
        soc_end_frac=soc_of(track.samples[-1].body),
        sessions=len(sessions_of(track)) if track.kind is Kind.CHARGER else 0,
        note="; ".join(causes) or None,
    )
