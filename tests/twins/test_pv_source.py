"""Available PV power from the sources of a site: quarters, days of 23 and 25 hours, plausible clear skies."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest import approx

from schemas.site import ClearSky, Irradiance, PowerProfile, Site
from tests.twins.builders import T0, at, pv, seconds, site
from twin_devices.build import build_twin
from twin_devices.physics import pv as physics
from twin_devices.pv_source import pv_power, quarter_start

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


def test_quarters_begin_at_multiples_of_the_step() -> None:
    assert quarter_start(at("08:14:59"), 900) == at("08:00")
    assert quarter_start(at("08:15"), 900) == at("08:15")
    assert quarter_start(at("08:59:59"), 3600) == at("08:00")
