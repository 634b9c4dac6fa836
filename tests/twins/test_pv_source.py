"""Available PV power from the sources of a site: quarters, days of 23 and 25 hours, plausible clear skies."""

import gzip
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import TimeMode
from schemas.site import ClearSky, Irradiance, PowerProfile, Site, step_start
from services.forecast.window import Window
from tests.twins.builders import T0, Bench, at, pv, seconds, site
from twin_devices.build import build_twin
from twin_devices.physics import pv as physics
from twin_devices.pv_source import pv_power

TURIN_2018 = Path(__file__).parent / "turin_clearsky_2018.csv.gz"
"""Three days of the clear-sky column of PVGIS's typical year at 45N 8E (European Union, reuse with attribution)."""


def house() -> Site:
    return site({"pv": pv()})


def clear(**changes: float) -> ClearSky:
    return ClearSky(peak_kw=100.0, **changes)  # type: ignore[arg-type]


def test_a_profile_holds_for_a_quarter_and_is_cut_at_the_rating() -> None:
    power = pv_power(house(), PowerProfile(profile="sun"), 30.0)
    assert [power(at("08:00")), power(at("08:14:59")), power(at("08:15"))] == [25.0, 25.0, 26.0]
    assert power(at("12:00")) == 30.0
    assert power(T0) == 0.0


def test_a_clear_sky_is_that_of_the_quarters_middle() -> None:
    power = pv_power(house(), clear(), 90.0)
    middle = at("12:07") + seconds(30)
    place = physics.Place(45.0, 8.0, 0.0)
    alone = physics.ac_power_kw(
        physics.clear_sky(place, [middle]), physics.Plane(30.0, 180.0), [20.0], 100.0, 0.14, 90.0
    )
    assert power(at("12:00")) == power(at("12:14:59")) == approx(alone[0], abs=1e-9)
    assert power(at("12:00")) > 50


def test_a_day_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    days = []
    genuine = physics.clear_sky
    monkeypatch.setattr(physics, "clear_sky", lambda place, times: days.append(times[0]) or genuine(place, times))
    power = pv_power(house(), clear(), 90.0)
    for i in range(192):
        power(T0 + timedelta(minutes=15 * i))
    assert len(days) == 2


@pytest.mark.parametrize(("day", "hours"), [((2024, 3, 30, 23), 23), ((2024, 10, 26, 22), 25)])
def test_days_on_which_the_clock_changes(day: tuple[int, int, int, int], hours: int) -> None:
    power = pv_power(house(), clear(), 90.0)
    start = datetime(*day, tzinfo=UTC)
    values = [power(start + timedelta(minutes=15 * i)) for i in range(hours * 4 + 96)]
    noon = max(range(hours * 4), key=values.__getitem__)
    # Solar noon at 8° E is at 11:28 UTC less the equation of time (-4 and +16 minutes).
    assert abs(start + timedelta(minutes=15 * noon + 7.5) - start.replace(hour=11, minute=20) - timedelta(days=1)) < (
        timedelta(minutes=30)
    )
    assert values[-1] == 0.0


def test_a_clear_sky_is_near_that_of_the_typical_year() -> None:
    # Other model (PVGIS), real temperatures and no system losses there; a few percent are to be expected.
    power = pv_power(house(), ClearSky(peak_kw=1.0, system_losses_frac=0.0), 10.0)
    days: dict[str, list[float]] = {}
    ours: dict[str, list[float]] = {}
    for line in gzip.decompress(TURIN_2018.read_bytes()).decode().splitlines()[1:]:
        time, value = line.split(",")
        days.setdefault(time[:10], []).append(float(value))
        ours.setdefault(time[:10], []).append(power(datetime.fromisoformat(time)))
    assert len(days) == 3
    for day, values in days.items():
        assert sum(ours[day]) == approx(sum(values), rel=0.08)
        assert ours[day] == approx(values, abs=0.08)


def test_measured_irradiance_drives_power_with_its_temperature() -> None:
    profiles = {
        "sun": {"type": "day", "values": [0.0] * 8 + [500.0] * 8 + [0.0] * 8},
        "ghi": {"type": "day", "values": [0.0] * 8 + [500.0] * 8 + [0.0] * 8},
        "cold": {"type": "day", "values": [0.0]},
        "price": {"type": "day", "values": [0.1]},
    }
    description = site({"pv": pv()}, profiles=profiles)
    warm = pv_power(description, Irradiance(peak_kw=100.0, ghi_profile="ghi"), 90.0)
    cold = pv_power(description, Irradiance(peak_kw=100.0, ghi_profile="ghi", temp_air_profile="cold"), 90.0)
    noon = at("12:00")
    assert warm(T0) == 0.0
    # -0.4 %/K over 20 K, a little more by the inverter's curve.
    assert cold(noon) / warm(noon) == approx(1.085, abs=0.01)


def test_the_twin_follows_the_sky() -> None:
    description = site({"pv": pv(source={"type": "clearsky", "peak_kw": 100.0})})
    twin = build_twin(description, "pv")
    assert twin.birth().nameplate.type == "pv"


@pytest.mark.parametrize("source", ["power", "clearsky", "irradiance"])
@pytest.mark.parametrize(("zone", "past"), [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15), ("Europe/Rome", 0)])
def test_steps_of_pv_begin_at_those_of_the_local_day(source: str, zone: str, past: int) -> None:
    """Local midnight is at :30 or :15 of UTC; the power changes there, hour by hour, and nowhere between."""
    rising = {"type": "day", "values": [float(value) for value in range(96)]}
    where = described(rising, 3600, zone)
    sources = {
        "power": where.devices["pv"].source,
        "clearsky": ClearSky(peak_kw=10.0),
        "irradiance": Irradiance(peak_kw=50.0, ghi_profile="any"),
    }
    power = pv_power(where, sources[source], 50.0)
    begin = datetime(2024, 6, 12, 5, past, tzinfo=UTC)
    at_minute = [power(begin + timedelta(minutes=minute)) for minute in range(180)]
    changes = [minute for minute in range(1, 180) if at_minute[minute] != at_minute[minute - 1]]
    assert changes == [60, 120]


# ---- a profile's energy does not depend on the steps in which it is read

ZONES = ("Europe/Rome", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "UTC")
STEPS = (60, 300, 600, 900, 1200, 1800, 3600)


@st.composite
def profiles(draw: st.DrawFn) -> tuple[dict[str, Any], datetime, float, str]:
    """A profile over four days, the first of its middle two, its energy in them, capped at 50 kW [kWh], and a zone.

    By time: of any step that divides the day, so that its bounds need not be those of the site's steps. The days begin
    at an hour of the zone's, for the site's steps do.
    """
    zone = draw(st.sampled_from(ZONES))
    step_s = draw(st.sampled_from([60, 300, 450, 600, 900, 1200, 1800, 3600, 7200]))
    seed = draw(st.integers(0, 2**16))
    count = 4 * 86_400 // step_s
    powers = [float((seed + 7919 * place * place) % 61) for place in range(count)]
    start = datetime(2024, 3, 29, draw(st.integers(0, 23)), tzinfo=UTC)
    start = step_start(start, timedelta(hours=1), ZoneInfo(zone))
    middle = powers[count // 4 : 3 * count // 4]
    energy = sum(min(power, 50.0) for power in middle) * step_s / 3600
    profile = {"type": "time", "start": start, "step_s": step_s, "values": powers}
    return profile, start + timedelta(days=1), energy, zone


def described(profile: dict[str, Any], step_s: int, zone: str) -> Site:
    return site(
        {"pv": pv(source={"type": "power", "profile": "any"}, forecast={"type": "power", "profile": "any"})},
        profiles={"any": profile, "price": {"type": "day", "values": [0.1]}, "sun": {"type": "day", "values": [1.0]}},
        location={"latitude_deg": 45.0, "longitude_deg": 8.0, "time_zone": zone},
        time={"step_s": step_s},
    )


@settings(deadline=None, max_examples=20)
@given(profiles(), st.sampled_from(STEPS))
def test_energy_of_a_profile_is_what_the_twin_delivers_in_any_step_and_zone(
    generated: tuple[dict[str, Any], datetime, float, str], step_s: int
) -> None:
    profile, start, energy, zone = generated
    twin = build_twin(described(profile, step_s, zone), "pv")
    bench = Bench(twin, TimeMode.LOCKSTEP)
    registers = [bench.sense(time).energy_export_kwh for time in (start, start + timedelta(days=2))]
    assert registers[1] - registers[0] == approx(energy, rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(profiles(), st.sampled_from(STEPS))
def test_energy_of_a_profile_is_what_is_forecast_in_any_step_and_zone(
    generated: tuple[dict[str, Any], datetime, float, str], step_s: int
) -> None:
    profile, start, energy, zone = generated
    where = described(profile, step_s, zone)
    window = Window(start, start + timedelta(days=2), step_s, where.zone)
    powers = window.means(pv_power(where, where.devices["pv"].forecast, 50.0))
    assert math.fsum(powers) * step_s / 3600 == approx(energy, rel=1e-9)


@pytest.mark.parametrize("step_s", STEPS)
@pytest.mark.parametrize("zone", ZONES)
def test_irradiation_of_a_profile_is_what_reaches_the_modules_in_any_step_and_zone(
    step_s: int, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghi = [float((place * 37) % 800) for place in range(1440)]
    profile = {"type": "day", "values": ghi}
    where = described(profile, step_s, zone)
    seen: list[float] = []
    genuine = physics.measured_sky

    def watched(place: physics.Place, times: list[datetime], values: list[float]) -> physics.Sky:
        seen.extend(values)
        return genuine(place, times, values)

    monkeypatch.setattr(physics, "measured_sky", watched)
    pv_power(where, Irradiance(peak_kw=10.0, ghi_profile="any"), 10.0)(datetime(2024, 6, 12, 12, tzinfo=UTC))
    assert sum(seen) / len(seen) == approx(sum(ghi) / len(ghi), rel=1e-9)


def test_a_source_finer_than_the_step_is_its_mean() -> None:
    # A quarter of every hour in the shade: 30 of 40 kW, whatever the step; at half-hour steps 20 and 40.
    profile = {"type": "day", "values": [0.0, 40.0, 40.0, 40.0] * 24}
    for step_s, expected in ((900, [0.0, 40.0, 40.0, 40.0]), (1800, [20.0, 20.0, 40.0, 40.0]), (3600, [30.0] * 4)):
        where = described(profile, step_s, "UTC")
        power = pv_power(where, where.devices["pv"].source, 50.0)
        assert [power(T0 + timedelta(minutes=15 * i)) for i in range(4)] == expected


def test_a_clear_sky_in_hours_is_the_mean_of_its_quarter_hours() -> None:
    quarters, hours = (
        pv_power(described({"type": "day", "values": [0.0]}, s, "UTC"), clear(), 90.0) for s in (900, 3600)
    )
    morning = at("09:00")
    mean = sum(quarters(morning + timedelta(minutes=15 * i)) for i in range(4)) / 4
    assert hours(morning) == approx(mean, rel=1e-12)
    assert quarters(morning) != approx(mean, rel=0.01)
