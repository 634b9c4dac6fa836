"""Days that are settled as they go are those of one recorded run, wherever it was cut and taken up again."""

import math
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas.site import Site
from services.analysis.comparison import compare
from services.analysis.outcome import outcome_of
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from tests.twins import builders
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.variants import Reference
from twinswarm.study.day import Day, live_through
from twinswarm.year.engine import live_through_year, local_workers
from twinswarm.year.order import YearOrder, year_order
from twinswarm.year.result import year_result
from twinswarm.year.store import YearStore
from twinswarm.year.stream import Piece, live
from twinswarm.year.tables import money_heads

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
RUN = "20260102T000000.000000Z-0000"
ALL_DAY, OVER_MIDNIGHT = ("09:00", "18:00"), ("17:00", "07:10")


def car(name: str, hours: tuple[str, str]) -> dict[str, Any]:
    given = {"vehicle": name, "capacity_kwh": 50.0, "arrival_soc_frac": 0.4, "target_soc_frac": 0.8}
    return given | dict(zip(("arrival", "departure"), hours, strict=True))


def house(**changes: Any) -> Site:
    """A car that stays over midnight, one that leaves five minutes before it, a BESS, PV and a demand charge."""
    prices = [0.08 + 0.01 * ((hour * 7) % 24) for hour in range(24)]
    profiles = {
        "price": {"type": "day", "values": prices},
        "base": {"type": "day", "values": [12.0 + 3.1 * (i % 13) for i in range(96)]},
        "sun": {"type": "day", "values": [0.0] * 32 + [15.0 + i for i in range(32)] + [0.0] * 32},
        "grid": {"type": "day", "values": [300.0 + 10 * hour for hour in range(24)]},
    }
    devices = {
        "bess": builders.bess(),
        "ev1": builders.charger(sessions=[], daily=[car("night", OVER_MIDNIGHT)]),
        "ev2": builders.charger(sessions=[], daily=[car("late", ("19:30", "23:55"))]),
        "pv": builders.pv(),
        "load": {"kind": "meter", "profile": "base"},
    }
    given = {
        "profiles": profiles,
        "time": {"step_s": 1800},
        "tariff": {"sale": "price", "spread_eur_per_kwh": 0.03, "demand_charge_eur_per_kw": 5.0},
        "connection": {"import_limit_kw": 120, "export_limit_kw": 60, "co2_profile": "grid"},
    }
    return builders.site(changes.pop("devices", devices), **(given | changes))


@pytest.fixture(scope="module")
def order() -> YearOrder:
    """From a Friday before the clocks go forward, into another month."""
    return year_order(house(), Reference.UNCONTROLLED, date(2024, 3, 29), 4, "both")


@pytest.fixture(scope="module")
def days(order: YearOrder) -> list[Day]:
    return pieces(order, [4])


def pieces(order: YearOrder, lengths: list[int]) -> list[Day]:
    """The days with everything that was built for them thrown away between the pieces."""
    found: list[Day] = []
    seam = None
    for length in lengths:
        bounds = order.midnights[len(found) : len(found) + length + 1]
        lived = live(Piece(order.variants["BESS and V2G"], order.course, RUN, BEGAN, bounds, seam))
        found += lived.days
        seam = lived.seam
    return found


def test_a_year_in_pieces_is_the_same_to_the_last_bit(order: YearOrder, days: list[Day]) -> None:
    assert pieces(order, [1, 2, 1]) == days


def test_the_day_that_begins_summer_time_has_23_hours(days: list[Day]) -> None:
    assert [len(day.times) for day in days] == [48, 48, 46, 48]
    assert all(after.times[0] - before.times[-1] == timedelta(minutes=30) for before, after in pairwise(days))


def test_the_stream_is_the_run_in_one_go(order: YearOrder, days: list[Day]) -> None:
    """Every settlement period to the last bit; sums over the days, which are rounded once a day, to 1e-9."""
    whole = live_through(order.variants["BESS and V2G"], order.course)
    for name in ("pcc_kw", "load_kw", "pv_kw", "bess_kw", "cars_kw", "losses_kw", "purchase_eur_per_kwh", "times"):
        assert sum((getattr(day, name) for day in days), ()) == getattr(whole, name), name
    for name in (
        *("cost_eur", "import_kwh", "export_kwh", "losses_kwh", "cars_discharged_kwh", "cars_stored_kwh"),
        *("bess_stored_kwh", "departure_shortfall_kwh", "bess_charged_kwh", "bess_discharged_kwh", "bess_cycled_kwh"),
        "co2_import_kg",
    ):
        assert math.fsum(getattr(day, name) for day in days) == pytest.approx(getattr(whole, name), abs=1e-9), name
    assert {status: sum(day.statuses.get(status, 0) for day in days) for status in whole.statuses} == whole.statuses
    assert whole.cars_discharged_kwh > 1 and whole.bess_cycled_kwh > 10, "something was to be settled"


def test_the_stream_is_settled_as_the_recorded_history_is(order: YearOrder, days: list[Day], tmp_path: Path) -> None:
    """Of the variant recorded into a file: money and energies to 1e-9, the highest quarter-hour to the last bit."""
    site = order.variants["BESS and V2G"]
    with closing(HistoryStore(tmp_path / "history.sqlite", durable=False)) as store:
        run = run_in_memory(site, order.course, Recording(store))
        with closing(SqliteHistory(tmp_path / "history.sqlite")) as history:
            recorded = compare(history, run)
    settlement, stored = recorded.run.settlement, recorded.run.stored
    assert settlement.unsettled == 0
    assert math.fsum(day.cost_eur for day in days) == pytest.approx(settlement.cost_eur, abs=1e-9)
    assert math.fsum(day.import_kwh for day in days) == pytest.approx(settlement.import_kwh, abs=1e-9)
    assert math.fsum(day.stored_kwh for day in days) == pytest.approx(stored.total_kwh, abs=1e-9)
    assert max(day.peak_import_kw for day in days) == recorded.run.import_peak_kw


def test_a_vehicle_that_leaves_just_before_midnight_counts_on_its_day_alone(order: YearOrder) -> None:
    """Uncontrolled both cars get 0.4 of 50 kWh each evening. At the first midnight the night's stands there already,
    and gets its 20 kWh of that night, too."""
    site = order.variants["none"]
    lived = live(Piece(site, order.course, RUN, BEGAN, order.midnights, None))
    assert [day.cars_stored_kwh for day in lived.days] == pytest.approx([60.0, 40.0, 40.0, 40.0], abs=1e-6)
    assert [day.departure_shortfall_kwh for day in lived.days] == pytest.approx([0.0] * 4, abs=1e-9)


def test_calendar_wear_of_a_year_is_that_of_its_days_and_of_the_recorded_run(tmp_path: Path) -> None:
    """A BESS and a car that stays over midnight age; by day, by month, as a whole, and as `savings` has it."""
    wear = {"cell": "lfp", "replacement_eur_per_kwh": 120}
    devices = {
        "bess": builders.bess(calendar_wear=wear),
        "ev1": builders.charger(sessions=[], daily=[car("night", OVER_MIDNIGHT)], calendar_wear=wear),
        "load": {"kind": "meter", "profile": "base"},
    }
    site = house(devices=devices, time={"step_s": 3600}, ems={"vehicle_wear_eur_per_kwh": 0.01})
    order = year_order(site, Reference.UNCONTROLLED, date(2024, 5, 31), 2, "both")
    lived = {
        name: list(live(Piece(of, order.course, RUN, BEGAN, order.midnights, None)).days)
        for name, of in order.variants.items()
    }
    result = year_result(order, lived)
    for variant in result.variants:
        by_day = [day.calendar_wear_eur or 0.0 for day in lived[variant.name]]
        assert min(by_day) > 0, "vehicles age with none, too"
        assert variant.total.calendar_wear_eur == math.fsum(by_day)
        assert [totals.calendar_wear_eur for totals in variant.months.values()] == by_day, "a day of either month"
        discharged = variant.total.cars_discharged_kwh
        assert variant.total.vehicle_wear_eur == pytest.approx(0.01 * discharged)
    assert {"vehicle wear\n€", "calendar wear\n€"} < set(money_heads(result)), "the cycles of the BESS have no price"
    with closing(HistoryStore(tmp_path / "history.sqlite", durable=False)) as store:
        run = run_in_memory(order.variants["BESS and V2G"], order.course, Recording(store))
        with closing(SqliteHistory(tmp_path / "history.sqlite")) as history:
            recorded = outcome_of(compare(history, run), site)
    both = result.variants[-1].total
    assert both.calendar_wear_eur == pytest.approx(recorded.calendar_wear_eur, abs=1e-9)
    assert both.vehicle_wear_eur == pytest.approx(recorded.vehicle_wear_eur, abs=1e-9)


def test_emissions_are_those_of_the_imports() -> None:
    """30 kWh each hour at 300, 310, … g/kWh of a site that is only a load: 30 kW · Σ(300 + 10 h) = 298.8 kg."""
    flat = {"type": "day", "values": [30.0]}
    site = house()
    plain = site.model_copy(
        update={"devices": {"load": site.devices["load"]}, "network": type(site.network)(), "profiles": site.profiles}
    )
    profiles = {**plain.profiles, "base": type(site.profiles["base"]).model_validate(flat)}
    plain = plain.model_copy(update={"profiles": profiles})
    whole = year_order(house(), Reference.UNCONTROLLED, date(2024, 5, 17), 1, "none")
    day = live_through(plain, whole.course)
    assert day.co2_import_kg == pytest.approx(30 * sum(300 + 10 * hour for hour in range(24)) / 1000)


def test_a_year_that_was_cut_off_goes_on_with_what_is_on_disk(
    order: YearOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinswarm.year.engine.PIECE_DAYS", 1)
    variants = {name: order.variants[name] for name in ("none", "BESS and V2G")}
    short = replace(order, variants=variants, midnights=order.midnights[:3])

    def through(folder: Path, stop_after: int | None) -> list[list[Day]]:
        folder.mkdir(exist_ok=True)
        lived = 0

        def count(_: str, days: int) -> None:
            nonlocal lived
            lived += days
            if stop_after is not None and lived >= stop_after:
                raise KeyboardInterrupt

        with closing(YearStore(folder, short, RUN, BEGAN)) as store:
            with local_workers(1, short) as executor:
                try:
                    live_through_year(short, store, executor, count)
                except KeyboardInterrupt:
                    return []
            return [list(store.days(name)) for name in short.variants]

    assert through(tmp_path / "cut", 3) == []
    resumed, whole = through(tmp_path / "cut", None), through(tmp_path / "whole", None)
    assert resumed == whole
    assert [len(days) for days in whole] == [2, 2]


def test_days_of_another_site_are_not_taken_up(order: YearOrder, tmp_path: Path) -> None:
    with closing(YearStore(tmp_path, order, RUN, BEGAN)) as store:
        store.add("none", 0, [], "{}")
        assert not store.replaced
    other = year_order(house(date="2024-05-18"), Reference.UNCONTROLLED, date(2024, 3, 29), 4, "both")
    with closing(YearStore(tmp_path, other, "other", BEGAN)) as store:
        assert store.replaced
        assert (store.progress("none"), store.run) == ((0, None), "other")
