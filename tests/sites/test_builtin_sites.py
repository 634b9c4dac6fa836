"""The sites in the box: complete, as the study's tables say, and equal after a trip through JSON."""

import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import InputError
from schemas.site import Bess, Charger, DayProfile, Irradiance, Meter, PowerProfile, Pv, Site, TimeProfile
from sites.loader import builtin_sites, load_description, load_site
from sites.loader.template import write_template

ROOT = Path(__file__).parents[2]


def test_six_sites_are_in_the_box() -> None:
    assert builtin_sites() == ("carpark", "carpark_year", "fit_g2v", "fit_none", "fit_uncontrolled", "heatpump")


@pytest.mark.parametrize("name", builtin_sites())
def test_site_survives_json_to_the_last_bit_and_is_read_back_from_it(name: str, tmp_path: Path) -> None:
    site = load_site(name)
    file = tmp_path / "site.json"
    file.write_text(site.model_dump_json(), encoding="utf-8")
    assert load_site(file) == site == Site.model_validate_json(site.model_dump_json())


@pytest.mark.parametrize("name", builtin_sites())
def test_names_work_from_any_directory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_site(name).site == name.replace("_", "-")


# From the parameters of the fits: cars, their summed kWh and kW, arrival SOC, SOC bounds, efficiency; BESS power,
# efficiency, SOC bounds and initial SOC; PV peak.
FITS = {
    "fit_g2v": (
        (4, 222.0, 90.0, 0.705, 0.561, 0.801, 0.902),
        (17.5, 0.945, 0.102, 0.896, 0.443),
        99.3,
    ),
    "fit_none": (
        (2, 127.36, 26.8, 0.671, 0.41, 0.767, 0.896),
        (28.77, 0.907, 0.095, 0.946, 0.414),
        91.5,
    ),
    "fit_uncontrolled": (
        (1, 56.48, 26.69, 0.435, 0.194, 0.86, 0.881),
        (30.84, 0.947, 0.08, 0.937, 0.393),
        85.0,
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_fitted_sites_carry_the_fits_numbers_in_full(name: str) -> None:
    (cars, kwh, kw, soc, soc_min, soc_max, eta), (bess_kw, bess_eta, low, high, initial), peak = FITS[name]
    site = load_site(name)
    chargers = [d for d in site.devices.values() if isinstance(d, Charger)]
    vehicles = [d.daily[0] for d in chargers]
    assert len(chargers) == cars
    assert math.fsum(v.capacity_kwh for v in vehicles) == pytest.approx(kwh, rel=1e-15)
    assert math.fsum(d.max_charge_kw for d in chargers) == pytest.approx(kw, rel=1e-15)
    for charger, vehicle in zip(chargers, vehicles, strict=True):
        assert charger.max_discharge_kw == charger.max_charge_kw
        assert (charger.charge_efficiency, charger.discharge_efficiency, charger.dead_time_s) == (eta, eta, 30)
        assert (charger.min_power_kw, charger.taper, charger.ramp_kw_per_s) == (0, None, None)
        assert vehicle.arrival_soc_frac == soc
        assert vehicle.target_soc_frac == pytest.approx(1.1 * soc, rel=1e-15)
        assert vehicle.soc_min_frac == pytest.approx(soc_min, rel=1e-15)
        assert vehicle.soc_max_frac == soc_max
        assert (vehicle.arrival.hour, vehicle.departure.hour, len(vehicle.weekdays)) == (9, 18, 7)
    bess = site.devices["bess"]
    assert isinstance(bess, Bess)
    assert (bess.capacity_kwh, bess.max_charge_kw, bess.max_discharge_kw) == (40, bess_kw, bess_kw)
    assert (bess.charge_efficiency, bess.discharge_efficiency) == (bess_eta, bess_eta)
    assert (bess.soc_min_frac, bess.soc_max_frac, bess.initial_soc_frac) == (low, high, initial)
    pv = site.devices["pv"]
    assert isinstance(pv, Pv)
    clear = site.profiles["pv_clear"]
    assert pv.rated_kw == peak == max(clear.values)
    assert site.connection.import_limit_kw == site.connection.export_limit_kw == 500
    assert site.ems.bess_terminal_soc_frac == 0.85


@pytest.mark.parametrize("name", FITS)
def test_fitted_sites_have_a_day_of_24_hours_as_their_date(name: str) -> None:
    site = load_site(name)
    midnight = datetime(site.date.year, site.date.month, site.date.day, tzinfo=site.zone).astimezone(UTC)
    after = datetime(site.date.year, site.date.month, site.date.day + 1, tzinfo=site.zone).astimezone(UTC)
    assert after - midnight == timedelta(days=1)


@pytest.mark.parametrize("name", FITS)
def test_cases_are_those_of_the_studys_table_ii(name: str) -> None:
    site = load_description(name)
    # Table II of the study: price, spread [€/kWh], cloud.
    table = {
        "1": ("italian", 0.10, True),
        "2": ("italian", 0.20, True),
        "3": ("volatile", 0.06, True),
        "4": ("volatile", 0.10, True),
        "5": ("italian", 0.10, False),
        "6": ("italian", 0.20, False),
    }
    assert {
        label: (case.tariff.sale.removeprefix("price_"), case.tariff.spread_eur_per_kwh, bool(case.pv))
        for label, case in site.cases.items()
    } == table
    assert site.tariff == site.cases["6"].tariff
    assert site.under("6") == load_site(name) == load_site(name, "6"), "without a case it is the site of case 6"
    assert "cases" not in json.loads(load_site(name).model_dump_json()), "a service knows no cases"
    assert all(case.pv in ({}, {"pv": PowerProfile(profile="pv_cloud")}) for case in site.cases.values())
    assert all(isinstance(p, DayProfile) and len(p.values) == 96 for p in site.profiles.values())


def test_car_park_has_twelve_chargers_that_differ() -> None:
    site = load_site("carpark")
    chargers = {name: d for name, d in site.devices.items() if isinstance(d, Charger)}
    assert len(chargers) == 12
    assert len({d.model_copy(update={"sessions": (), "node": None}) for d in chargers.values()}) >= 10
    assert sum(d.max_discharge_kw > 0 for d in chargers.values()) == 4
    assert {(d.current, d.phases) for d in chargers.values()} == {("dc", 3), ("ac", 3), ("ac", 1)}
    assert {d.min_power_kw for d in chargers.values()} >= {0.0, 1.38, 4.14}
    assert len({d.node for d in chargers.values()}) == 12
    assert len(site.network.cables) == 19


def test_car_park_sessions_ask_for_the_energy_that_was_really_delivered() -> None:
    site = load_site("carpark")
    kwh = 0.0
    for device in site.devices.values():
        if isinstance(device, Charger):
            for stay in device.sessions:
                wanted = (stay.target_soc_frac - stay.arrival_soc_frac) * stay.capacity_kwh / device.charge_efficiency
                most = min(device.max_charge_kw, stay.max_charge_kw or math.inf)
                assert wanted <= most * (stay.departure - stay.arrival).total_seconds() / 3600
                kwh += wanted
    # Sum of delivered_kwh over the 210 sessions of the two weeks with at least 1 kWh and 30 minutes.
    assert kwh == pytest.approx(2452.927, abs=0.01)


def test_car_park_profiles_cover_its_two_weeks_and_three_days_more() -> None:
    site = load_site("carpark")
    for profile in site.profiles.values():
        assert isinstance(profile, TimeProfile)
        assert (profile.start, profile.step_s) == (datetime(2018, 5, 13, 22, tzinfo=UTC), 900)
        assert profile.end == datetime(2018, 5, 30, 22, tzinfo=UTC)
    pv = site.devices["pv"]
    assert isinstance(pv, Pv)
    assert isinstance(pv.source, Irradiance)
    office = site.devices["office"]
    assert isinstance(office, Meter)
    week = 7 * 96
    assert site.profiles["load_week_before"].values[week:] == site.profiles["load"].values[:-week]


def test_template_is_written_and_loads_as_it_is(tmp_path: Path) -> None:
    paths = write_template(tmp_path / "new" / "site")
    assert [path.name for path in paths] == ["profiles.csv", "site.yaml"]
    site = load_site(tmp_path / "new" / "site")
    assert {device.kind for device in site.devices.values()} == {"charger", "bess", "pv", "meter"}


def test_template_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"site\.yaml: is there already"):
        write_template(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["site.yaml"]
    assert (tmp_path / "site.yaml").read_text(encoding="utf-8") == "mine"


def test_template_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        write_template(tmp_path / "file" / "site")


def test_every_data_file_has_its_source_and_licence_named() -> None:
    text = (ROOT / "sites" / "data" / "DATA.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "sites" / "data").glob("*/*.csv*")):
        assert f"`{os.path.relpath(path, ROOT / 'sites' / 'data')}`" in text
