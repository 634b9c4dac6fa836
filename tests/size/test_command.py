"""`twinswarm size`: designs, their order, what is refused."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Code
from schemas.site import Bess, Charger, Pv, Site
from sites.loader import load_site
from tests.errors import raises
from tests.twins import builders
from tests.year.test_command import SITE, ends_with, written
from twinswarm.simulation.variants import Reference
from twinswarm.size.design import Design, base_of, designs, investment_eur, site_of
from twinswarm.size.sweep import yearly
from twinswarm.study.day import live_through
from twinswarm.year.order import order_over

ECONOMICS = {
    "lifetime_years": 10,
    "discount_rate_frac": 0.05,
    "bess_eur_per_kwh": 10,
    "bess_eur_per_kw": 1,
    "bess_eur": 50,
    "v2g_charger_eur": 3000,
    "smart_charger_eur": 400,
    "connection_eur_per_kw": 100,
}


def office() -> Site:
    devices = {
        **{f"ev{n}": builders.charger(sessions=[builders.stay(vehicle=f"car{n}")]) for n in (1, 2)},
        "wallbox": builders.charger(max_discharge_kw=0.0, sessions=[]),
        "pv": builders.pv(),
        "load": {"kind": "meter", "profile": "base"},
    }
    return builders.site(devices, economics=ECONOMICS)


def test_a_design_changes_what_it_says_and_nothing_else() -> None:
    site = office()
    made = site_of(site, Design(30.0, 10.0, 1, 1, 100.0, 600.0))
    bess, first, second = made.devices["bess"], made.devices["ev1"], made.devices["ev2"]
    assert isinstance(bess, Bess) and (bess.capacity_kwh, bess.max_charge_kw) == (30.0, 10.0)
    assert isinstance(first, Charger) and isinstance(second, Charger)
    assert (first.max_discharge_kw, second.max_discharge_kw, second.controllable) == (20.0, 0.0, True)
    wallbox, roof = made.devices["wallbox"], made.devices["pv"]
    assert isinstance(wallbox, Charger) and not wallbox.controllable
    assert isinstance(roof, Pv) and roof.rated_kw == 100.0
    profile = roof.source.profiles_used[0][1]  # type: ignore[union-attr]
    assert max(made.profiles[profile].values) == 2 * max(site.profiles["sun"].values)
    assert made.connection.import_limit_kw == 600.0
    assert Site.model_validate_json(made.model_dump_json()) == made, "it is a valid site"
    assert [name for name in site_of(site, base_of(site)).devices if name == "bess"] == []


def test_smart_chargers_in_the_place_of_v2g_ones_are_at_the_same_points() -> None:
    """A one-way point stands first in the site: it is equipped last."""
    site = office()
    names = ("wallbox", "ev1", "ev2", "pv", "load")
    site = site.model_copy(update={"devices": {name: site.devices[name] for name in names}})

    def controlled(v2g: int, smart: int) -> list[str]:
        made = site_of(site, replace(base_of(site), v2g=v2g, smart=smart)).devices.items()
        return [name for name, device in made if isinstance(device, Charger) and device.controllable]

    assert controlled(1, 0) == controlled(0, 1) == ["ev1"]
    assert controlled(1, 1) == controlled(2, 0) == controlled(0, 2) == ["ev1", "ev2"]
    assert controlled(2, 1) == controlled(0, 3) == ["wallbox", "ev1", "ev2"]


def test_what_one_month_has_paid_already_is_not_so_in_every_year() -> None:
    paid = {"month": "2024-05", "import_kw": 20}
    tariff = {"sale": "price", "spread_eur_per_kwh": 0.1, "demand_charge_eur_per_kw": 8, "month_peak": paid}
    site = builders.site({"load": {"kind": "meter", "profile": "base"}}, tariff=tariff, economics=ECONOMICS)
    assert site.tariff.month_peak is not None
    assert site_of(site, base_of(site)).tariff.month_peak is None


def test_an_investment_is_what_its_parts_cost() -> None:
    """50 + 30 · 10 + 10 · 1, one V2G charger, one smart one, 100 kW of connection at 100."""
    site = office()
    assert site.economics is not None
    design = Design(30.0, 10.0, 1, 1, 50.0, 600.0)
    assert investment_eur(site, design, site.economics) == 50 + 300 + 10 + 3000 + 400 + 10_000
    assert investment_eur(site, base_of(site), site.economics) == 0
    with raises(Code.MISSING, "economics.pv_eur_per_kw"):
        investment_eur(site, Design(0, 0, 0, 0, 60.0, 500.0), site.economics)


def test_a_design_beyond_what_a_site_may_have_is_refused() -> None:
    with raises(Code.RANGE, "the largest design: devices.pv.pv.rated_kw") as caught:
        designs(office(), [0], [0], [0], [0], [50, 1e7], [])
    assert "10000000" in str(caught.value)


def test_designs_are_all_combinations_once() -> None:
    site = office()
    found = designs(site, [0, 20], [10, 20], [0, 2], [0], [], [])
    assert found[0] == base_of(site)
    assert len(found) == 2 * (1 + 2), "without BESS one power is as good as another"
    with raises(Code.RANGE, "2 chargers with max_discharge_kw"):
        designs(site, [0], [0], [3], [0], [], [])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_a_site_to_the_design_that_pays(folder: Path) -> None:
    """All days are alike but the last, whose load is higher: two typical days, and no error against all four."""
    base = [20.0] * 24
    profiles: dict[str, Any] = {**SITE["profiles"], "base": {"type": "day", "values": base, "variants": {}}}
    profiles["base"]["variants"] = {"sunday": [30.0] * 24}
    site = written(folder, economics=ECONOMICS, profiles=profiles)
    options = ("--from", "2024-05-16", "--days", "4", "--typical", "3", "--jobs", "1")
    ends_with(0, "size", site, "--bess-kwh", "0,20", "--bess-kw", "10", *options, "--check", "--json", "size.json")
    found = json.loads((folder / "size.json").read_text(encoding="utf-8"))
    assert [day["weight"] for day in found["typical_days"]] == [1, 3]
    assert found["typical_days"][0]["date"] == "2024-05-19"
    base_design, bess = found["designs"]
    assert (base_design["investment_eur"], base_design["npv_eur"]) == (0, 0)
    assert bess["investment_eur"] == 50 + 200 + 10
    assert bess["npv_eur"] == pytest.approx(bess["earned_eur_per_year"] * 7.721735 - 260, abs=0.01)
    assert found["best"]["name"] == "BESS 20 kWh/10 kW"
    all_days = found["by_all_days"]["best"]
    assert found["error_eur_per_year"] == bess["earned_eur_per_year"] - all_days["earned_eur_per_year"]
    assert abs(found["error_eur_per_year"]) < 0.05 * all_days["earned_eur_per_year"]
    assert (folder / "runs" / "size-small" / "all-days" / "year.sqlite").is_file()
    assert {file.name for file in (folder / "runs" / "size-small").glob("*.png")} == {"pareto.png", "tornado.png"}


def test_what_is_decided_on_is_checked_by_all_days_and_these_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base, best, best with V2G and the same with smart chargers and with ones that charge at once; of the others none.
    The same command again lives through the typical days only."""
    cars = {f"ev{n}": builders.charger(sessions=[builders.stay(vehicle=f"car{n}")]) for n in (1, 2)}
    site = written(folder, devices=SITE["devices"] | cars, economics=ECONOMICS)
    designs = ("--bess-kwh", "0,20", "--bess-kw", "10", "--v2g", "0,1", "--smart", "0,1,2")
    options = ("--from", "2024-05-16", "--days", "2", "--typical", "1", "--jobs", "1", "--check", "--json", "size.json")
    ends_with(0, "size", site, *designs, *options)
    first = json.loads((folder / "size.json").read_text(encoding="utf-8"))
    names = [one["name"] for one in first["by_all_days"]["designs"]]
    bests = {first["designs"][0]["name"], first["best"]["name"]}
    assert bests < set(names) and len(names) == len(set(names)) < len(first["designs"])
    with_v2g = next(one for one in first["by_all_days"]["designs"] if one["v2g"])
    others = [(one["v2g"], one["smart"]) for one in first["by_all_days"]["designs"]]
    assert (0, with_v2g["smart"] + 1) in others
    assert first["by_all_days"]["v2g_break_even_against_smart_eur"] is not None

    def never(*_: object) -> None:
        raise AssertionError("days that are there were lived through again")

    monkeypatch.setattr("twinswarm.year.engine.live", never)
    ends_with(0, "size", site, *designs, *options)
    assert json.loads((folder / "size.json").read_text(encoding="utf-8")) == first


def test_v2g_is_compared_with_smart_charging_that_nobody_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The break-even price is that of a run in which the smart charger was among the designs; without a price for one
    it is not known, and said why."""
    cars = {"ev1": builders.charger(sessions=[builders.stay()])}
    options = (
        "--v2g",
        "1",
        "--from",
        "2024-05-16",
        "--days",
        "1",
        "--typical",
        "1",
        "--jobs",
        "1",
        "--json",
        "size.json",
    )
    prices = []
    for smart in ("0", "0,1"):
        site = written(folder, devices=SITE["devices"] | cars, economics=ECONOMICS)
        ends_with(0, "size", site, "--smart", smart, *options)
        found = json.loads((folder / "size.json").read_text(encoding="utf-8"))
        assert [one["name"] for one in found["designs"]].count("1 smart") == 1
        prices.append(found["v2g_break_even_against_smart_eur"])
    assert prices[0] == prices[1] is not None
    assert "Assessed besides, to compare V2G with: 1 smart." in capsys.readouterr().out
    unpriced = {field: value for field, value in ECONOMICS.items() if field != "smart_charger_eur"}
    ends_with(0, "size", written(folder, devices=SITE["devices"] | cars, economics=unpriced), *options)
    assert "Unknown: economics has no smart_charger_eur." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("upkeep", [0.0, 0.01])
def test_what_is_saved_after_upkeep_is_called_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, upkeep: float
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    site = written(folder, economics=ECONOMICS | {"upkeep_frac": upkeep})
    options = ("--from", "2024-05-16", "--days", "1", "--typical", "1", "--jobs", "1")
    ends_with(0, "size", site, "--bess-kwh", "20", "--bess-kw", "10", *options)
    shown = capsys.readouterr().out
    assert ("upkeep" in shown) == bool(upkeep)
    assert "By one typical day" in shown


def test_wear_is_by_throughput_and_by_calendar(folder: Path) -> None:
    """A day stands for 365: the hours at their SOCs as settled, and 2 kWh out of vehicles at the price of the plan, or
    without one at that of the economics."""
    wear = {"cell": "lfp", "replacement_eur_per_kwh": 120}
    devices = SITE["devices"] | {"bess": SITE["devices"]["bess"] | {"calendar_wear": wear}}
    site = load_site(written(folder, devices=devices, economics=ECONOMICS | {"car_wear_eur_per_kwh": 0.03}))
    assert site.economics is not None
    order = order_over(site, Reference.UNCONTROLLED, date(2024, 5, 16), 1, {"base": site})
    day = live_through(site, order.course)
    aged_eur = day.calendar_wear_eur
    assert aged_eur is not None and aged_eur > 0.05
    assert yearly(site, order, [day], site.economics).wear_eur == pytest.approx(365 * aged_eur)
    driven = replace(day, calendar_wear_eur=None, cars_discharged_kwh=2.0)
    assert yearly(site, order, [driven], site.economics).wear_eur == pytest.approx(365 * 2 * 0.03)
    planned = site.model_copy(update={"ems": site.ems.model_copy(update={"vehicle_wear_eur_per_kwh": 0.05})})
    assert yearly(planned, order, [driven], site.economics).wear_eur == pytest.approx(365 * 2 * 0.05)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--bess-kwh", "0,many"), "0,40,80"),
        (("--v2g", "1.5"), "whole numbers"),
        (("--v2g", "1"), "0 chargers"),
        (("--pv", "10"), "no inverter"),
        (("--bess-kwh", "-5", "--bess-kw", "1"), "0 or more"),
        (("--bess-kwh", "0,40"), "--bess-kw: a BESS has both; --bess-kwh is given"),
        (("--bess-kw", "20"), "--bess-kwh: a BESS has both; --bess-kw is given"),
        (("--connection", "0,50"), "--connection: more than 0 kW"),
    ],
)
def test_what_cannot_be_is_said(
    folder: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(2, "size", written(folder, economics=ECONOMICS), *options)
    assert said in capsys.readouterr().err


def test_a_site_without_prices_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(2, "size", written(folder), "--bess-kwh", "10", "--bess-kw", "5")
    assert "economics" in capsys.readouterr().err
