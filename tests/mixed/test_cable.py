"""A cable pulled on each device in turn: what device and EMS do, and that no energy is lost.

The door between the site and the hardware is shut: connections are reset, and nobody is let in. Each is shut for half
an hour of the run, over the beginning of a quarter-hour, while the device has something to do.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from schemas.messages import Alarm, Plan
from services.drivers.participant import SILENT
from services.history.sqlite import SqliteHistory
from services.history.tracks import Track
from tests.mixed.account import account
from tests.mixed.lab import AGE_S, BY_PROTOCOL, DAY, PV_KW, ZONE, Lab, of_twins, running, time_of
from tests.parts import skip_without

SPEED = 60.0
BEGIN, HOURS = "07:30", 4.75
REVERT_S, TELEMETRY_S = 10, 60.0
PULLED = {
    "bess": ("08:05", "08:35"),
    "ev1": ("09:05", "09:35"),
    "building": ("10:05", "10:35"),
    "pv": ("10:50", "11:20"),
}
ENDED_S = 16.0
"""Of the machine: by then the hardware's time-out is over, and the set-point of the quarter-hour, with its grace."""
AGAIN_S = 20.0
"""Of the machine: to be connected again (10 s at most), to be heard, and to be in a plan."""
SAFE_KW = 4.14
"""6 A on three phases of 230 V."""
COUNTED_KWH = 0.8
"""What may be on its way when the run ends."""


def at(local: str) -> datetime:
    return datetime.combine(DAY, time_of(local), ZONE)


def after(local: str, machine_s: float) -> datetime:
    return at(local) + timedelta(seconds=machine_s * SPEED)


@dataclass(frozen=True)
class Recorded:
    """A run's history."""

    alarms: list[tuple[datetime, Alarm]]
    plans: list[tuple[datetime, Plan]]
    tracks: dict[str, Track]

    def silences(self, device: str) -> list[tuple[datetime, bool]]:
        return [(ts, each.active) for ts, each in self.alarms if (each.code, each.device) == (SILENT, device)]

    def powers(self, device: str, begin: datetime, end: datetime) -> list[float]:
        return [each.body.power_kw for each in self.tracks[device].samples if begin <= each.ts <= end]


@contextmanager
def recorded(lab: Lab, name: str) -> Iterator[Recorded]:
    with closing(SqliteHistory(lab.folder / f"{name}.sqlite")) as history:
        run = history.latest().run
        yield Recorded(
            [(got.stamp.ts, body) for got, body in history.alarms(run)],
            [(got.stamp.ts, body) for got, body in history.plans(run)],
            history.tracks(run),
        )


@pytest.mark.long
@pytest.mark.timeout(900)
def test_each_cable_is_pulled_for_half_an_hour_and_the_site_goes_on(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(tmp_path, speed=SPEED, begin=BEGIN, hours=HOURS, revert_s=REVERT_S, telemetry_s=TELEMETRY_S) as lab:
        twins = of_twins(lab)
        for device, (pulled, plugged) in PULLED.items():
            lab.wait_for(pulled)
            lab.sites.ways[device].cut()
            lab.wait_for(plugged)
            lab.sites.ways[device].restore()
        mixed = lab.wait("mixed", 3600 * HOURS / SPEED + 120)
        hardware = lab.wait("hardware", 120)
    found = account(twins, mixed, hardware, SPEED)
    print(f"\n{found}\nalarms {mixed['alarms_by_code']}")
    with recorded(lab, "mixed") as site, recorded(lab, "hardware") as plant:
        for device in PULLED:
            report(device, site, plant)
        for device in PULLED:
            check(device, site, plant)
    for device, kwh in found.lost_kwh.items():
        assert abs(kwh) < COUNTED_KWH, f"{device}: its registers are read on"
    assert mixed["complete"]


def report(device: str, site: Recorded, plant: Recorded) -> None:
    pulled, plugged = map(at, PULLED[device])
    print(f"\n{device}, {BY_PROTOCOL[device]}, pulled {PULLED[device][0]} to {PULLED[device][1]}")
    for ts, alarm in site.alarms:
        if alarm.device == device and pulled <= ts <= plugged + timedelta(minutes=40):
            print(f"  {ts.astimezone(ZONE):%H:%M:%S} {alarm.code} {'begins' if alarm.active else 'ends'}: {alarm.text}")
    for ts, plan in site.plans:
        if pulled - timedelta(minutes=15) <= ts <= plugged + timedelta(minutes=30):
            known = (plan.knowledge or {}).get(device)
            planned = plan.devices.get(device)
            power = None if planned is None else planned.power_kw
            why = None if known is None else known.why_not
            print(f"  {ts.astimezone(ZONE):%H:%M:%S} plan {plan.status}: {power and round(power[0], 2)} kW; {why}")
    minutes = range(-5, 46, 5)
    for minute in minutes:
        begin = pulled + timedelta(minutes=minute)
        powers = [each.powers(device, begin, begin + timedelta(seconds=61)) for each in (plant, site)]
        shown = ["none" if not each else f"{each[0]:.2f}" for each in powers]
        print(f"  {begin.astimezone(ZONE):%H:%M} hardware {shown[0]} kW, site {shown[1]} kW")


def check(device: str, site: Recorded, plant: Recorded) -> None:
    pulled, plugged = PULLED[device]
    silences = [each for each in site.silences(device) if each[0] >= at(pulled)]
    assert [active for _, active in silences] == [True] * (len(silences) - 1) + [False], "said again for another reason"
    assert silences[0][0] <= after(pulled, AGE_S[device] + 5.0), "it is said that the device is silent"
    assert at(plugged) <= silences[-1][0] <= after(plugged, AGAIN_S), "and that it is heard again"
    meanwhile = [plan for ts, plan in site.plans if after(pulled, AGE_S[device] + 10.0) <= ts < at(plugged)]
    assert meanwhile, "the EMS has planned"
    for plan in meanwhile:
        known = (plan.knowledge or {})[device]
        assert not known.in_plan
        assert known.why_not
    later = [plan for ts, plan in site.plans if ts >= after(plugged, AGAIN_S + 15.0)]
    assert later
    assert (later[0].knowledge or {})[device].in_plan, "it is planned with again"
    unplugged_kw = plant.powers(device, after(pulled, ENDED_S), at(plugged))
    assert unplugged_kw
    if device == "bess":
        held = plant.powers(device, at(pulled), after(pulled, 1.0))
        assert held and min(held) < -1.0, "it went on as it was asked"
        assert set(unplugged_kw) == {0.0}, "after its own time-out it rested"
    if device == "ev1":
        assert unplugged_kw == [pytest.approx(SAFE_KW)] * len(unplugged_kw), "its own default, after the set-point"
    if device == "pv":
        assert unplugged_kw == [pytest.approx(-PV_KW)] * len(unplugged_kw), "it produced on"
