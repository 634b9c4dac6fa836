"""What a day cost and saved, against numbers worked out by hand."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import Code
from services.analysis.result import RunResult, analyse
from services.history.sqlite import SqliteHistory
from tests.errors import raises
from tests.history.tape import REFERENCE, RUN, Tape, hours, record

Analyse = Callable[..., RunResult]


def test_cost_and_savings_of_the_day(day: RunResult) -> None:
    # Base 10.5 kW: 126 kWh at 0.10 and 126 at 0.30. Car: 8 kWh at 0.10. BESS: 16 kWh at 0.10, 10 less at 0.30.
    reference = 126 * 0.10 + 126 * 0.30 + 8 * 0.10
    assert day.reference_cost_eur == pytest.approx(reference, abs=1e-9)
    assert day.cost_eur == pytest.approx(reference + 16 * 0.10 - 10 * 0.30, abs=1e-9)
    assert day.savings_eur == pytest.approx(1.40, abs=1e-9)
    assert (day.import_kwh, day.export_kwh) == (pytest.approx(266, abs=1e-9), 0.0)
    assert day.unsettled_steps == 0


def test_psf_of_the_day(day: RunResult) -> None:
    # Eight quarters of 18.5 and eight of 5.5 kW where the reference has 10.5; the other 80 are equal.
    expected = (80 + 8 * (18.5 + 5.5) / 10.5) / 96
    assert day.psf == pytest.approx(expected, abs=1e-12)
    assert (day.psf_samples, day.psf_excluded_samples, day.psf_2kw_excluded_samples) == (96, 0, 0)


def test_stored_energy_is_beside_the_savings(day: RunResult) -> None:
    # BESS cells: 16 kWh · 0.9 in, 10 kWh / 0.9 out. Car: 8 kWh · 0.95, in both. Mean purchase price 0.20 €/kWh.
    difference = 16 * 0.9 - 10 / 0.9
    assert day.stored_bess_kwh == pytest.approx(difference, abs=1e-9)
    assert day.stored_vehicles_kwh == pytest.approx(7.6, abs=1e-9)
    assert day.stored_energy_difference_kwh == pytest.approx(difference, abs=1e-9)
    assert day.stored_energy_difference_eur == pytest.approx(difference * 0.20, abs=1e-9)


def test_balance_of_the_day_closes_and_losses_are_counted(day: RunResult) -> None:
    assert day.losses_kwh == pytest.approx(12.0, abs=1e-9)
    assert day.energy_residual_kwh_max is not None
    assert day.energy_residual_kwh_max < 1e-9
    assert (day.energy_causes, day.energy_note) == ((), None)


def test_quarters_hold_powers_prices_socs_and_plans(day: RunResult) -> None:
    first, tenth = day.quarters[0], day.quarters[40]
    assert (first.pcc_kw, first.reference_pcc_kw, first.planned_pcc_kw, first.first_plan_pcc_kw) == (
        18.5,
        10.5,
        18.5,
        18.5,
    )
    assert first.power_kw == {"bess": 8.0, "charger-1": 0.0, "load": 10.0}
    assert first.soc_frac == {"bess": 0.5, "charger-1": None}
    assert tenth.time == datetime(2024, 5, 15, 8, tzinfo=UTC)
    assert tenth.soc_frac == {"bess": pytest.approx((20 + 14.4) / 40), "charger-1": 0.4}
    assert (first.purchase_price_eur_per_kwh, day.quarters[-1].sale_price_eur_per_kwh) == (0.10, 0.20)
    assert len(day.quarters) == 96


def test_devices_are_summed_up(day: RunResult) -> None:
    bess, charger, load = day.devices
    assert (bess.import_kwh, bess.export_kwh) == (pytest.approx(16), pytest.approx(10))
    assert (bess.highest_kw, bess.lowest_kw, bess.soc_start_frac) == (8.0, -5.0, 0.5)
    assert (charger.sessions, load.role) == (1, "load")


def test_result_goes_to_json_and_back_at_full_precision(day: RunResult) -> None:
    read = json.loads(json.dumps(day.to_json(), allow_nan=False))
    assert read["cost_eur"] == day.cost_eur
    assert read["quarters"][0]["time"] == "2024-05-14T22:00:00+00:00"
    names = (
        "cost_eur reference_cost_eur savings_eur psf psf_excluded_samples energy_residual_kwh_max losses_kwh "
        "setpoints_sent setpoints_changed messages_recorded messages_missing dead_letters wall_s quarters"
    )
    assert set(names.split()) <= set(read)


def test_export_is_paid_at_the_sale_price(analysed: Analyse) -> None:
    # 4.5 kW are exported for two hours of the morning instead of 10.5 imported, and again in the afternoon.
    quiet = hours(0, 1, 0)
    result = analysed(Tape(load=lambda hour: -5.0 if 3 <= hour < 5 or 15 <= hour < 17 else 10.0, bess=quiet, car=quiet))
    assert result.cost_eur == pytest.approx(10.5 * 10 * (0.10 + 0.30) - 4.5 * 2 * (0.05 + 0.20), abs=1e-9)
    assert result.export_kwh == pytest.approx(18, abs=1e-9)


@pytest.mark.parametrize(("on", "length_h", "morning_h"), [(date(2024, 3, 31), 23, 11), (date(2024, 10, 27), 25, 13)])
def test_days_of_the_clock_change_are_settled_over_their_length(
    analysed: Analyse, on: date, length_h: int, morning_h: int
) -> None:
    quiet = hours(0, 1, 0)
    result = analysed(Tape(day=on, bess=quiet, car=quiet), Tape(day=on, bess=quiet, car=quiet, run=REFERENCE))
    assert result.cost_eur == pytest.approx(10.5 * (morning_h * 0.10 + 12 * 0.30), abs=1e-9)
    assert (len(result.quarters), result.psf, result.savings_eur) == (length_h * 4, 1.0, 0.0)


def test_run_that_was_cut_off_is_compared_with_the_same_time_of_its_reference(analysed: Analyse) -> None:
    # Cut off at 03:00: cycle 13 is the instant 03:00.
    result = analysed(Tape(), Tape(has_bess=False, run=REFERENCE), last=13)
    assert not result.complete
    assert result.end == result.start + timedelta(hours=3)
    assert result.reference_cost_eur == pytest.approx(31.5 * 0.10, abs=1e-9)
    assert result.savings_eur == pytest.approx(-1.60, abs=1e-9)
    assert result.stored_energy_difference_kwh == pytest.approx(14.4, abs=1e-9)


def test_device_that_was_away_is_named_and_the_balance_still_closes(analysed: Analyse) -> None:
    result = analysed(Tape(away={"charger-1": range(30, 34)}))
    assert result.energy_residual_kwh_max is not None
    assert result.energy_residual_kwh_max < 1e-9
    (cause, lasted), *_ = result.energy_causes
    assert cause.startswith("charger-1: no telemetry between 2024-05-15 05:00")
    assert lasted == timedelta(minutes=75)
    assert result.cost_eur == pytest.approx(49.8, abs=1e-9)


def test_device_that_came_back_as_another_life_brings_no_energy_with_it(analysed: Analyse) -> None:
    # The registers go on, but belong to another life: 1 kWh of the quarter in which it changed is not the devices'.
    result = analysed(Tape(boots={"charger-1": lambda n: "charger-1" if n < 43 else "charger-2"}))
    assert result.energy_residual_kwh_max == pytest.approx(1.0, abs=1e-9)
    assert result.energy_residual_undisturbed_kwh_max is not None
    assert result.energy_residual_undisturbed_kwh_max < 1e-9
    assert "another life" in result.energy_causes[0][0]


def test_quarters_without_a_pcc_are_spread_over_their_gap_and_say_so(analysed: Analyse) -> None:
    # Three instants of the PCC meter are missing at night, where its power is constant: the total stays.
    result = analysed(Tape(away={"network": range(20, 23)}), Tape(has_bess=False, run=REFERENCE))
    assert result.cost_eur == pytest.approx(49.8, abs=1e-9)
    assert any("network: no telemetry" in cause for cause, _ in result.energy_causes)


def test_vehicle_that_leaves_short_of_its_target_is_counted(analysed: Analyse) -> None:
    # It comes with 40 % of 50 kWh, wants 44 %, and gets nothing.
    assert analysed(Tape(car=hours(0, 1, 0))).departure_shortfall_kwh == pytest.approx(2.0, abs=1e-9)


def test_run_without_reference_has_no_savings_and_no_psf(analysed: Analyse) -> None:
    result = analysed(Tape())
    assert (result.savings_eur, result.psf, result.reference, result.stored_energy_difference_kwh) == (None,) * 4
    assert result.psf_unknown_samples == 96


def test_run_without_one_measured_step_is_an_input_error(tmp_path: Path) -> None:
    record(Tape(), tmp_path / "h.sqlite", last=1)
    with raises(Code.EMPTY):
        analyse(SqliteHistory(tmp_path / "h.sqlite"), RUN)
