"""Calm and its price: set-point changes, reversals and money of a site's days, by the options that make it calm.

Run: ``python benchmarks/calm.py [SITE ...] [--date DATE ...] [--known]`` (names or files; without any, the sites of the
box). Each day is lived through with each setting; the first line of a day is without any. Money counts the energy that
is left in the batteries, those of vehicles that left too, at the mean purchase price, so that a day is not calm by
storing less. Cost of calm: by how much it is less than in the first line; as a share of what the first line saves
against uncontrolled charging without storage, and of what it saves against one-way smart charging.

A device's first set-point is no change. ``least`` is the number of changes that no plan can do without: charging of
each vehicle that comes, needs energy and leaves within the day begins and ends. ``avoided``: the part of the changes
beyond these that the first line has and this one has not. ``--known``: drivers leave as they announce and the
forecasts are what happens, so that the differences are the options' and not luck's.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from schemas.cycle import Course
from schemas.participant import Received
from schemas.site import AnyDevice, Calm, Charger, ForecastOptions, Meter, Pv, Site
from schemas.topics import Channel
from services.history.memory import MemoryHistory, lockstep_info
from sites.loader import load_site
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice, with_storage
from twinswarm.study.day import day_of, kept

SETTINGS: Mapping[str, tuple[Calm | None, float]] = {
    "none": (None, 0.0),
    "0.001 €/kW": (None, 0.001),
    "calm": (Calm(), 0.0),
    "calm, 0.0005 €/kW": (Calm(), 0.0005),
    "calm, 0.001 €/kW": (Calm(), 0.001),
    "calm, 0.002 €/kW": (Calm(), 0.002),
    "calm, 0.005 €/kW": (Calm(), 0.005),
    "calm 0.005 €": (Calm(min_gain_eur=0.005), 0.0),
    "calm 0.005 €, 0.002 €/kW": (Calm(min_gain_eur=0.005), 0.002),
    "calm 0.02 €, 30 min, 0.005 €/kW": (Calm(min_gain_eur=0.02, hold_s=1800.0, deadband_kw=1.0), 0.005),
}
"""By name: calm, and the price on changes of power [€/kW]."""


@dataclass(frozen=True)
class Lived:
    """A day as it was lived through."""

    worth_eur: float
    """Cost, less what is left in the batteries; negative is earned."""
    changes: int
    reversals: int
    missing_kwh: float


def lived(site: Site, course: Course) -> Lived:
    messages: list[Received] = []

    def keep(received: Received) -> None:
        if kept(received) or received.topic.channel is Channel.SETPOINT:
            messages.append(received)

    run = run_in_memory(site, course, None, on_message=keep)
    history = MemoryHistory(lockstep_info(run, site, course.t0, course.t_end, course.step_s, course.t0), site, messages)
    day, counts = day_of(history, run, course), history.counts(run)
    commanded = {received.topic.device for received, _ in history.setpoints(run)}
    price = sum(day.purchase_eur_per_kwh) / len(day.purchase_eur_per_kwh)
    worth = day.cost_eur - price * day.stored_kwh
    changes = counts.setpoints_changed - len(commanded)
    return Lived(worth, changes, counts.setpoints_reversed, day.departure_shortfall_kwh)


def _foreseen(device: AnyDevice) -> AnyDevice:
    if isinstance(device, Charger):
        true = tuple(session.model_copy(update={"announced_departure": None}) for session in device.sessions)
        return device.model_copy(update={"sessions": true})
    if isinstance(device, Pv):
        return device.model_copy(update={"forecast": device.source})
    return device.model_copy(update={"forecast_profile": device.profile}) if isinstance(device, Meter) else device


def known(site: Site) -> Site:
    """The same site with drivers that leave as they announce, and forecasts of what happens."""
    devices = {name: _foreseen(device) for name, device in site.devices.items()}
    return site.model_copy(update={"devices": devices, "forecast": ForecastOptions()})


def least_changes(site: Site, course: Course) -> int:
    sessions = [
        session
        for device in site.devices.values()
        if isinstance(device, Charger) and device.controllable
        for session in device.sessions_between(course.t0, course.t_end, site.zone)
    ]
    here = [s for s in sessions if course.t0 <= s.arrival and s.departure <= course.t_end]
    return 2 * sum(s.target_soc_frac > s.arrival_soc_frac for s in here)


def rows(site: Site, day: date, chosen: list[str]) -> Iterator[str]:
    course = course_of(site.model_copy(update={"date": day}))
    reference = {
        name: lived(with_storage(site, StorageChoice.NONE, name), course).worth_eur
        for name in (Reference.UNCONTROLLED, Reference.SMART)
    }
    first: Lived | None = None
    least = least_changes(site, course)
    for name in chosen:
        calm, price = SETTINGS[name]
        ems = site.ems.model_copy(update={"calm": calm, "ramping_price_eur_per_kw": price})
        both = with_storage(site.model_copy(update={"ems": ems}), StorageChoice.BOTH, Reference.SMART)
        found = lived(both, course)
        first = first or found
        avoided = (first.changes - found.changes) / (first.changes - least)
        lost = found.worth_eur - first.worth_eur
        shares = [lost / abs(reference[kind] - first.worth_eur) for kind in (Reference.UNCONTROLLED, Reference.SMART)]
        yield (
            f"{site.site:9} {day} {name:32} {found.changes:7} {found.changes / first.changes:6.0%} {least:6} "
            f"{avoided:7.0%} {found.reversals:5} {found.missing_kwh:7.2f} "
            f"{reference[Reference.UNCONTROLLED] - found.worth_eur:8.3f} {lost:8.4f} {shares[0]:8.2%} {shares[1]:8.2%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sites", nargs="*", default=["fit_g2v", "carpark"])
    parser.add_argument("--date", action="append", type=date.fromisoformat, help="of a day; may be repeated")
    parser.add_argument("--known", action="store_true", help="departures and forecasts are what happens")
    parser.add_argument("--setting", action="append", choices=[*SETTINGS], help="beside the first; may be repeated")
    wanted = parser.parse_args()
    chosen = ["none", *(name for name in wanted.setting or [*SETTINGS] if name != "none")]
    print(
        f"{'site':9} {'day':10} {'setting':32} {'changes':>7} {'left':>6} {'least':>6} {'avoided':>7} {'turns':>5} "
        f"{'missing':>7} {'saved €':>8} {'calm €':>8} {'of saved':>8} {'of smart':>8}"
    )
    for name in wanted.sites:
        site = load_site(name)
        for day in wanted.date or [site.date]:
            for row in rows(known(site) if wanted.known else site, day, chosen):
                print(row, flush=True)


if __name__ == "__main__":
    main()
