"""PV power from measured weather: what the times of a file mean decides on which roof the sun shines."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from pytest import approx

from schemas.errors import Code, InputError
from schemas.site import IntervalLabel, Irradiance, Site
from tests.errors import raises
from tests.twins.builders import pv, site
from twin_devices.physics import plausible_weather
from twin_devices.physics import pv as physics
from twin_devices.pv_source import pv_power

BEGIN = datetime(2023, 8, 3, 22, tzinfo=UTC)
"""Midnight in Vienna; a clear day follows."""
LATITUDE, LONGITUDE, ALTITUDE = 47.1, 15.4, 360.0
PLACE = physics.Place(LATITUDE, LONGITUDE, ALTITUDE)
MINUTES = [BEGIN + timedelta(minutes=minute + 0.5) for minute in range(24 * 60)]
LABELS = tuple(IntervalLabel)
ROOFS = {"east": 90.0, "south": 180.0, "west": 270.0}
COLD = 25.0


@pytest.fixture(scope="module")
def true_kwh() -> dict[str, float]:
    """The clear day minute by minute on three roofs, by pvlib alone."""
    sky = physics.clear_sky(PLACE, MINUTES)
    return {
        roof: math.fsum(physics.ac_power_kw(sky, physics.Plane(35.0, azimuth), [COLD] * 1440, 20.0, 0.14, 20.0)) / 60
        for roof, azimuth in ROOFS.items()
    }


def measured(label: IntervalLabel, step_s: int, field: str) -> dict[str, Any]:
    """The clear day as a file of that label has it, over the day and one step to either side."""
    step = timedelta(seconds=step_s)
    count = 86_400 // step_s + 2
    first = BEGIN if label is IntervalLabel.INTERVAL_END else BEGIN - step
    if label is IntervalLabel.INSTANT:
        values = getattr(physics.clear_sky(PLACE, [first + index * step for index in range(count)]), field).to_list()
    else:
        fine = [BEGIN - step + timedelta(seconds=60 * (n + 0.5)) for n in range(count * step_s // 60)]
        series: pd.Series = getattr(physics.clear_sky(PLACE, fine), field)
        values = series.to_numpy().reshape(count, -1).mean(axis=1).tolist()
    return {"type": "time", "start": first, "step_s": step_s, "values": values, "interval_label": label.value}


def sunny(label: IntervalLabel, said: IntervalLabel, step_s: int = 3600, site_step_s: int = 900) -> Site:
    """A site whose weather is of ``label`` and said to be of ``said``."""
    profiles = {
        field: measured(label, step_s, field) | {"interval_label": said.value} for field in ("ghi", "dni", "dhi")
    }
    return site(
        {"pv": pv()},
        profiles=profiles
        | {"price": {"type": "day", "values": [0.1]}, "sun": {"type": "day", "values": [1.0]}},
        location={
            "latitude_deg": LATITUDE, "longitude_deg": LONGITUDE, "altitude_m": ALTITUDE, "time_zone": "Europe/Vienna"
        },
        time={"step_s": site_step_s},
    )  # fmt: skip


def day_kwh(where: Site, roof: str, *, split: bool = False) -> float:
    source = Irradiance(
        peak_kw=20.0, tilt_deg=35.0, azimuth_deg=ROOFS[roof], temp_air_c=COLD, ghi_profile="ghi",
        **({} if split else {"dni_profile": "dni", "dhi_profile": "dhi"}),
    )  # fmt: skip
    power, step_s = pv_power(where, source, 20.0), where.time.step_s
    starts = [BEGIN + timedelta(seconds=second) for second in range(0, 86_400, step_s)]
    return math.fsum(power(start) for start in starts) * step_s / 3600


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("roof", ROOFS)
@pytest.mark.parametrize(("step_s", "share"), [(3600, 0.015), (900, 0.002)])
def test_weather_that_says_what_it_is_gives_the_energy_of_the_day_on_every_roof(
    label: IntervalLabel, roof: str, step_s: int, share: float, true_kwh: dict[str, float]
) -> None:
    assert day_kwh(sunny(label, label, step_s), roof) == approx(true_kwh[roof], rel=share)


@pytest.mark.parametrize("label", LABELS)
def test_split_by_a_model_the_roofs_still_get_their_shares(label: IntervalLabel, true_kwh: dict[str, float]) -> None:
    where = sunny(label, label, 900)
    got = {roof: day_kwh(where, roof, split=True) / true_kwh[roof] for roof in ROOFS}
    assert got["east"] == approx(got["west"], rel=0.015)


@pytest.mark.parametrize(
    ("label", "said", "east", "west"),
    [
        (IntervalLabel.INSTANT, IntervalLabel.INTERVAL_START, -0.05, 0.05),
        (IntervalLabel.INSTANT, IntervalLabel.INTERVAL_END, 0.05, -0.05),
        (IntervalLabel.INTERVAL_START, IntervalLabel.INTERVAL_END, 0.12, -0.12),
    ],
)
def test_weather_taken_for_another_moves_energy_between_east_and_west(
    label: IntervalLabel, said: IntervalLabel, east: float, west: float, true_kwh: dict[str, float]
) -> None:
    where = sunny(label, said)
    for roof, share in (("east", east), ("west", west)):
        moved = day_kwh(where, roof) / true_kwh[roof] - 1.0
        assert math.copysign(1.0, moved) == math.copysign(1.0, share)
        assert abs(moved) > abs(share)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("roof", ["east", "west"])
def test_energy_does_not_depend_on_the_steps_of_the_site(label: IntervalLabel, roof: str) -> None:
    energies = [day_kwh(sunny(label, label, 1800, step_s), roof) for step_s in (60, 900, 1200, 3600)]
    assert energies[1:] == approx(energies[:1] * 3, rel=1e-9)


def test_an_interval_has_the_sun_of_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[IntervalLabel, list[datetime]] = {}
    genuine = physics.sky_of
    for label in LABELS:
        times = seen.setdefault(label, [])

        def watched(place: physics.Place, at: list[datetime], *values: list[float], into: Any = times) -> physics.Sky:
            into += at
            return genuine(place, at, *values)

        monkeypatch.setattr(physics, "sky_of", watched)
        day_kwh(sunny(label, label), "east")
    assert {time.minute for time in seen[IntervalLabel.INSTANT]} == {0}
    for label in (IntervalLabel.INTERVAL_START, IntervalLabel.INTERVAL_END):
        assert seen[label] == [BEGIN + timedelta(hours=hour, minutes=30) for hour in range(24)]


# ---- what cannot be


def weather(start: datetime, **values: list[float]) -> Site:
    times = {"type": "time", "start": start, "step_s": 3600, "interval_label": "instant"}
    profiles = {name: times | {"values": found} for name, found in values.items()}
    return site(
        {"pv": pv()},
        profiles=profiles | {"price": {"type": "day", "values": [0.1]}, "sun": {"type": "day", "values": [1.0]}},
        location={"latitude_deg": LATITUDE, "longitude_deg": LONGITUDE, "time_zone": "Europe/Vienna"},
    )


def test_the_beam_is_at_most_the_extraterrestrial_one_of_its_day() -> None:
    """1390 W/m² are possible near the perihelion of January (1410), and not near the aphelion of July (1320)."""
    source = Irradiance(peak_kw=20.0, ghi_profile="ghi", dni_profile="dni", dhi_profile="dhi")
    for month, refused in ((1, False), (7, True)):
        noon = datetime(2023, month, 4, 10, tzinfo=UTC)
        where = weather(noon, ghi=[300.0] * 3, dni=[900.0, 1390.0, 1390.0], dhi=[50.0] * 3)
        if refused:
            named = ("profiles.dni: row 2, 2023-07-04T13:00:00+02:00", "extraterrestrial", "1320", "received 1390")
            with raises(Code.RANGE, *named, "[and 1 more rows]"):
                pv_power(where, source, 20.0)
        else:
            pv_power(where, source, 20.0)


def test_the_extraterrestrial_irradiance_follows_the_distance_of_the_sun() -> None:
    """The solar constant 1361 to 1367 W/m², divided by the square of 0.9833 and 1.0167 astronomical units."""
    january, july = (
        plausible_weather.limits(PLACE, [datetime(2023, month, 4, 12, tzinfo=UTC)]).dni for month in (1, 7)
    )
    assert january[0] == approx(1364 / 0.9833**2, abs=6)
    assert july[0] == approx(1364 / 1.0167**2, abs=6)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"ghi": [100.0, 1900.0, 100.0]}, ("profiles.ghi: row 2, 2023-08-04T12:00:00+02:00", "received 1900")),
        ({"ghi": [100.0, -9.0, 100.0]}, ("profiles.ghi: row 2", "received -9")),
        (
            {"ghi": [150.0] * 14},
            ("profiles.ghi: row 11, 2023-08-04T21:00:00+02:00", "between -4 and 100", "3 more rows"),
        ),
        (
            {"ghi": [100.0] * 3, "dni": [10.0] * 3, "dhi": [10.0, 10.0, 1400.0]},
            ("profiles.dhi: row 3", "received 1400"),
        ),
        ({"ghi": [100.0] * 3, "air": [291.2] * 3}, ("profiles.air: row 1", "air temperature", "291.2", "2 more rows")),
    ],
)
def test_values_that_cannot_be_are_refused_with_row_and_value(
    values: dict[str, list[float]], named: tuple[str, ...]
) -> None:
    given = {f"{name}_profile": name for name in ("ghi", "dni", "dhi") if name in values}
    source = Irradiance(peak_kw=20.0, temp_air_profile="air" if "air" in values else None, **given)
    with raises(Code.RANGE, *named):
        pv_power(weather(datetime(2023, 8, 4, 9, tzinfo=UTC), **values), source, 20.0)


def test_the_model_of_beam_and_diffuse_gives_no_beam_beyond_the_extraterrestrial_one() -> None:
    """Bright light at a low sun, as at a cloud's edge: 1.3 times what reaches the atmosphere."""
    times = [datetime(2023, 8, 4, 4, minute, tzinfo=UTC) for minute in range(40, 60)]
    clear = physics.clear_sky(PLACE, times)
    cosine = pd.Series([math.cos(math.radians(zenith)) for zenith in clear.solar_zenith_deg], index=clear.ghi.index)
    bright = (1.3 * clear.dni_extra * cosine).to_list()
    sky = physics.measured_sky(PLACE, times, bright)
    assert (sky.dni <= sky.dni_extra).all()
    assert (sky.dni > 0.99 * sky.dni_extra).any(), "the bound is reached"
    assert (sky.dhi >= 0).all()


def test_a_night_in_the_zero_of_a_pyranometer_is_no_power() -> None:
    where = weather(datetime(2023, 8, 3, 21, tzinfo=UTC), ghi=[-2.5] * 5)
    power = pv_power(where, Irradiance(peak_kw=20.0, ghi_profile="ghi"), 20.0)
    assert power(datetime(2023, 8, 3, 23, tzinfo=UTC)) == 0.0


def test_instants_are_for_weather_alone() -> None:
    profiles = {
        "any": {"type": "time", "start": BEGIN, "step_s": 3600, "values": [1.0] * 24, "interval_label": "instant"},
        "price": {"type": "day", "values": [0.1]},
    }
    with pytest.raises((InputError, ValueError), match=r"devices\.pv\.source\.profile: .*of instants"):
        site({"pv": pv(source={"type": "power", "profile": "any"}, forecast={"type": "clearsky", "peak_kw": 1.0})},
             profiles=profiles)  # fmt: skip
