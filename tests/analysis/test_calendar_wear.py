"""Calendar wear by the measured SOC: by hand, over arrivals and departures within an interval, beside the savings."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.capabilities import Group
from schemas.messages import BessTelemetry, ChargerTelemetry, DepartedVehicle, PluggedVehicle, Telemetry
from schemas.site import Bess, CalendarWear, Charger, Site
from schemas.topics import Kind
from services.analysis.calendar_wear import calendar_wear_eur
from services.analysis.day_result import sum_of
from services.analysis.result import RunResult
from services.analysis.savings_table import peaks_table
from services.history.tracks import Sample, Track
from sites.loader import load_site
from tests.analysis.test_days import days_of, lived
from tests.analysis.test_headlines import lines
from tests.ems.small_site import BESS_PLATE, T0, charger_plate, site
from twinswarm.simulation.load_result import review
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference

WEAR = CalendarWear(replacement_eur_per_kwh=100, loss_frac_per_year=((0, 0.01), (0.5, 0.02), (1, 0.04)))
EUR_PER_LOSS = 100 / 0.2 / 8760
"""An hour costs so much for each kWh of capacity, times the loss in a year."""


def described() -> Site:
    bess = Bess(capacity_kwh=1, max_charge_kw=1, max_discharge_kw=1, calendar_wear=WEAR)
    devices = {"bess": bess, "ev": Charger(max_charge_kw=22, calendar_wear=WEAR)}
    return site().model_copy(update={"devices": devices})


def track(kind: Kind, *bodies: tuple[float, Telemetry]) -> Track:
    """``bodies``: by minute."""
    samples = tuple(Sample(T0 + timedelta(minutes=minute), "b1", body) for minute, body in bodies)
    plate = BESS_PLATE if kind is Kind.BESS else charger_plate()
    return Track("bess" if kind is Kind.BESS else "ev", kind, plate, samples, lockstep=True)


def eur(found: Track, minutes: tuple[float, float]) -> float | None:
    group = Group.BATTERY if found.kind is Kind.BESS else Group.VEHICLES
    start, end = (T0 + timedelta(minutes=minute) for minute in minutes)
    return calendar_wear_eur({found.device: found}, start, end, described(), group)


def test_a_battery_at_90_percent_and_one_that_waits_at_30_and_charges_late() -> None:
    """10 hours, by hand: 40 kWh at a loss of 0.036 a year; and 8 hours at 0.016, then from 30 to 90 % in two hours, of
    which 40 minutes at a mean of 0.018 and 80 at one of 0.028."""
    full = track(Kind.BESS, *((60.0 * h, BessTelemetry(power_kw=0, soc_frac=0.9)) for h in range(11)))
    late = track(
        Kind.BESS,
        *((m, BessTelemetry(power_kw=0, soc_frac=soc)) for m, soc in ((0, 0.3), (480, 0.3), (520, 0.5), (600, 0.9))),
    )
    assert eur(full, (0, 600)) == pytest.approx(EUR_PER_LOSS * 40 * 10 * 0.036)
    assert eur(late, (0, 600)) == pytest.approx(EUR_PER_LOSS * 40 * (8 * 0.016 + 0.018 * 2 / 3 + 0.028 * 4 / 3))
    # Half of the first hour alone.
    assert eur(full, (0, 30)) == pytest.approx(EUR_PER_LOSS * 40 * 0.5 * 0.036)


def vehicle(soc: float | None, arrival: float, **more: object) -> PluggedVehicle:
    return PluggedVehicle(
        vehicle="car",
        capacity_kwh=50,
        soc_frac=soc,
        arrival=T0 + timedelta(minutes=arrival),
        **more,  # type: ignore[arg-type]
    )


def test_a_vehicle_ages_from_its_arrival_to_its_departure_within_intervals() -> None:
    """50 kWh from minute 5 (20 %) to minute 25 (60 %), with telemetry each quarter-hour: 5 to 15 from 0.2 to 0.4, 15 to
    25 from 0.4 to 0.6. Mean losses 0.016, and 0.0195 from trapezoids below and above half."""
    left = DepartedVehicle(
        vehicle="car", capacity_kwh=50, soc_frac=0.6, arrival=T0 + timedelta(minutes=5), left=T0 + timedelta(minutes=25)
    )
    found = track(
        Kind.CHARGER,
        (0, ChargerTelemetry(power_kw=0)),
        (15, ChargerTelemetry(power_kw=0, vehicle=vehicle(0.4, 5, arrival_soc_frac=0.2))),
        (30, ChargerTelemetry(power_kw=0, departed=(left,))),
        (45, ChargerTelemetry(power_kw=0)),
    )
    simpson = (0.018 + 4 * 0.020 + 0.024) / 6
    assert eur(found, (0, 45)) == pytest.approx(EUR_PER_LOSS * 50 * (10 / 60 * 0.016 + 10 / 60 * simpson))


def test_vehicles_that_follow_one_another_and_one_that_says_nothing() -> None:
    """The first leaves as announced, the second is there from its first telemetry on, the third has no SOC."""
    departs = T0 + timedelta(minutes=20)
    found = track(
        Kind.CHARGER,
        (0, ChargerTelemetry(power_kw=0, vehicle=vehicle(0.5, -60, departure=departs))),
        (15, ChargerTelemetry(power_kw=0, vehicle=vehicle(0.5, -60, departure=departs))),
        (30, ChargerTelemetry(power_kw=0, vehicle=PluggedVehicle(vehicle="other", capacity_kwh=20, soc_frac=1.0))),
        (45, ChargerTelemetry(power_kw=0, vehicle=PluggedVehicle(vehicle="other", capacity_kwh=20, soc_frac=1.0))),
        (60, ChargerTelemetry(power_kw=0)),
        (75, ChargerTelemetry(power_kw=0, vehicle=PluggedVehicle())),
        (90, ChargerTelemetry(power_kw=0, vehicle=PluggedVehicle())),
    )
    first, second = 50 * 20 / 60 * 0.02, 20 * 30 / 60 * 0.04
    assert eur(found, (0, 90)) == pytest.approx(EUR_PER_LOSS * (first + second))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A day of the default site with calendar wear of its BESS and of the vehicles at each charger."""
    plain, path = load_site("fit_g2v"), tmp_path_factory.mktemp("aged") / "h.sqlite"
    wear = CalendarWear(replacement_eur_per_kwh=120, cell="nmc")  # type: ignore[arg-type]
    devices = {
        name: device.model_copy(update={"calendar_wear": wear}) if isinstance(device, Bess | Charger) else device
        for name, device in plain.devices.items()
    }
    aged = plain.model_copy(update={"devices": devices})
    return path, lived(aged, course_of(aged), path)


def test_calendar_wear_stands_beside_the_savings_of_a_run(run: tuple[Path, str]) -> None:
    """By the quarter-hours' SOCs, and less than in the baseline, which charges its cars in the cheap hours."""
    path, name = run
    result = review(f"sqlite:{path}", name, Reference.UNCONTROLLED)
    wear = CalendarWear(replacement_eur_per_kwh=120, cell="nmc")  # type: ignore[arg-type]
    bess = load_site("fit_g2v").devices["bess"]
    assert isinstance(bess, Bess) and result.bess_calendar_wear_eur is not None
    (measured,) = [device for device in result.devices if device.device == "bess"]
    socs = [q.soc_frac["bess"] or 0.0 for q in result.quarters] + [measured.soc_end_frac or 0.0]
    rates = [bess.capacity_kwh * wear.eur_per_kwh_h(soc) for soc in socs]
    assert result.bess_calendar_wear_eur == pytest.approx((sum(rates) - (rates[0] + rates[-1]) / 2) / 4, rel=2e-3)
    assert result.vehicle_calendar_wear_eur is not None and result.reference_vehicle_calendar_wear_eur is not None
    assert 0 < result.vehicle_calendar_wear_eur < result.reference_vehicle_calendar_wear_eur
    assert result.savings_eur is not None
    after = (
        result.savings_eur
        - result.bess_calendar_wear_eur
        - result.vehicle_calendar_wear_eur
        + result.reference_vehicle_calendar_wear_eur
    )
    assert result.savings_after_wear_eur == pytest.approx(after)
    shown = lines(result)
    assert f"{after:.2f} € after all wear" in shown["Calendar wear of the BESS"][1]
    assert "; the baseline's: " in shown["Calendar wear of vehicles"][1]
    assert "Wear of the BESS" not in shown


def test_days_have_the_calendar_wear_of_the_run(run: tuple[Path, str]) -> None:
    path, name = run
    (day,) = days_of(path, name, Reference.SMART)
    whole: RunResult = review(f"sqlite:{path}", name, Reference.SMART)
    assert sum_of([day, day]).bess_calendar_wear_eur == pytest.approx(2 * (whole.bess_calendar_wear_eur or 0.0))
    more = (day.calendar_wear_eur or 0.0) - (day.reference_vehicle_calendar_wear_eur or 0.0)
    table = peaks_table([day])
    assert [str(column.header) for column in table.columns][-1] == "calen-\ndar €"
    assert [*table.columns[-1].cells][-1] == f"{more:.2f}"
    plain = peaks_table([replace(day, bess_calendar_wear_eur=None, vehicle_calendar_wear_eur=None)])
    assert "calen-\ndar €" not in [str(column.header) for column in plain.columns]
