"""`twinswarm import` with a site: the table, its provenance and picture, and site.yaml."""

import json
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from schemas.errors import Code, InputError
from schemas.site import TimeProfile
from sites.loader import load_site
from sites.loader.template import write_template
from tests.imports.written import days, table
from twinswarm.cli.app import app
from twinswarm.imports.into_site import change_site
from twinswarm.imports.target import target_of

ROME = ZoneInfo("Europe/Rome")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write_template(tmp_path / "mysite")
    return tmp_path / "mysite"


def meter(folder: Path) -> Path:
    powers = days(date(2024, 10, 24), 7, 15, ROME, [4.0, 8.0, 6.0])
    rows = [[f"{t.astimezone(ROME):%d.%m.%Y %H:%M}", f"{p:g}"] for t, p in zip(powers.times, powers.kw, strict=True)]
    file = folder / "meter.csv"
    file.write_text(table("Zeit;kW", rows), encoding="utf-8")
    return file


def call(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(found.exception, InputError):
        raise found.exception
    return found.exit_code, found.output


def test_the_site_runs_on_what_was_imported(site: Path, tmp_path: Path) -> None:
    before = (site / "site.yaml").read_text(encoding="utf-8").splitlines()
    code, text = call("import", "load", meter(tmp_path), "--site", site)
    assert code == 0
    for line in ("the unit is kW", "times are local ones of Europe/Rome", "date: 2024-10-24, the first whole day"):
        assert line in text
    found = load_site(site)
    assert found.date == date(2024, 10, 24)
    profile = found.profiles["load"]
    assert isinstance(profile, TimeProfile)
    assert (len(profile.values), profile.step_s, profile.values[:3]) == (676, 900, (4.0, 8.0, 6.0))
    after = (site / "site.yaml").read_text(encoding="utf-8").splitlines()
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 2
    kept = json.loads((site / "load.import.json").read_text(encoding="utf-8"))
    assert kept["sources"][0]["file"] == "meter.csv"
    assert kept["statistics"]["load"]["energy_kwh"] == pytest.approx(sum(profile.values) / 4)
    assert any("--time-zone" in line for line in kept["assumed"])
    assert (site / "load.png").read_bytes().startswith(b"\x89PNG")


def intensity(folder: Path, head: str, values: list[float]) -> Path:
    hours = days(date(2024, 10, 24), 2, 60, ROME, values)
    rows = [[f"{t.astimezone(ROME):%d.%m.%Y %H:%M}", f"{p:g}"] for t, p in zip(hours.times, hours.kw, strict=True)]
    file = folder / "co2.csv"
    file.write_text(table(head, rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("head", "factor"), [("Zeit;gCO2eq/kWh", 1.0), ("Zeit;intensity [kg/MWh]", 1.0), ("Zeit;t CO2/MWh", 1000.0)]
)
def test_emissions_of_the_grid_become_the_connections_profile(
    site: Path, tmp_path: Path, head: str, factor: float
) -> None:
    code, text = call("import", "co2", intensity(tmp_path, head, [300.0 / factor, 450.0 / factor]), "--site", site)
    assert code == 0 and "connection.co2_profile: co2" in text
    found = load_site(site)
    assert found.connection.co2_profile == "co2"
    assert found.profiles["co2"].values[:2] == pytest.approx((300.0, 450.0))
    assert "co2_g_per_kwh" in (site / "co2.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("head", "value", "named"),
    [
        ("Zeit;g/kWh", 5000.0, "0 to 3000 are taken"),
        ("Zeit;g/kWh", -1.0, "0 to 3000 are taken"),
        ("Zeit;g/kWh", 0.3, "another --unit?"),
        ("Zeit;value", 300.0, "say --unit: g/kWh, kg/kWh, kg/MWh, t/MWh"),
    ],
)
def test_emissions_that_no_grid_has_or_without_a_unit_are_refused(
    site: Path, tmp_path: Path, head: str, value: float, named: str
) -> None:
    with pytest.raises(InputError) as caught:
        call("import", "co2", intensity(tmp_path, head, [value, 0.2]), "--site", site)
    assert named in str(caught.value)
    assert load_site(site).connection.co2_profile is None


def test_an_import_may_be_repeated(site: Path, tmp_path: Path) -> None:
    for step_s in (1800, 3600):
        assert call("import", "load", meter(tmp_path), "--site", site, "--step", f"{step_s // 60}min")[0] == 0
        profile = load_site(site).profiles["load"]
        assert profile.step_s == step_s


def test_a_table_of_ones_own_is_not_overwritten(site: Path, tmp_path: Path) -> None:
    (site / "load.csv").write_text("mine\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        call("import", "load", meter(tmp_path), "--site", site)
    assert caught.value.code is Code.EXISTS
    assert (site / "load.csv").read_text(encoding="utf-8") == "mine\n"


def test_a_change_that_makes_the_site_wrong_leaves_it_as_it_was(site: Path) -> None:
    file = site / "site.yaml"
    before = file.read_bytes()
    with pytest.raises(InputError) as caught:
        change_site(file, [(("profiles", "load"), {"type": "time", "file": "gone.csv", "column": "kw"})])
    assert "site.yaml" in str(caught.value) or "gone.csv" in str(caught.value)
    assert "trial" not in str(caught.value)
    assert file.read_bytes() == before
    assert sorted(path.name for path in site.iterdir()) == ["profiles.csv", "site.yaml"]


def test_without_a_site_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = meter(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, text = call("import", "load", file, "--time-zone", "Europe/Rome")
    assert code == 0
    assert "Nothing is written" in text
    assert list((tmp_path / "here").iterdir()) == []


def test_what_covers_no_day_of_a_run_says_so(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "morning.csv"
    file.write_text("time;kW\n2024-06-06 08:00;1\n2024-06-06 09:00;2\n2024-06-06 10:00;2\n", encoding="utf-8")
    code, text = call("import", "load", file, "--site", site)
    assert code == 0 and "the import covers no whole local day" in text


@pytest.mark.parametrize(("step", "named"), [("0s", "1 s to a day"), ("abc", "15min"), ("2d", "1 s to a day")])
def test_a_step_that_none_is_is_named_by_its_option(tmp_path: Path, step: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        call("import", "load", meter(tmp_path), "--time-zone", "Europe/Rome", "--step", step)
    assert str(caught.value).startswith("--step: ") and named in str(caught.value)


def test_json_is_for_programs(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    call("import", "load", meter(tmp_path), "--time-zone", "Europe/Rome", "--json", out)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["statistics"]["load"]["values"] == 676
    assert found["repaired"] == []


@pytest.mark.parametrize(
    ("site", "out", "name", "code"),
    [
        ("carpark", None, "load", Code.INVALID),
        ("x", Path("y"), "load", Code.CONFLICT),
        (None, None, "My Load", Code.FORMAT),
    ],
)
def test_targets_that_are_refused(site: str | None, out: Path | None, name: str, code: Code) -> None:
    with pytest.raises(InputError) as caught:
        target_of(site, out, name)
    assert caught.value.code is code
