"""A run settled by local day: days add up to the run, and each begins as it should."""

import dataclasses
import io
import math
import re
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from schemas.cycle import Course
from schemas.errors import Code
from schemas.messages import MeterTelemetry, TimeMode
from schemas.site import Site
from schemas.topics import Kind
from services.analysis.day_result import DayResult, sum_of
from services.analysis.result import RunResult
from services.analysis.savings_table import peaks_table
from services.history.reader import NEIGHBOUR, RunInfo
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.history.tracks import Sample, Track
from sites.loader import load_site
from tests.errors import raises
from tests.history.tape import ROME, RUN, SITE, Tape, record
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.days import LONGEST_LEAD, local_days, run_of, settle_day
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.load_result import review
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference

QUARTER = timedelta(minutes=15)
ENERGIES = ("cost_eur", "import_kwh", "export_kwh", "losses_kwh")


def lived(site: Site, course: Course, path: Path) -> str:
    with closing(HistoryStore(path, durable=False)) as store:
        return run_in_memory(site, course, Recording(store))


def days_of(path: Path, run: str, reference: Reference) -> list[DayResult]:
    with closing(SqliteHistory(path)) as history:
        zone = history.site(run).zone
        return [settle_day(history, run, day, reference) for day in local_days(history.info(run), zone)]


@pytest.fixture(scope="session")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The default site from noon of the eve of summer time: 12, 23 and 24 hours and the 13 that are left of 72."""
    path = tmp_path_factory.mktemp("days") / "h.sqlite"
    site = load_site("fit_g2v")
    noon = datetime(2024, 3, 30, 12, tzinfo=ROME).astimezone(UTC)
    return path, lived(site, Course(noon, noon + timedelta(hours=72), site.time.step_s), path)


@pytest.fixture(scope="session")
def settled(three_days: tuple[Path, str]) -> tuple[list[DayResult], RunResult]:
    path, run = three_days
    return days_of(path, run, Reference.SMART), review(f"sqlite:{path}", run, Reference.SMART)


def test_days_add_up_to_the_run(settled: tuple[list[DayResult], RunResult]) -> None:
    days, run = settled
    total = sum_of(days)
    for name in ENERGIES:
        assert getattr(total, name) == pytest.approx(getattr(run, name), abs=1e-9), name
    assert total.savings_eur == pytest.approx(total.reference_cost_eur - run.cost_eur, abs=1e-9)
    assert total.unsettled_steps == run.unsettled_steps == 0


def test_a_day_has_23_or_24_hours_and_parts_of_days_say_so(settled: tuple[list[DayResult], RunResult]) -> None:
    days, _ = settled
    assert [(day.date, day.hours, day.complete) for day in days] == [
        (date(2024, 3, 30), 12.0, False),
        (date(2024, 3, 31), 23.0, True),
        (date(2024, 4, 1), 24.0, True),
        (date(2024, 4, 2), 13.0, False),
    ]
    assert [day.psf_samples > 0 for day in days] == [True] * 4


def test_stored_energy_of_days_adds_up_where_the_reference_has_no_storage(three_days: tuple[Path, str]) -> None:
    # Without cars the reference stores nothing: the days' changes are the run's own.
    path, run = three_days
    days = days_of(path, run, Reference.NO_CARS)
    whole = review(f"sqlite:{path}", run, Reference.NO_CARS)
    assert whole.stored_energy_difference_kwh == whole.stored_bess_kwh + whole.stored_vehicles_kwh
    assert sum_of(days).stored_energy_difference_kwh == pytest.approx(whole.stored_energy_difference_kwh, abs=1e-9)
    assert max(abs(day.stored_energy_difference_kwh) for day in days) > 1


def test_run_of_one_day_is_told_as_report_tells_it_to_the_last_bit(tmp_path: Path) -> None:
    path, site = tmp_path / "h.sqlite", load_site("fit_g2v")
    run = lived(site, course_of(site), path)
    for reference in (Reference.SMART, Reference.UNCONTROLLED):
        (day,) = days_of(path, run, reference)
        whole = review(f"sqlite:{path}", run, reference)
        assert (day.date, day.hours, day.complete) == (site.date, 24.0, True)
        same_names = (*ENERGIES, "reference_cost_eur", "savings_eur", "psf", "psf_samples", "unsettled_steps")
        assert [getattr(day, name) for name in same_names] == [getattr(whole, name) for name in same_names]
        assert day.stored_energy_difference_kwh == whole.stored_energy_difference_kwh
        assert day.stored_energy_difference_eur == whole.stored_energy_difference_eur
        assert day.energy_residual_kwh_max == whole.energy_residual_kwh_max
        assert day.import_peak_kw == max(quarter.pcc_kw or 0.0 for quarter in whole.quarters)
        assert day.reference_import_peak_kw == max(quarter.reference_pcc_kw or 0.0 for quarter in whole.quarters)


def test_demand_charge_and_wear_of_days_are_those_of_the_run(tmp_path: Path) -> None:
    plain, path = load_site("fit_g2v"), tmp_path / "h.sqlite"
    tariff = plain.tariff.model_copy(update={"demand_charge_eur_per_kw": 12.0})
    site = plain.model_copy(
        update={
            "tariff": tariff,
            "ems": plain.ems.model_copy(update={"bess_wear_eur_per_kwh": 0.01, "vehicle_wear_eur_per_kwh": 0.005}),
        }
    )
    begin = course_of(site).t0 + timedelta(hours=6)
    run = lived(site, Course(begin, begin + timedelta(hours=36), site.time.step_s), path)
    days, whole = days_of(path, run, Reference.SMART), review(f"sqlite:{path}", run, Reference.SMART)
    total = sum_of(days)
    assert len(days) == 2
    for day in days:
        assert day.import_peak_kw is not None and day.reference_import_peak_kw is not None
        assert day.demand_charge_eur == 12.0 * day.import_peak_kw
        assert day.reference_demand_charge_eur == 12.0 * day.reference_import_peak_kw
        assert day.demand_savings_eur == pytest.approx(12.0 * (day.reference_import_peak_kw - day.import_peak_kw))
    assert total.demand_charge_eur == max(day.demand_charge_eur or 0.0 for day in days)
    assert (total.demand_charge_eur, total.import_peak_kw) == (whole.demand_charge_eur, whole.import_peak_kw)
    (bess,) = [device for device in whole.devices if device.device == "bess"]
    assert bess.import_kwh is not None and bess.export_kwh is not None and bess.import_kwh > 10
    assert whole.bess_wear_eur == pytest.approx(0.01 * (bess.import_kwh + bess.export_kwh), abs=1e-9)
    assert total.bess_wear_eur == pytest.approx(whole.bess_wear_eur, abs=1e-9)
    given_back = [device.export_kwh or 0.0 for device in whole.devices if device.device.startswith("ev")]
    assert len(given_back) == 4 and sum(given_back) > 5
    assert whole.vehicle_wear_eur == pytest.approx(0.005 * sum(given_back), abs=1e-9)
    assert total.vehicle_wear_eur == pytest.approx(whole.vehicle_wear_eur, abs=1e-9)


def test_table_of_peaks_has_the_charge_only_where_there_is_one(settled: tuple[list[DayResult], RunResult]) -> None:
    days, _ = settled
    charged = [
        dataclasses.replace(
            day, demand_charge_eur=60.0, reference_demand_charge_eur=84.0, demand_savings_eur=24.0, bess_wear_eur=0.5
        )
        for day in days
    ]
    shown = []
    for some in (days, charged):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(peaks_table(some))
        shown.append(console.export_text())
    plain, with_charge = shown
    assert "charge" not in plain.lower() and "wear" not in plain.lower()
    assert re.search(r"sum +[\d.]+ +[\d.]+ +60\.00 +84\.00 +24\.00 +2\.00", with_charge)
    assert all(len(line) <= 80 for text in shown for line in text.splitlines())


# ---- a vehicle over midnight


def overnight(arrival: datetime, departure: datetime) -> Site:
    """The house with one stay. 20 kWh are lacking in the battery: 20 / 0.95 kWh at the plug, within the hour."""
    told = SITE.model_dump()
    told["devices"]["charger-1"]["sessions"] = [
        {
            "vehicle": "car-1",
            "arrival": arrival,
            "departure": departure,
            "capacity_kwh": 50.0,
            "arrival_soc_frac": 0.4,
            "target_soc_frac": 0.8,
        }
    ]
    return Site.model_validate(told)


def house_days(site: Site, path: Path, days: int, reference: Reference) -> list[DayResult]:
    start = datetime(2024, 5, 15, tzinfo=ROME).astimezone(UTC)
    run = lived(site, Course(start, start + timedelta(days=days), 900), path)
    return days_of(path, run, reference)


def test_vehicle_over_midnight_is_charged_once_by_the_reference_on_the_day_it_came(tmp_path: Path) -> None:
    site = overnight(datetime(2024, 5, 15, 20, 5, tzinfo=ROME), datetime(2024, 5, 16, 8, tzinfo=ROME))
    came, left = house_days(site, tmp_path / "h.sqlite", 2, Reference.UNCONTROLLED)
    with closing(SqliteHistory(tmp_path / "h.sqlite")) as history:
        run = history.latest().run
        first, second = local_days(history.info(run), ROME)
        without = [settle_day(history, run, day, Reference.NO_CARS) for day in (first, second)]
        last_of_first = history.within(first.start, first.end).tracks(run)["charger-1"].samples[-1].body
    # The run itself has the vehicle elsewhere at midnight, so that it matters where the reference begins.
    assert last_of_first.vehicle is not None
    assert last_of_first.vehicle.soc_frac < 0.8 - 1e-6
    # Prices of the house: 0.15 €/kWh all day. Losses of the cable-less network are a few per mille of the charge.
    charged_eur = came.reference_cost_eur - without[0].reference_cost_eur
    assert charged_eur == pytest.approx(20 / 0.95 * 0.15, rel=0.03)
    assert left.reference_cost_eur == pytest.approx(without[1].reference_cost_eur, abs=1e-9)


def test_run_that_begins_amid_a_stay_and_a_stay_of_weeks_begin_with_the_soc_of_the_arrival(tmp_path: Path) -> None:
    site = overnight(datetime(2024, 5, 14, 20, tzinfo=ROME), datetime(2024, 5, 30, 8, tzinfo=ROME))
    days = house_days(site, tmp_path / "h.sqlite", LONGEST_LEAD.days + 2, Reference.UNCONTROLLED)
    with closing(SqliteHistory(tmp_path / "h.sqlite")) as history:
        run = history.latest().run
        without = [settle_day(history, run, d, Reference.NO_CARS) for d in local_days(history.info(run), ROME)]
    charged = [day.reference_cost_eur - none.reference_cost_eur for day, none in zip(days, without, strict=True)]
    # It is full after an hour of its first day; no other day charges it again.
    assert charged[0] == pytest.approx(20 / 0.95 * 0.15, rel=0.03)
    assert charged[1:] == pytest.approx([0.0] * (len(days) - 1), abs=1e-9)


# ---- wall time


def test_live_day_is_settled_from_the_whole_steps_that_were_recorded(tmp_path: Path) -> None:
    # The same telemetry as a session in wall time: of a day that goes on until 18:00.
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=73)
    as_session_in_wall_time(path)
    (day,) = days_of(path, RUN, Reference.NO_CARS)
    # By hand as in `tests.analysis.test_result`: 12 h and 6 h of 10.5 kW, 16 kWh for the BESS, 8 for the car.
    assert (day.hours, day.complete) == (18.0, False)
    assert day.import_kwh == pytest.approx(18 * 10.5 + 16 + 8, abs=1e-9)
    assert day.cost_eur == pytest.approx((12 * 10.5 + 16 + 8) * 0.10 + 6 * 10.5 * 0.30, abs=1e-9)


def as_session_in_wall_time(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET mode = 'wall'")


def times(info: RunInfo, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    return [(day.start, day.end) for day in local_days(info, zone)]


@given(
    begin=st.integers(0, 366 * 96).map(lambda quarters: datetime(2024, 1, 1, tzinfo=UTC) + quarters * QUARTER),
    quarters=st.integers(1, 400),
    seconds=st.integers(0, 899),
    zone=st.sampled_from(["Europe/Rome", "America/New_York", "Asia/Kathmandu", "UTC"]),
)
def test_days_touch_and_cover_all_whole_steps_that_were_recorded(
    begin: datetime, quarters: int, seconds: int, zone: str
) -> None:
    t0, up_to = begin - timedelta(seconds=seconds), begin + quarters * QUARTER + timedelta(seconds=seconds)
    info = RunInfo(RUN, "house", "main", TimeMode.WALL, 900, t0, None, 1, up_to, t0, None)
    found = times(info, ZoneInfo(zone))
    assert found[0][0] <= begin < found[0][1]
    assert found[-1][0] < begin + quarters * QUARTER <= found[-1][1]
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    local = [start.astimezone(ZoneInfo(zone)) for start, _ in found]
    assert {(at.hour, at.minute) for at in local} == {(0, 0)}


@settings(max_examples=200)
@given(
    gaps=st.lists(st.integers(1, 3000), min_size=1, max_size=40),
    steps=st.lists(st.floats(0, 50), min_size=41, max_size=41),
    cut=st.integers(1, 39),
)
def test_energies_of_windows_that_touch_add_up_whenever_the_meter_told(
    gaps: list[int], steps: list[float], cut: int
) -> None:
    """Telemetry of a device in wall time at any instants, none farther apart than `NEIGHBOUR`."""
    assert max(gaps) < NEIGHBOUR.total_seconds()
    t0 = datetime(2024, 1, 1, tzinfo=UTC)
    ts, register, samples = t0, 0.0, []
    for gap, kwh in zip([0, *gaps], steps, strict=False):
        ts, register = ts + timedelta(seconds=gap), register + kwh
        samples.append(Sample(ts, "b", MeterTelemetry(power_kw=1.0, energy_import_kwh=register, energy_export_kwh=0.0)))
    track = Track("load", Kind.METER, None, tuple(samples), lockstep=False)
    grid = [t0 + index * QUARTER for index in range(int((ts - t0) / QUARTER) + 2)]
    cut = min(cut, len(grid) - 1)

    def energy(of: Track, bounds: list[datetime]) -> float:
        return math.fsum(flow.import_kwh or 0.0 for flow in of.flows(bounds))

    parts = [energy(track.around(b[0], b[-1]), b) for b in (grid[: cut + 1], grid[cut:]) if len(b) > 1]
    assert math.fsum(parts) == pytest.approx(energy(track, grid), abs=1e-9)


# ---- which run, and how much of it is read


def test_run_is_chosen_by_the_days_asked_for_and_several_are_named(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    second = "20240515T000000.000000Z-0009"
    record(Tape(run=second), path)
    record(Tape(run="20240517T000000.000000Z-0001", day=date(2024, 5, 17)), path)
    day = date(2024, 5, 15)
    with closing(SqliteHistory(path)) as history:
        assert run_of(history, None).run.startswith("20240517")
        assert run_of(history, None, date(2024, 5, 17), date(2024, 5, 18)).run.startswith("20240517")
        assert run_of(history, RUN, day, day).run == RUN
        with raises(Code.CONFLICT, RUN, second):
            run_of(history, None, day, day)
        with raises(Code.UNKNOWN):
            run_of(history, None, date(2025, 1, 1), date(2025, 1, 2))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET mode = 'wall' WHERE run = ?", (second,))
    with closing(SqliteHistory(path)) as history:
        # Without a session that says otherwise wall time is live.
        assert run_of(history, None).run == run_of(history, None, day, day).run == second


def long_session(path: Path, days: int) -> None:
    """A session of so many days; those but the first have telemetry that is there to be in the way."""
    record(Tape(), path)
    as_session_in_wall_time(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for day in range(1, days):
            connection.execute(
                "INSERT INTO message (site, kind, device, channel, topic, boot, seq, ts_us, stamped_run, payload, run) "
                "SELECT site, kind, device, channel, topic, boot, seq + 1000 * :day, ts_us + 86400000000 * :day, "
                "stamped_run, payload, run FROM message WHERE channel = 'telemetry' AND seq < 1000",
                {"day": day},
            )
        connection.execute("UPDATE run SET t_end_us = NULL, up_to_us = up_to_us + 86400000000 * ?", (days - 1,))


def work_of_a_day(path: Path) -> int:
    """How much SQLite does for the first day's telemetry [1000 instructions of its machine]."""
    done = [0]

    def count() -> int:
        done[0] += 1
        return 0

    course = Tape().course
    with closing(SqliteHistory(path)) as history, closing(history.within(course.t0, course.t_end)) as window:
        window._connection.set_progress_handler(count, 1000)
        assert len(window.tracks(RUN)["load"].samples) == 97
    return done[0]


def test_a_day_of_a_long_session_costs_no_more_to_read_than_of_a_short_one(tmp_path: Path) -> None:
    long_session(tmp_path / "short.sqlite", 2)
    long_session(tmp_path / "long.sqlite", 60)
    assert work_of_a_day(tmp_path / "long.sqlite") < 1.5 * work_of_a_day(tmp_path / "short.sqlite")
