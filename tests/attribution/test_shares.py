"""Shares of devices, mechanisms and cars add up to what the runs saved."""

import itertools
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import Code
from schemas.site import Site
from sites.loader import load_site
from tests.errors import raises
from tests.twins import builders
from twinswarm.attribution.attribute import Attribution, attribute_savings
from twinswarm.attribution.figure import figure_of
from twinswarm.attribution.interval import interval
from twinswarm.attribution.lived import lived
from twinswarm.attribution.mechanisms import ENERGY, MECHANISMS, energy_saved
from twinswarm.attribution.players import players_of
from twinswarm.attribution.shapley import coalitions, shapley_values
from twinswarm.attribution.tables import notes
from twinswarm.cli import main
from twinswarm.simulation.variants import Reference, StorageChoice, with_devices, with_storage
from twinswarm.study.day import live_through
from twinswarm.study.own_site import course_over

PRICE = {"type": "day", "values": [0.10, 0.10, 0.40, 0.20, 0.10, 0.10, 0.50, 0.30]}
SUN = {"type": "day", "values": [0.0, 0.0, 10.0, 60.0, 40.0, 0.0, 0.0, 0.0]}
SUNLIGHT = {"type": "power", "profile": "sun"}
LOAD = {"type": "day", "values": [8.0, 8.0, 20.0, 15.0, 15.0, 20.0, 12.0, 8.0]}


def office(**changes: Any) -> Site:
    """An hourly site with a BESS, two chargers and PV that exceeds what may be exported."""
    devices = {
        "bess": builders.bess(),
        "ev1": builders.charger(),
        "ev2": builders.charger(sessions=[builders.stay(vehicle="van", arrival=builders.at("08:00"))]),
        "pv": {"kind": "pv", "rated_kw": 60, "source": SUNLIGHT, "forecast": SUNLIGHT},
        "load": {"kind": "meter", "profile": "base"},
    }
    given = {
        "connection": {"import_limit_kw": 100, "export_limit_kw": 20},
        "tariff": {"sale": "price", "spread_eur_per_kwh": 0.05, "demand_charge_eur_per_kw": 0.5},
        "profiles": {"price": PRICE, "sun": SUN, "base": LOAD},
        "time": {"step_s": 3600},
        "ems": {"vehicle_wear_eur_per_kwh": 0.02, "bess_wear_eur_per_kwh": 0.01},
    }
    return builders.site(changes.pop("devices", devices), **(given | changes))


@pytest.fixture(scope="module")
def found() -> Attribution:
    site = office()
    return attribute_savings(site, course_over(site, "day", None), Reference.UNCONTROLLED, players_of(site, 5), 1)


def test_shapley_values_of_a_game_that_can_be_reckoned_by_hand() -> None:
    """The glove game: one left glove (a), two right ones (b, c); a pair is worth 1. Values 2/3, 1/6 and 1/6."""
    worth = {team: np.array([float("a" in team and len(team) > 1)]) for team in coalitions("abc")}
    values = shapley_values("abc", worth)
    assert [values[name][0] for name in "abc"] == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def test_shapley_values_are_the_mean_over_all_orders() -> None:
    names = ["p", "q", "r", "s"]
    chance = np.random.default_rng(5)
    worth = {team: chance.normal(size=3) * bool(team) for team in coalitions(names)}
    orders = list(itertools.permutations(names))
    for name, value in shapley_values(names, worth).items():
        added = [
            worth[frozenset(order[: order.index(name) + 1])] - worth[frozenset(order[: order.index(name)])]
            for order in orders
        ]
        assert value == pytest.approx(np.mean(added, axis=0))


def test_shares_mechanisms_and_the_savings_of_compare_are_the_same_sum(found: Attribution) -> None:
    """The savings are those of two runs that were settled apart."""
    none = with_storage(found.site, StorageChoice.NONE, found.reference)
    days = [live_through(site, found.course) for site in (none, found.site)]
    demand = 0.5 * (days[0].peak_import_kw - days[1].peak_import_kw)
    saved = days[0].cost_eur - days[1].cost_eur + demand
    assert saved > 1
    assert found.total.saved_eur == pytest.approx(saved, abs=1e-9)
    assert math.fsum(share.saved_eur for share in found.shares) == pytest.approx(saved, abs=1e-9)
    assert found.total.by_mechanism["peak"] == pytest.approx(demand, abs=1e-9)
    for mechanism in MECHANISMS:
        parts = math.fsum(share.by_mechanism[mechanism] for share in found.shares)
        assert parts == pytest.approx(found.total.by_mechanism[mechanism], abs=1e-9)


def test_curtailment_and_stored_energy_are_the_energies_at_the_mean_price(found: Attribution) -> None:
    none = with_storage(found.site, StorageChoice.NONE, found.reference)
    days = [live_through(site, found.course) for site in (none, found.site)]
    more_pv = sum(days[1].pv_kw) - sum(days[0].pv_kw)
    assert more_pv > 5, "the baseline curtails"
    mean = 0.225 + 0.05
    assert found.total.by_mechanism["curtailment avoided"] == pytest.approx(mean * more_pv, abs=1e-6)
    stored = days[1].stored_kwh - days[0].stored_kwh
    assert found.total.by_mechanism["left in batteries"] == pytest.approx(-mean * stored, abs=1e-6)
    assert found.total.by_mechanism["losses"] < 0


def test_the_statement_of_a_car_is_its_chargers_and_the_rest_makes_up_the_share(found: Attribution) -> None:
    day = live_through(found.site, found.course)
    assert [(car.charger, car.vehicle, car.visits) for car in found.cars] == [("ev1", "car", 1), ("ev2", "van", 1)]
    net = sum(car.charged_kwh - car.discharged_kwh for car in found.cars)
    assert net == pytest.approx(sum(day.cars_kw))
    assert sum(car.discharged_kwh for car in found.cars) == pytest.approx(day.cars_discharged_kwh)
    for car in found.cars:
        # 0.5 to 0.9 of 50 kWh at an efficiency of 0.9
        assert car.baseline_charged_kwh == pytest.approx(20 / 0.9)
        assert car.charged_kwh * 0.9 - car.discharged_kwh / 0.8 >= 20 - 1e-6
        assert car.wear_eur == pytest.approx(0.02 * car.discharged_kwh)
        assert car.earned_eur == pytest.approx(car.baseline_cost_eur - car.cost_eur - car.wear_eur)
        assert 0.10 * 22 < car.baseline_cost_eur < 0.55 * 22.3
    for player in found.players:
        rest = found.rest_eur(player)
        share = next(share for share in found.shares if share.name == player.name)
        if player.name == "bess":
            assert rest is None
        else:
            assert rest is not None
            (car,) = (car for car in found.cars if car.charger == player.name)
            assert car.saved_eur + rest == pytest.approx(share.saved_eur)


def test_calendar_wear_is_shared_by_battery_and_cars_beyond_the_baselines(found: Attribution) -> None:
    """Together it is that of the settled runs; without a price it is nobody's."""
    wear = {"cell": "nmc", "replacement_eur_per_kwh": 150}
    devices = {
        "bess": builders.bess(calendar_wear=wear),
        "ev1": builders.charger(
            calendar_wear=wear,
            sessions=[
                builders.stay(departure=builders.at("10:20"), target_soc_frac=0.6),
                builders.stay(vehicle="van", arrival=builders.at("12:10")),
            ],
        ),
        "load": {"kind": "meter", "profile": "base"},
    }
    site = office(devices=devices)
    aged = attribute_savings(site, course_over(site, "day", None), Reference.UNCONTROLLED, players_of(site, 5), 1)
    baseline, full = (
        live_through(with_storage(site, storage, Reference.UNCONTROLLED), aged.course).calendar_wear_eur
        for storage in (StorageChoice.NONE, StorageChoice.BOTH)
    )
    assert baseline is not None and full is not None and baseline > 0.01
    assert aged.total.calendar_wear_eur == pytest.approx(full - baseline, abs=1e-9)
    by_car = [car.calendar_wear_eur for car in aged.cars]
    bess, ev1 = (share.calendar_wear_eur for share in aged.shares)
    assert [car.vehicle for car in aged.cars] == ["car", "van"] and None not in by_car
    assert bess is not None and bess > 0.01
    assert ev1 == pytest.approx(math.fsum(wear or 0.0 for wear in by_car), abs=1e-12)
    for car in aged.cars:
        assert car.earned_eur == pytest.approx(car.saved_eur - car.wear_eur - (car.calendar_wear_eur or 0.0))
    said = "\n".join(notes(aged))
    assert "Calendar wear" in said and "Calendar wear" not in "\n".join(notes(found))
    assert found.total.calendar_wear_eur is None and {car.calendar_wear_eur for car in found.cars} == {None}


def test_cars_that_come_and_leave_within_a_step_have_all_energy_of_their_charger() -> None:
    """By hand: three cars want 20 kWh each at an efficiency of 0.9, uncontrolled: 22.22 kWh, whenever they come."""
    hours = (("08:20", "11:10"), ("11:40", "14:20"), ("16:50", "19:30"))
    stays = [
        builders.stay(vehicle=f"car{n}", arrival=builders.at(come), departure=builders.at(leave))
        for n, (come, leave) in enumerate(hours)
    ]
    devices = {"ev1": builders.charger(sessions=stays), "load": {"kind": "meter", "profile": "base"}}
    site = with_storage(office(devices=devices), StorageChoice.NONE, Reference.UNCONTROLLED)
    visits = lived(site, course_over(site, "day", None)).visits
    assert math.fsum(visit.charged_kwh for visit in visits) == pytest.approx(3 * 20 / 0.9, abs=1e-6)
    first, second, third = visits
    assert third.charged_kwh == pytest.approx(20 / 0.9, abs=1e-6), "alone in all of its steps"
    assert second.charged_kwh == pytest.approx(20 / 0.9 - 20 / 3 / 3, abs=1e-6), (
        "20 of 30 min of its first step are its"
    )
    assert (first.vehicle, second.vehicle, third.vehicle) == ("car0", "car1", "car2")


def test_a_device_that_changes_nothing_gets_nothing() -> None:
    """At a flat price without PV a BESS has nothing to do."""
    flat = {"price": {"type": "day", "values": [0.2]}, "sun": {"type": "day", "values": [0.0]}, "base": LOAD}
    site = office(profiles=flat, tariff={"sale": "price", "spread_eur_per_kwh": 0.05})
    site = with_devices(site, ["bess", "ev1"], Reference.SMART)
    site = site.model_copy(update={"devices": {n: d for n, d in site.devices.items() if n != "ev2"}})
    found = attribute_savings(site, course_over(site, "day", None), Reference.SMART, players_of(site, 5), 1)
    bess = next(share for share in found.shares if share.name == "bess")
    assert bess.saved_eur == pytest.approx(0.0, abs=0.2)
    assert found.total.energy_interval is None, "a single day"


def test_players_are_the_devices_that_can_be_moved_and_are_put_together_when_they_are_many() -> None:
    site = office()
    assert [player.name for player in players_of(site, 3)] == ["bess", "ev1", "ev2"]
    assert [(player.name, player.devices) for player in players_of(site, 2)] == [
        ("bess", ("bess",)),
        ("all chargers", ("ev1", "ev2")),
    ]
    with raises(Code.RANGE, "--most-players", "1"):
        players_of(site, 1)
    with raises(Code.EMPTY, "nothing to attribute"):
        players_of(builders.site({"load": {"kind": "meter", "profile": "base"}}), 5)


def test_a_combination_of_devices_is_the_variant_of_the_site_that_compare_runs() -> None:
    site = load_site("fit_g2v", "6")
    chargers = [name for name in site.devices if name.startswith("ev")]
    for reference in Reference:
        for storage, used in (
            (StorageChoice.NONE, []),
            (StorageChoice.BESS, ["bess"]),
            (StorageChoice.V2G, chargers),
            (StorageChoice.BOTH, ["bess", *chargers]),
        ):
            assert with_devices(site, used, reference) == with_storage(site, storage, reference)


def drawn_savings(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Energy savings [€] of days that are lived through: load and stays are drawn anew for each of them."""
    chance = np.random.default_rng(11)
    found = []
    for _ in range(count):
        arrival, stays = int(chance.integers(7, 12)), int(chance.integers(4, 9))
        load = {"type": "day", "values": chance.gamma(6.0, 3.0, size=8).round(3).tolist()}
        stay = builders.stay(
            arrival=builders.at(f"{arrival:02}:00"),
            departure=builders.at(f"{arrival + stays:02}:00"),
            arrival_soc_frac=float(chance.uniform(0.2, 0.6).__round__(3)),
        )
        devices = {
            "ev1": builders.charger(sessions=[stay]),
            "pv": {"kind": "pv", "rated_kw": 60, "source": SUNLIGHT, "forecast": SUNLIGHT},
            "load": {"kind": "meter", "profile": "base"},
        }
        profiles = {"price": PRICE, "sun": SUN, "base": load}
        tariff = {"sale": "price", "spread_eur_per_kwh": 0.05}
        site = builders.site(devices, tariff=tariff, profiles=profiles, time={"step_s": 3600})
        course = course_over(site, "day", None)
        runs = [lived(with_devices(site, used, Reference.UNCONTROLLED), course) for used in (["ev1"], [])]
        found.append(energy_saved(*runs).sum())
    return np.array(found)


def site_coverage(days: int, samples: int) -> float:
    """Of intervals of 28 days that are drawn from ``days``, whose mean is the truth."""
    population = drawn_savings(days)
    assert population.std() > 0.1
    chance, hits = np.random.default_rng(2), 0
    for _ in range(samples):
        found = interval(chance.choice(population, 28), [True] * 28, seed=1, resamples=500)
        assert found is not None
        hits += found.low_eur <= 28 * population.mean() <= found.high_eur
    return hits / samples


def test_nine_of_ten_intervals_of_a_site_with_drawn_loads_and_stays_hold_the_truth() -> None:
    """400 samples have a standard error of 1.5 %."""
    assert 0.83 <= site_coverage(14, 400) <= 0.97


@pytest.mark.long
def test_coverage_of_a_site_with_many_drawn_days() -> None:
    assert 0.86 <= site_coverage(300, 3000) <= 0.94


def test_days_are_kept_apart_over_the_change_of_the_clocks() -> None:
    """Three days, the second of 23 hours; their savings are those of the whole."""
    site = office(date="2024-03-30")
    course = course_over(site, "3d", date(2024, 3, 30))
    assert course.steps == 71
    baseline, run = (lived(with_devices(site, used, Reference.NO_CARS), course) for used in ([], ["bess"]))
    assert np.bincount(baseline.day_of_step).tolist() == [24, 23, 24]
    by_day = energy_saved(run, baseline)
    assert by_day.shape == (len(ENERGY), 3)
    saved = baseline.cost_eur - baseline.demand_eur - (run.cost_eur - run.demand_eur)
    assert by_day.sum() == pytest.approx(saved, abs=1e-9)
    whole = live_through(with_devices(site, ["bess"], Reference.NO_CARS), course)
    assert run.stored_by_day_kwh.sum() == pytest.approx(whole.stored_kwh)


def test_the_command_writes_tables_json_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    Path("site.json").write_text(office().model_dump_json(), encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["attribute", "site.json", "--most-players", "2", "--processes", "1", "--json", "out.json"])
    assert end.value.code == 0
    out = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [share["name"] for share in out["shares"]] == ["bess", "all chargers"]
    assert len(out["combinations"]) == 4
    assert sum(share["saved_eur"] for share in out["shares"]) == pytest.approx(out["total"]["saved_eur"])
    assert Path("runs/attribute-house/attribution.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    for part in (
        "PV",
        "arbitrage",
        "peak",
        "van",
        "the rest of its share",
        "all chargers is one player",
        "No interval",
    ):
        assert part in said


def test_the_figure_is_the_same_each_time(found: Attribution) -> None:
    picture = figure_of(found)
    assert picture.svg_uri() == figure_of(found).svg_uri()
    assert "bess" in picture.text
