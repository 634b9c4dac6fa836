"""One day of a study, lived through by the participants themselves, and what is kept of it.

The participants, the run loop and the settlement are those of ``twinswarm run``; only the recorder is left out: what
it would write is kept in memory. So the numbers are the same to the last bit.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.capabilities import Group
from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.messages import BessNameplate
from schemas.participant import Json, Received
from schemas.site import Site
from schemas.topics import Channel, Kind
from services.analysis.calendar_wear import calendar_wear_eur
from services.analysis.quarters import Quarter, quarters_of
from services.analysis.stored import departure_shortfall_kwh, stored_change
from services.analysis.wear import bess_wear_eur, sum_of_known, vehicle_wear_eur
from services.history.memory import MemoryHistory, lockstep_info
from services.history.reader import History, pcc_of
from services.history.settlement import co2_import_kg, settle
from services.history.tracks import Track, soc_of
from twinswarm.simulation.in_memory import run_in_memory


@dataclass(frozen=True, slots=True)
class Day:
    """A day as measured at its meters. Series hold one value per quarter; powers are means [kW]."""

    cost_eur: float
    """At the PCC meter, losses included, equation (1)."""
    import_kwh: float
    export_kwh: float
    losses_kwh: float
    times: tuple[datetime, ...]
    """Beginnings of the quarters, UTC."""
    pcc_kw: tuple[float, ...]
    """Positive on import."""
    load_kw: tuple[float, ...]
    pv_kw: tuple[float, ...]
    """Produced; a magnitude."""
    bess_kw: tuple[float, ...]
    """Positive when charging."""
    cars_kw: tuple[float, ...]
    """All chargers; positive when charging."""
    losses_kw: tuple[float, ...]
    bess_soc_frac: tuple[float | None, ...]
    """At the beginning of each quarter, and at the end of the day."""
    cars_soc_frac: tuple[float | None, ...]
    """Likewise; mean of the vehicles that are plugged."""
    purchase_eur_per_kwh: tuple[float, ...]
    sale_eur_per_kwh: tuple[float, ...]
    bess_stored_kwh: float
    """Change of the energy in the cells of the BESS over the day."""
    cars_stored_kwh: float
    """Likewise of the vehicles, from arrival to departure."""
    bess_end_soc_frac: dict[str, float]
    """By BESS: its SOC when the day ends."""
    cars_discharged_kwh: float
    """Energy that the chargers took out of vehicles, at their AC terminals; by the registers of each."""
    departure_shortfall_kwh: float
    statuses: dict[str, int]
    """How many plans of each status: their sum is the number of optimisations."""
    bess_charged_kwh: float = 0.0
    """Energy that the BESSs drew at their AC terminals, by the registers of each."""
    bess_discharged_kwh: float = 0.0
    """Likewise what they gave."""
    bess_cycled_kwh: float = 0.0
    """Half of what went into and out of the cells of the BESSs."""
    co2_import_kg: float | None = None
    """Emissions of the imported energy; None where the site names no intensity."""
    wear_eur: float | None = None
    """Price of the BESSs' throughput and of what vehicles gave back; None where neither has one."""
    calendar_wear_eur: float | None = None
    """Price of the hours at their SOCs, of BESSs and of plugged vehicles; None where they have none."""
    heat_stored_kwh: float = 0.0
    """Change of the heat in the buffers of heat pumps, as the electricity for it."""

    @property
    def optimisations(self) -> int:
        return sum(self.statuses.values())

    @property
    def stored_kwh(self) -> float:
        """Change of the energy in all batteries and buffers over the day."""
        return self.bess_stored_kwh + self.cars_stored_kwh + self.heat_stored_kwh

    def worth_eur(self, kwh: float) -> float:
        """Value of energy at the mean purchase price."""
        prices = self.purchase_eur_per_kwh
        return kwh * math.fsum(prices) / len(prices)

    @property
    def peak_import_kw(self) -> float:
        """Highest mean import of a quarter-hour at the PCC; 0 for a day without import."""
        return max(0.0, *self.pcc_kw)


_KEPT = (Channel.BIRTH, Channel.TELEMETRY, Channel.PLAN)


class Listener:
    """Keeps of a run's messages what the analysis of a day needs."""

    def __init__(self) -> None:
        self._messages: list[Received] = []

    def __call__(self, received: Received) -> None:
        if kept(received):
            self._messages.append(received)

    def day(self, site: Site, course: Course, run: str) -> Day:
        """Raises RunFailedError when a quarter was not measured."""
        info = lockstep_info(run, site, course.t0, course.t_end, course.step_s, course.t0)
        return day_of(MemoryHistory(info, site, self._messages), run, course)


def kept(received: Received) -> bool:
    """Whether the analysis of a day needs the message."""
    topic = received.topic
    return topic.channel in _KEPT or (topic.channel is Channel.SERIES and topic.kind is Kind.TARIFF)


def day_of(history: History, run: str, course: Course) -> Day:
    """A recorded course, or the part of it that ``history`` is a window of. Raises RunFailedError when a quarter was
    not measured."""
    site = history.site(run)
    tracks, prices, times = history.tracks(run), history.prices(run), history.grid(run)
    statuses = Counter(str(plan.status) for _, plan in history.plans(run))
    pcc = pcc_of(tracks)
    if pcc is None:
        raise RunFailedError("nobody measured the PCC")
    settlement = settle(pcc, prices, times)
    if settlement.unsettled:
        raise RunFailedError(f"{settlement.unsettled} steps could not be settled")
    quarters = quarters_of(tracks, prices, times, course.step, site.zone)
    stored = stored_change(tracks, course.t0, course.t_end)
    groups = {group: [track.device for track in tracks.values() if track.group is group] for group in Group}
    batteries = [tracks[name] for name in groups[Group.BATTERY]]
    return Day(
        cost_eur=settlement.cost_eur,
        import_kwh=settlement.import_kwh,
        export_kwh=settlement.export_kwh,
        losses_kwh=math.fsum(_known(q.losses_kw) * q.length.total_seconds() / 3600 for q in quarters),
        times=tuple(quarter.time for quarter in quarters),
        pcc_kw=tuple(_known(quarter.pcc_kw) for quarter in quarters),
        load_kw=_total(quarters, groups[Group.LOAD]),
        pv_kw=tuple(0.0 - power for power in _total(quarters, groups[Group.GENERATION])),
        bess_kw=_total(quarters, groups[Group.BATTERY]),
        cars_kw=_total(quarters, groups[Group.VEHICLES]),
        losses_kw=tuple(_known(quarter.losses_kw) for quarter in quarters),
        bess_soc_frac=_mean_soc(batteries, quarters, course),
        cars_soc_frac=_mean_soc([tracks[name] for name in groups[Group.VEHICLES]], quarters, course),
        purchase_eur_per_kwh=tuple(_known(quarter.purchase_price_eur_per_kwh) for quarter in quarters),
        sale_eur_per_kwh=tuple(_known(quarter.sale_price_eur_per_kwh) for quarter in quarters),
        bess_stored_kwh=stored.bess_kwh,
        cars_stored_kwh=stored.vehicles_kwh,
        heat_stored_kwh=stored.heat_kwh,
        bess_end_soc_frac=_end_soc(batteries, course),
        cars_discharged_kwh=_exported_kwh([tracks[name] for name in groups[Group.VEHICLES]], times),
        departure_shortfall_kwh=departure_shortfall_kwh(tracks, course.t0),
        statuses=dict(sorted(statuses.items())),
        bess_charged_kwh=_imported_kwh(batteries, times),
        bess_discharged_kwh=_exported_kwh(batteries, times),
        bess_cycled_kwh=math.fsum(_cycled_kwh(track, times) for track in batteries),
        co2_import_kg=co2_import_kg(site, settlement),
        wear_eur=sum_of_known(
            bess_wear_eur(tracks, times, site.ems.bess_wear_eur_per_kwh),
            vehicle_wear_eur(tracks, times, site.ems.vehicle_wear_eur_per_kwh),
        ),
        calendar_wear_eur=sum_of_known(
            *(
                calendar_wear_eur(tracks, course.t0, course.t_end, site, group)
                for group in (Group.BATTERY, Group.VEHICLES)
            )
        ),
    )


def live_through(site: Site, course: Course, learned: Mapping[str, Json] | None = None) -> Day:
    """The site's day; ``learned`` as of `run_in_memory`. Raises TwinswarmError."""
    listener = Listener()
    run = run_in_memory(site, course, None, on_message=listener, learned=learned, brief=True)
    return listener.day(site, course, run)


def _known(value: float | None) -> float:
    if value is None:
        raise RunFailedError("a quarter was not measured")
    return value


def _total(quarters: list[Quarter], names: list[str]) -> tuple[float, ...]:
    return tuple(math.fsum(_known(quarter.power_kw[name]) for name in names) for quarter in quarters)


def _end_soc(tracks: Sequence[Track], course: Course) -> dict[str, float]:
    found = {}
    for track in tracks:
        body = track.at(course.t_end, course.step)
        if body is not None and (soc := soc_of(body)) is not None:
            found[track.device] = soc
    return found


def _exported_kwh(tracks: Sequence[Track], times: Sequence[datetime]) -> float:
    return math.fsum(_known(flow.export_kwh) for track in tracks for flow in track.flows(times))


def _imported_kwh(tracks: Sequence[Track], times: Sequence[datetime]) -> float:
    return math.fsum(_known(flow.import_kwh) for track in tracks for flow in track.flows(times))


def _cycled_kwh(track: Track, times: Sequence[datetime]) -> float:
    plate = track.nameplate
    if not isinstance(plate, BessNameplate):
        return 0.0
    drawn, given = _imported_kwh([track], times), _exported_kwh([track], times)
    return (drawn * plate.charge_efficiency + given / plate.discharge_efficiency) / 2


def _mean_soc(tracks: Sequence[Track], quarters: list[Quarter], course: Course) -> tuple[float | None, ...]:
    at_end = [soc_of(body) for track in tracks if (body := track.at(course.t_end, course.step)) is not None]
    instants = [*([quarter.soc_frac[track.device] for track in tracks] for quarter in quarters), at_end]
    known = [[soc for soc in socs if soc is not None] for socs in instants]
    return tuple(math.fsum(socs) / len(socs) if socs else None for socs in known)
