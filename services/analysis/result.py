"""From one or two recorded runs to a result."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Birth, NetworkTelemetry, Plan, TimeMode
from schemas.site import Network
from schemas.topics import Channel, Kind
from services.analysis.comparison import compare
from services.analysis.outcome import outcome_of
from services.analysis.outside_limits import outside_limits
from services.analysis.quarters import Quarter
from services.analysis.run_result import DeviceResult, QuarterResult, RunResult
from services.analysis.shaving import STRICT_THRESHOLD_KW
from services.analysis.stored import departure_shortfall_kwh
from services.history.reader import History, RunInfo
from services.history.sessions import sessions_of
from services.history.tracks import Track, soc_of

__all__ = ["DeviceResult", "QuarterResult", "RunResult", "analyse"]


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
    info, site = history.info(run), history.site(run)
    compared = compare(history, run, reference_history, reference_run)
    tracks, times, quarters = compared.run.tracks, compared.run.times, compared.run.quarters
    settlement, stored, energy = compared.run.settlement, compared.run.stored, compared.energy
    reference, reference_kw = compared.reference, compared.reference_kw
    psf, strict = compared.shaving(), compared.shaving(STRICT_THRESHOLD_KW)
    counts = history.counts(run)
    alarms = Counter(alarm.code for _, alarm in history.alarms(run) if alarm.active)
    plans = _plans(history, run, quarters)
    worst = energy.worst
    limits = site.connection.import_limit_kw, site.connection.export_limit_kw
    return RunResult(
        **outcome_of(compared, site).fields(),
        run=run,
        site=site.site,
        description=site.description,
        mode=str(info.mode),
        time_zone=site.location.time_zone,
        start=times[0],
        end=times[-1],
        complete=info.complete,
        reference=None if reference is None else reference_name or reference_run,
        import_limit_kw=limits[0],
        export_limit_kw=limits[1],
        limit_exceeded_periods=compared.run.above_kw(*limits),
        psf_excluded_samples=psf.excluded,
        psf_unknown_samples=psf.unknown,
        psf_2kw=strict.psf,
        psf_2kw_excluded_samples=strict.excluded,
        energy_residual_at=None if worst is None else worst.start,
        energy_residual_undisturbed_kwh_max=energy.undisturbed_residual_kwh_max,
        energy_note=energy.note,
        energy_causes=(*energy.causes, *((str(found), timedelta()) for found in history.misdated(run))),
        stored_bess_kwh=stored.bess_kwh,
        stored_vehicles_kwh=stored.vehicles_kwh,
        stored_price_eur_per_kwh=settlement.mean_purchase_price_eur_per_kwh,
        setpoints_changed=counts.setpoints_changed,
        setpoints_reversed=counts.setpoints_reversed,
        messages_recorded=counts.recorded,
        messages_missing=counts.missing,
        messages_stray=counts.stray,
        dead_letters=counts.dead_letters,
        alarms=alarms.total(),
        alarms_by_code=dict(sorted(alarms.items())),
        plan_statuses=plans.statuses,
        departure_shortfall_kwh=departure_shortfall_kwh(tracks, times[0]),
        wall_s=wall_s,
        devices=tuple(_device(track, times, quarters) for track in tracks.values() if track is not compared.run.pcc),
        quarters=tuple(_quarters(quarters, reference_kw, plans)),
        outside_limits=outside_limits(
            history.messages(run, Channel.LIMIT),
            quarters,
            {group.name: group.devices for group in site.ems.cable_limits if group.name is not None},
        ),
        network_note=_network_note(site.network, compared.run.pcc),
        estimated_losses_kwh=energy.estimated_losses_kwh,
        unsolved_steps=energy.unsolved,
        not_kept=_not_kept(history, run, info),
    )


def _not_kept(history: History, run: str, info: RunInfo) -> tuple[str, ...]:
    """By their births. The clock's messages are retained."""
    if info.mode is not TimeMode.WALL:
        return ()
    births = {device: (r.topic.kind, r.body) for device, r in history.births(run).items()}
    return tuple(
        device
        for device, (kind, birth) in sorted(births.items())
        if kind is not Kind.CLOCK and isinstance(birth, Birth) and not birth.store_and_forward
    )


def _network_note(network: Network, pcc: Track) -> str | None:
    if not network.is_busbar or not any(isinstance(sample.body, NetworkTelemetry) for sample in pcc.samples):
        return None
    if network.losses_frac:
        return f"no network is described: {network.losses_frac:.1%} of the power at the busbar, as the site states"
    return "no network is described: one busbar without losses"


@dataclass(frozen=True, slots=True)
class _Plans:
    """The part of a run's plans that is compared with what happened; whole plans of a year would not fit in memory."""

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
        group=track.group,
        role=None if track.role is None else str(track.role),
        import_kwh=math.fsum(drawn) if drawn else None,
        export_kwh=math.fsum(given) if given else None,
        highest_kw=max(means, default=None),
        lowest_kw=min(means, default=None),
        soc_start_frac=soc_of(track.samples[0].body),
        soc_end_frac=soc_of(track.samples[-1].body),
        sessions=len(sessions_of(track)),
        note="; ".join(causes) or None,
    )
