"""Headlines of a result: highest quarters, the connection's limits, the demand charge, time that ran too fast."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.messages import MeterNameplate, MeterRole, MeterTelemetry, Quantity, ValueSeries
from schemas.site import DayProfile, Site
from schemas.topics import Kind
from services.analysis.figures import pictures
from services.analysis.report import render_report
from services.analysis.result import RunResult, analyse
from services.analysis.summary import blocks
from services.history.prices import prices_of
from services.history.settlement import co2_import_kg, energy_cost_eur, savings_eur, settle
from services.history.sqlite import SqliteHistory
from services.history.tracks import Sample, Track
from tests.analysis.conftest import Analyse
from tests.analysis.test_days import as_session_in_wall_time
from tests.ems.small_site import site as small_site
from tests.history.tape import REFERENCE, RUN, Tape, record


def lines(result: RunResult) -> dict[str, tuple[str, str]]:
    return {line.label: (line.value, line.note) for block in blocks(result) for line in block.lines}


def test_highest_quarters_of_run_and_reference_stand_beside_the_factor(day: RunResult) -> None:
    # By hand: 10 kW load and 0.5 kW losses, the tape's 8 kW for the BESS and, in both, 4 kW for the car.
    result = day
    assert result.import_peak_kw == pytest.approx(18.5, abs=1e-9)
    assert result.reference_import_peak_kw == pytest.approx(14.5, abs=1e-9)
    assert (result.export_peak_kw, result.reference_export_peak_kw) == (0.0, 0.0)
    told = lines(result)
    assert told["Highest import of a quarter"] == ("18.50 kW", "the baseline: 14.50 kW")
    assert "not of the peaks" in told["Peak-shaving factor (PSF)"][1]


def test_quarters_above_the_connections_limit_are_a_row_and_a_line_in_the_figure(
    analysed: Analyse, day: RunResult
) -> None:
    # The house's connection carries 100 kW; for two hours 110 kW are drawn.
    result = analysed(Tape(load=lambda hour: 109.5 if 6 <= hour < 8 else 10.0))
    assert result.limit_exceeded_periods == 8
    assert lines(result)["Quarters above the connection's limit"][0] == "8"
    assert "Quarters above the connection's limit" not in lines(day)


def test_limit_is_drawn_where_the_power_comes_near_it(analysed: Analyse, day: RunResult) -> None:
    near = analysed(Tape(load=lambda hour: 70.0), Tape(run=REFERENCE, load=lambda hour: 60.0))
    for result, expected in ((near, True), (day, False)):
        (against,) = [picture for picture in pictures(result) if picture.title == "PCC against the baseline"]
        labels = against.figure.axes[0].get_legend_handles_labels()[1]
        assert ("limit of the connection" in labels) is expected


def test_demand_charge_is_a_months_and_its_savings_stand_beside_those_of_energy(day: RunResult) -> None:
    result = replace(day, demand_charge_eur=60.0, demand_savings_eur=24.0, reference_demand_charge_eur=84.0)
    told = lines(result)
    assert told["Demand charge of the month"][0] == "60.00 €"
    assert told["Savings of the demand charge"][0] == "24.00 €"


def test_wear_counts_where_it_is_priced(day: RunResult) -> None:
    assert "Wear of the BESS" not in lines(day)
    told = lines(replace(day, bess_wear_eur=0.5))
    after = "not in the savings, which are 0.90 € after all wear"
    assert told["Wear of the BESS"] == ("0.50 €", f"by its throughput; {after}")
    both = lines(replace(day, bess_wear_eur=0.5, vehicle_wear_eur=0.3))
    after = "not in the savings, which are 0.60 € after all wear"
    assert both["Wear of the BESS"] == ("0.50 €", f"by its throughput; {after}")
    assert both["Wear of vehicles"] == ("0.30 €", f"by what they gave back; {after}")


def test_co2_of_imports_stands_beside_that_of_the_baseline(day: RunResult) -> None:
    assert "CO2 of imported energy" not in lines(day)
    told = lines(replace(day, co2_import_kg=120.04))
    assert told["CO2 of imported energy"] == ("120.0 kg", "by the intensity at the time of each import")
    both = lines(replace(day, co2_import_kg=120.04, reference_co2_import_kg=98.5))
    after = "by the intensity at the time of each import; the baseline's: 98.5 kg"
    assert both["CO2 of imported energy"] == ("120.0 kg", after)
    assert "CO2 of imported energy" in render_report(replace(day, co2_import_kg=120.04))


def test_co2_goes_by_what_was_announced_and_else_by_the_sites_profile() -> None:
    """4 kWh in each of two hours at 500 and 200 g/kWh; the site's profile says 300 throughout."""
    start = datetime(2024, 5, 17, tzinfo=UTC)
    announced = ValueSeries(quantity=Quantity.CO2_INTENSITY, start=start, step_s=3600, values=(500.0, 200.0))
    times = [start + i * timedelta(hours=1) for i in range(3)]
    plain = small_site()
    site = Site.model_validate(
        plain.model_dump()
        | {
            "connection": plain.connection.model_copy(update={"co2_profile": "grid"}),
            "profiles": {**plain.profiles, "grid": DayProfile(values=(300.0,))},
        }
    )
    bodies = [MeterTelemetry(power_kw=4.0, energy_import_kwh=4.0 * i, energy_export_kwh=0.0) for i in range(3)]
    samples = tuple(Sample(time, "b", body) for time, body in zip(times, bodies, strict=True))
    pcc = Track("pcc", Kind.METER, MeterNameplate(role=MeterRole.PCC), samples, lockstep=True)
    for series, kg in (((announced,), 4 * 0.5 + 4 * 0.2), ((), 8 * 0.3)):
        settlement = settle(pcc, prices_of(series), times)
        assert co2_import_kg(site, settlement) == pytest.approx(kg)
    assert co2_import_kg(plain, settle(pcc, prices_of((announced,)), times)) is None
    absurd = announced.model_copy(update={"values": (4e5, 4e5)})
    assert co2_import_kg(site, settle(pcc, prices_of((absurd,)), times)) == pytest.approx(8 * 0.3)


def test_share_of_refused_set_points_stands_beside_the_savings(day: RunResult) -> None:
    assert "refused" not in lines(day)["Savings"][1]
    rushed = replace(day, speed=600.0, mode="wall", setpoints_sent=300, setpoints_refused=100)
    too_fast = "time ran too fast: 100 of 300 set-points were refused or too late; repeat it with a lower --speed"
    assert too_fast in lines(rushed)["Savings"][1]
    live = replace(rushed, speed=1.0)
    assert "time ran too fast" not in lines(live)["Savings"][1]
    assert "100 of 300 set-points were refused or too late" in lines(live)["Savings"][1]


def test_late_set_points_and_periods_and_telemetry_stand_beside_the_savings(day: RunResult) -> None:
    rushed = replace(day, mode="wall", speed=150.0, speeds=(600.0, 300.0, 150.0), setpoints_sent=187, setpoints_late=61)
    rushed = replace(rushed, periods_without_setpoints=65, periods_commanded=96, telemetry_late_frac=0.124)
    note = lines(rushed)["Savings"][1]
    assert "61 of 187 set-points were refused or too late" in note
    assert "65 of 96 settlement periods had no set-points" in note
    assert "12 % of the time the PCC meter went without some telemetry" in note
    assert "slowed down from 600 to 150 times real time" in note
    one_in_a_thousand = replace(day, mode="wall", speed=60.0, setpoints_sent=1000, setpoints_late=1)
    assert lines(one_in_a_thousand)["Savings"][1] == lines(day)["Savings"][1]


def test_estimated_losses_are_named_with_their_steps(day: RunResult) -> None:
    steps = tuple(day.start + i * timedelta(minutes=15) for i in range(8))
    told = lines(replace(day, unsolved_steps=steps, estimated_losses_kwh=12.345))
    value, note = told["… estimated, as the network had no solution"]
    assert value in ("12.34 kWh", "12.35 kWh")
    assert "05-15 00:00, 05-15 00:15" in note and "and 2 more" in note
    assert "… estimated, as the network had no solution" not in lines(day)


def test_cost_is_import_at_purchase_minus_export_at_sale_and_a_price_matters_where_energy_flowed() -> None:
    assert energy_cost_eur(10.0, 4.0, 0.3, 0.1) == pytest.approx(3.0 - 0.4)
    assert energy_cost_eur(10.0, 0.0, 0.3, None) == pytest.approx(3.0)
    assert energy_cost_eur(0.0, 4.0, None, 0.1) == pytest.approx(-0.4)
    assert energy_cost_eur(10.0, 4.0, None, 0.1) is None
    assert energy_cost_eur(None, 0.0, 0.3, 0.1) is None
    assert savings_eur(cost_eur=7.0, reference_cost_eur=9.0) == 2.0


def test_who_did_not_keep_what_it_sent_is_named_beside_the_missing_messages(day: RunResult, tmp_path: Path) -> None:
    gaps = "gaps in the senders' numbering"
    assert lines(day)["Messages missing"][1] == gaps
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    as_session_in_wall_time(path)
    assert {"bess", "charger-1", "load"} <= set(analyse(SqliteHistory(path), RUN).not_kept)
    named = lines(replace(day, not_kept=("ev1", "load", "a", "b", "c", "d")))
    assert named["Messages missing"][1] == f"{gaps}; not kept until stored: what ev1, load, a, b, c and 1 more sent"
