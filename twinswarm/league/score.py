"""A contestant's days and their score: money at the PCC meter, what is left in store, and what vehicles missed.

Score [€] = energy cost, equation (1), by register differences at the PCC
          + demand charge of the months that the time touches
          + energy below the target of vehicles that left, at the EMS' price of a shortfall
          - energy left at the end, at the mean purchase price of the time.

What is left is the change of the energy in the BESSs, and of each vehicle that is still plugged what it gained up to
its target. Energy beyond a target, and energy of vehicles that left, is worth nothing: they left with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.messages import ChargerTelemetry, PluggedVehicle
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel
from services.ems.problem import Prices
from services.history.memory import MemoryHistory, lockstep_info
from services.history.reader import pcc_of
from services.history.settlement import demand_charges_eur, month_peaks_kw, settle
from services.history.tracks import Track
from twinswarm.league.contestants import entered, shown
from twinswarm.league.plant import Visit, batteries, visits
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.study.day import day_of, kept

SHORTFALL_EUR_PER_KWH = Prices().shortfall_eur_per_kwh


@dataclass(frozen=True, slots=True)
class Score:
    """What a contestant's days came to. Series hold one value per step of the site."""

    name: str
    energy_eur: float
    demand_eur: float | None
    """None: no such tariff."""
    short_kwh: float
    """Energy below the target of vehicles that left, in their batteries."""
    left_kwh: float
    left_eur: float
    peak_kw: float
    """Highest mean import of a settlement period."""
    above_limit: int
    """Settlement periods whose mean import or export is above the connection's limit."""
    changes: int
    """Number of set-points that differ from the one before at the same device."""
    pcc_kw: tuple[float, ...]
    pv_kwh: tuple[float, ...]
    """Produced by step; a magnitude."""
    others_kwh: tuple[float, ...]
    """Drawn by everything that is neither PV nor moved by an EMS."""
    losses_kwh: tuple[float, ...]
    """Of the network."""
    purchase_eur_per_kwh: tuple[float, ...]
    sale_eur_per_kwh: tuple[float, ...]

    @property
    def short_eur(self) -> float:
        return self.short_kwh * SHORTFALL_EUR_PER_KWH

    @property
    def score_eur(self) -> float:
        """Less is better."""
        return math.fsum((self.energy_eur, self.demand_eur or 0.0, self.short_eur, -self.left_eur))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "score_eur": self.score_eur,
            "energy_eur": self.energy_eur,
            "demand_charge_eur": self.demand_eur,
            "short_kwh": self.short_kwh,
            "short_eur": self.short_eur,
            "left_kwh": self.left_kwh,
            "left_eur": self.left_eur,
            "import_peak_kw": self.peak_kw,
            "periods_above_limit": self.above_limit,
            "setpoints_changed": self.changes,
        }


def play(name: str, site: Site, course: Course) -> Score:
    """Lives through the course with this contestant, without a recorder. Raises TwinswarmError."""
    messages: list[Received] = []

    def receive(received: Received) -> None:
        if kept(received) or received.topic.channel is Channel.SETPOINT:
            messages.append(received)

    with entered(name, site) as entry:
        run = run_in_memory(entry.site, course, None, on_message=receive, algorithm=entry.algorithm)
    return score_of(shown(name), site, course, run, messages)


def score_of(name: str, site: Site, course: Course, run: str, messages: Sequence[Received]) -> Score:
    """Of a run's messages. Raises RunFailedError when a step was not measured."""
    info = lockstep_info(run, site, course.t0, course.t_end, course.step_s, course.t0)
    history = MemoryHistory(info, site, messages)
    day = day_of(history, run, course)
    tracks, times = history.tracks(run), history.grid(run)
    pcc = pcc_of(tracks)
    assert pcc is not None, "the day was settled at it"
    steps = settle(pcc, history.prices(run), times).steps
    price = math.fsum(_known(step.purchase_price_eur_per_kwh) for step in steps) / len(steps)
    net = {device: _net_kwh(track, times) for device, track in tracks.items() if track is not pcc}
    pv = [device for device in net if device in site.devices and site.devices[device].kind == "pv"]
    moved = {visit.charger for visit in visits(site, course)} | {*batteries(site), *pv}
    at_pcc = _net_kwh(pcc, times)
    short, left = _vehicles_kwh(site, course, messages)
    left += day.bess_stored_kwh
    charges = demand_charges_eur(site.tariff, month_peaks_kw(day.times, day.pcc_kw, site.zone))
    limits = (site.connection.import_limit_kw + 1e-3, -site.connection.export_limit_kw - 1e-3)
    return Score(
        name=name,
        energy_eur=day.cost_eur,
        demand_eur=None if charges is None else math.fsum(charges.values()),
        short_kwh=short,
        left_kwh=left,
        left_eur=left * price,
        peak_kw=day.peak_import_kw,
        above_limit=sum(power > limits[0] or power < limits[1] for power in day.pcc_kw),
        changes=history.counts(run).setpoints_changed,
        pcc_kw=day.pcc_kw,
        pv_kwh=_sum([net[device] for device in pv], len(steps), -1.0),
        others_kwh=_sum([flows for device, flows in net.items() if device not in moved], len(steps)),
        losses_kwh=_sum([at_pcc, *([-kwh for kwh in flows] for flows in net.values())], len(steps)),
        purchase_eur_per_kwh=tuple(_known(step.purchase_price_eur_per_kwh) for step in steps),
        sale_eur_per_kwh=tuple(_known(step.sale_price_eur_per_kwh) for step in steps),
    )


def _vehicles_kwh(site: Site, course: Course, messages: Sequence[Received]) -> tuple[float, float]:
    """Energy that vehicles which left missed, and that those at the plugs at the end gained up to their targets."""
    last: dict[tuple[str, object], PluggedVehicle] = {}
    for received in sorted(messages, key=lambda message: message.stamp.ts):
        if isinstance(body := received.body, ChargerTelemetry):
            for vehicle in (*(body.departed or ()), *([] if body.vehicle is None else [body.vehicle])):
                last[received.topic.device, vehicle.arrival] = vehicle
    short, left = [], []
    for visit in visits(site, course):
        seen = last.get((visit.charger, visit.session.arrival))
        energy = energy_kwh(visit, seen)
        if visit.session.departure <= course.t_end:
            short.append(max(0.0, visit.target_kwh - energy))
        else:
            left.append(min(energy, visit.target_kwh) - min(visit.arrival_kwh, visit.target_kwh))
    return math.fsum(short), math.fsum(left)


def energy_kwh(visit: Visit, seen: PluggedVehicle | None) -> float:
    """Energy in the vehicle as its charger counted last; None: nobody saw it."""
    if seen is None:
        return visit.arrival_kwh
    charged = _known(seen.charged_kwh) * visit.spec.charge_efficiency
    return visit.arrival_kwh + charged - _known(seen.discharged_kwh) / visit.spec.discharge_efficiency


def _net_kwh(track: Track, times: Sequence[Any]) -> list[float]:
    return [_known(flow.import_kwh) - _known(flow.export_kwh) for flow in track.flows(times)]


def _sum(parts: Sequence[Sequence[float]], steps: int, sign: float = 1.0) -> tuple[float, ...]:
    return tuple(sign * math.fsum(part[step] for part in parts) for step in range(steps))


def _known(value: float | None) -> float:
    if value is None:
        raise RunFailedError("a step was not measured")
    return value
