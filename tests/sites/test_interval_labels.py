"""Weather in the files of a site says what its times are."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import Code
from schemas.site import TimeProfile
from sites.loader import load_site
from sites.loader.template import write_template
from tests.cli.calling import call
from tests.errors import raises
from twinswarm.api import run_day

LABEL = "interval_label: interval_start"
FIRST = datetime(2024, 5, 15, tzinfo=UTC)


def site(folder: Path, ghi: str = LABEL, more: str = "", air: str = LABEL, step_h: int = 1) -> Path:
    write_template(folder)
    times = [FIRST + timedelta(hours=hour) for hour in range(0, 96, step_h)]
    rows = "".join(f"{t:%Y-%m-%dT%H:%M}Z,{(30 if 5 < t.hour < 17 else 0)},10,20,18.5\n" for t in times)
    (folder / "sky.csv").write_text(f"time,ghi,dni,dhi,air\n{rows}")
    file = folder / "site.yaml"
    text = file.read_text(encoding="utf-8")
    source = "{type: clearsky, peak_kw: 60, tilt_deg: 20, azimuth_deg: 180}"
    weather = f"{{type: irradiance, peak_kw: 60, ghi_profile: ghi, temp_air_profile: air{more}}}"
    assert text.count(source) == 2
    parts = {"ghi": ghi, "dni": LABEL, "dhi": ghi, "air": air}
    profiles = "".join(
        f"  {name}: {{type: time, file: sky.csv, column: {name}{f', {said}' if said else ''}}}\n"
        for name, said in parts.items()
    )
    file.write_text(
        text.replace(source, weather).replace("\nprofiles:\n", f"\nprofiles:\n{profiles}"), encoding="utf-8"
    )
    return file


@pytest.mark.parametrize("command", [("check",), ("run", "--site"), ("plan", "--site"), ("site", "resolve")])
def test_weather_that_does_not_say_it_is_an_error_that_names_the_three_choices(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = call(*command, str(site(tmp_path, ghi="")), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("[missing]") == 1, "source and forecast share the profile"
    assert "site.yaml: line " in done.stderr
    assert "profiles.ghi: is weather, and does not say what its times are; say interval_label: instant" in done.stderr
    for choice in ("interval_start", "interval_end"):
        assert choice in done.stderr


def test_a_word_that_is_none_of_the_three_is_refused(tmp_path: Path) -> None:
    with raises(Code.INVALID, "profiles.ghi.interval_label", "'instant', 'interval_start' or 'interval_end'", "'left'"):
        load_site(site(tmp_path, ghi="interval_label: left"))


@pytest.mark.parametrize(
    ("said", "shift_h", "begin_h", "end_h"),
    [
        ("interval_label: interval_start", 0.0, 0.0, 96.0),
        ("interval_label: interval_end", 0.0, -1.0, 95.0),
        ("interval_label: instant", 0.0, -1.0, 96.0),
        ("interval_label: instant, time_offset_s: 540", 0.15, -0.85, 96.15),
    ],
)
def test_a_label_says_from_when_until_when_values_are_known(
    said: str, shift_h: float, begin_h: float, end_h: float, tmp_path: Path
) -> None:
    profile = load_site(site(tmp_path, ghi=said, air=said)).profiles["ghi"]
    assert isinstance(profile, TimeProfile)
    assert profile.start == FIRST + timedelta(hours=shift_h)
    assert (profile.begin, profile.end) == (FIRST + timedelta(hours=begin_h), FIRST + timedelta(hours=end_h))


def test_an_interval_by_its_end_holds_before_its_label(tmp_path: Path) -> None:
    late = load_site(site(tmp_path / "late", ghi="interval_label: interval_end"))
    sunrise = FIRST + timedelta(hours=6)
    ghi, zone = late.profiles["ghi"], late.zone
    assert (ghi.at(sunrise - timedelta(minutes=1), zone), ghi.at(sunrise - timedelta(minutes=61), zone)) == (30.0, 0.0)
    assert ghi.next_change(sunrise - timedelta(minutes=1), zone) == sunrise


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"more": ", dni_profile: dni"}, Code.CONFLICT, ("dni_profile and dhi_profile belong together",)),
        (
            {"more": ", dni_profile: dni, dhi_profile: dhi", "ghi": "interval_label: interval_end"},
            Code.CONFLICT,
            ("devices.pv.source.dni_profile", "are not those of the ghi_profile"),
        ),
        ({"step_h": 3}, Code.RANGE, ("devices.pv.source.ghi_profile", "steps of 10800 s", "an hour at most")),
    ],
)
def test_weather_at_odds_with_itself_is_refused(
    changes: dict[str, str], code: Code, named: tuple[str, ...], tmp_path: Path
) -> None:
    with raises(code, *named):
        load_site(site(tmp_path, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [("check",), ("run", "--no-report", "--site"), ("plan", "--site")])
def test_impossible_weather_ends_every_command(command: tuple[str, ...], tmp_path: Path) -> None:
    file = site(tmp_path)
    table = tmp_path / "sky.csv"
    table.write_text(table.read_text().replace("2024-05-16T12:00Z,30,", "2024-05-16T12:00Z,3000,"))
    done = call(*command, str(file), cwd=tmp_path)
    assert done.returncode == 2
    assert "profiles.ghi: row 37, 2024-05-16T14:00:00+02:00 (sky.csv, column ghi)" in done.stderr
    assert "(received 3000) [range]" in done.stderr


@pytest.mark.parametrize("said", ["instant", "interval_start", "interval_end"])
def test_hours_run_from_weather_of_each_kind(said: str, tmp_path: Path) -> None:
    label = f"interval_label: {said}"
    day = run_day(load_site(site(tmp_path, ghi=label, air=label)), begin="09:00", length="2h")
    produced = {device.device: device.export_kwh for device in day.devices}["pv"]
    assert produced is not None
    assert produced > 0
