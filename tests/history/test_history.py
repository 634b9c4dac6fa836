"""A recorded day reads back as what was told."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import Code
from schemas.messages import Quantity
from tests.errors import raises
from tests.history.tape import RUN, SITE, Tape, record
from twinswarm.simulation.histories import open_history

T0 = datetime(2024, 5, 14, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("day") / "h.sqlite"
    record(Tape(), path)
    return path


def test_run_is_complete_after_its_closing_commit(day: Path) -> None:
    info = open_history(f"sqlite:{day}").latest()
    assert (info.run, info.label, info.complete, info.cycle) == (RUN, "main", True, 97)
    assert (info.t0, info.up_to) == (T0, T0 + timedelta(hours=24))


def test_site_reads_back_as_it_was(day: Path) -> None:
    assert open_history(f"sqlite:{day}").site(RUN) == SITE


def test_counts_of_the_day(day: Path) -> None:
    # Roll call: 5 births, 1 series. 97 instants with 4 telemetries. 96 set-points and plans. The BESS's set-point
    # takes the values 8, 0, -5, 0: four changes with the first.
    counts = open_history(f"sqlite:{day}").counts(RUN)
    assert counts.recorded == 6 + 97 * 4 + 96 * 2
    assert (counts.missing, counts.dead_letters, counts.stray) == (0, 0, 0)
    assert (counts.setpoints_sent, counts.setpoints_changed, counts.setpoints_reversed) == (96, 4, 0)


def test_dataset_holds_powers_registers_socs_and_prices_with_units(day: Path) -> None:
    data = open_history(f"sqlite:{day}").dataset(RUN)
    assert dict(data.sizes) == {"time": 97, "device": 3, "interval": 96, "node": 2, "element": 1}
    assert list(data.device.values) == ["bess", "charger-1", "load"]
    noon = np.datetime64("2024-05-15T10:00")
    assert data.mean_power_kw.sel(device="bess").values[:9].tolist() == [8.0] * 8 + [0.0]
    assert data.purchase_price_eur_per_kwh.sel(time=noon) == 0.30
    assert data.purchase_price_eur_per_kwh.attrs["units"] == "€/kWh"
    assert data.soc_frac.sel(time=noon, device="charger-1") == pytest.approx((20 + 8 * 0.95) / 50, abs=1e-12)
    assert np.isnan(data.soc_frac.sel(time=noon, device="load"))
    # 24 h of 10 kW load, 0.5 kW losses, 16 kWh into the BESS, 10 out of it, 8 into the car.
    assert float(data.pcc_import_kwh[-1]) == pytest.approx(252 + 16 - 10 + 8, abs=1e-9)
    assert data.setpoint_kw.sel(device="bess").values[:9].tolist() == [8.0] * 8 + [0.0]
    assert np.isnan(data.setpoint_kw.sel(device="bess").values[-1])


def test_session_of_the_car_is_seen_with_its_final_soc(day: Path) -> None:
    (stay,) = open_history(f"sqlite:{day}").sessions(RUN)
    assert (stay.arrival, stay.departure) == (T0 + timedelta(hours=9), T0 + timedelta(hours=18))
    assert stay.final_soc_frac == pytest.approx(0.4 + 8 * 0.95 / 50, abs=1e-12)
    assert stay.stored_kwh == pytest.approx(7.6, abs=1e-9)
    lived_again = stay.session()
    assert (lived_again.target_soc_frac, lived_again.departure) == (0.44, stay.departure)


def test_energy_of_the_last_interval_counts_for_the_car_that_left(tmp_path: Path) -> None:
    # 4 kW from 17:00 to 18:00: three quarters before its last telemetry, one after.
    record(Tape(car=lambda hour: 4.0 if 17 <= hour < 18 else 0.0), tmp_path / "h.sqlite")
    (stay,) = open_history(f"sqlite:{tmp_path}/h.sqlite").sessions(RUN)
    assert stay.stored_kwh == pytest.approx(4 * 0.95, abs=1e-9)


def test_segments_are_the_pieces_of_constant_power(day: Path) -> None:
    pieces = open_history(f"sqlite:{day}").segments(RUN)["bess"]
    assert pieces[0] == (T0, T0 + timedelta(minutes=15), 8.0)
    assert len(pieces) == 96
    assert sum(kw * (end - start) / timedelta(hours=1) for start, end, kw in pieces) == pytest.approx(6.0)


def test_run_that_was_cut_off_ends_with_its_last_whole_cycle(tmp_path: Path) -> None:
    record(Tape(), tmp_path / "h.sqlite", last=40)
    history = open_history(f"sqlite:{tmp_path}/h.sqlite")
    info = history.latest()
    assert (info.complete, info.cycle) == (False, 40)
    assert history.grid(RUN) == tuple(T0 + index * timedelta(minutes=15) for index in range(40))
    assert history.dataset(RUN).sizes["time"] == 40


@pytest.mark.parametrize("last", [0, 1])
def test_run_cut_off_at_its_beginning_reads_as_empty(tmp_path: Path, last: int) -> None:
    record(Tape(), tmp_path / "h.sqlite", last=last)
    history = open_history(f"sqlite:{tmp_path}/h.sqlite")
    data = history.dataset(RUN)
    assert (data.sizes["time"], data.sizes["interval"]) == (last, 0)
    assert history.sessions(RUN) == []


@pytest.mark.parametrize(("day", "hours"), [(date(2024, 3, 31), 23), (date(2024, 10, 27), 25)])
def test_days_of_the_clock_change_have_their_length(tmp_path: Path, day: date, hours: int) -> None:
    record(Tape(day=day), tmp_path / "h.sqlite")
    data = open_history(f"sqlite:{tmp_path}/h.sqlite").dataset(RUN)
    assert data.sizes["interval"] == hours * 4
    assert float(data.energy_import_kwh.sel(device="load")[-1]) == pytest.approx(hours * 10, abs=1e-9)


def test_price_announced_later_holds(day: Path) -> None:
    prices = open_history(f"sqlite:{day}").prices(RUN)
    newer = prices.series[0].model_copy(update={"start": T0 + timedelta(hours=6), "values": (0.7, 0.8)})
    both = type(prices)((*prices.series, newer))
    assert both.at(Quantity.PURCHASE_PRICE, T0 + timedelta(hours=6, minutes=20)) == 0.8
    assert both.at(Quantity.PURCHASE_PRICE, T0 + timedelta(hours=6, minutes=30)) == 0.10
    mean = both.mean(Quantity.PURCHASE_PRICE, T0 + timedelta(hours=6), T0 + timedelta(hours=7))
    assert mean == pytest.approx((0.7 + 0.8 + 0.1 + 0.1) / 4)
    assert both.mean(Quantity.PURCHASE_PRICE, T0 + timedelta(hours=23), T0 + timedelta(hours=25)) is None


def test_unknown_run_is_an_input_error_that_names_the_runs(day: Path) -> None:
    with raises(Code.UNKNOWN, RUN):
        open_history(f"sqlite:{day}").dataset("20990101T000000.000000Z-0000")


def test_history_url_of_another_scheme_is_refused() -> None:
    with raises(Code.FORMAT, "sqlite:PATH"):
        open_history("mysql://x")
