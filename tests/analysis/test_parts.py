"""The parts of the analysis, each by itself."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.messages import MeterNameplate, MeterRole, NetworkTelemetry, Quantity, Telemetry, ValueSeries
from schemas.plausibility import PowerBounds
from schemas.site import Tariff
from schemas.topics import Kind
from services.analysis.balance import balance
from services.analysis.quarters import quarter_grid, quarter_length
from services.analysis.shaving import peak_shaving_factor
from services.analysis.summary import number
from services.history.prices import Prices
from services.history.settlement import demand_charges_eur, month_peaks_kw, settle
from services.history.tracks import Sample, Track, mean_kw

T0 = datetime(2024, 5, 14, 22, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def _track(registers: list[tuple[float, float, float] | None], role: MeterRole = MeterRole.PCC) -> Track:
    """Samples each quarter of (power, import, export); None: none."""
    samples = tuple(
        Sample(
            T0 + index * QUARTER, "a", Telemetry(power_kw=row[0], energy_import_kwh=row[1], energy_export_kwh=row[2])
        )
        for index, row in enumerate(registers)
        if row is not None
    )
    return Track("m", Kind.METER, MeterNameplate(role=role), samples, lockstep=False)


def _times(count: int) -> list[datetime]:
    return [T0 + index * QUARTER for index in range(count)]


def _prices(purchase: float, sale: float) -> Prices:
    values = ((Quantity.PURCHASE_PRICE, purchase), (Quantity.SALE_PRICE, sale))
    return Prices(tuple(ValueSeries(quantity=q, start=T0, step_s=3600, values=(v,) * 48) for q, v in values))


def test_psf_leaves_out_small_references_and_counts_what_it_left_out() -> None:
    # |−3|/6 and 4/|−2|; a reference of 0.5 is at the threshold, one of 0.51 above; None is not known.
    factor = peak_shaving_factor([-3, 4, 9, 0.51, 1, None], [6, -2, 0.5, 0.51, None, 5])
    assert factor.psf == pytest.approx((0.5 + 2 + 1) / 3)
    assert (factor.samples, factor.excluded, factor.unknown) == (3, 1, 2)
    assert peak_shaving_factor([1.0], [0.1]).psf is None


def test_meter_without_registers_is_integrated_and_marked_as_estimated() -> None:
    samples = tuple(Sample(T0 + i * QUARTER, "a", Telemetry(power_kw=kw)) for i, kw in enumerate([4.0, -2.0, 0.0]))
    track = Track("m", Kind.METER, MeterNameplate(role=MeterRole.PCC), samples, lockstep=False)
    settlement = settle(track, _prices(0.2, 0.1), _times(3))
    assert settlement.cost_eur == pytest.approx(1.0 * 0.2 - 0.5 * 0.1)
    assert settlement.estimated == ("m: without registers; power integrated",)


def test_in_place_of_a_register_that_went_back_the_power_counts_and_says_so() -> None:
    flows = _track([(6, 10, 0), (0, 3, 0), (0, 4, 0)]).flows(_times(3))
    assert [(flow.import_kwh, flow.estimated) for flow in flows] == [(1.5, True), (1.0, False)]
    assert flows[0].cause == "m: a register went back; power integrated"


def test_energy_over_a_gap_is_spread_and_its_sum_kept() -> None:
    flows = _track([(8, 0, 0), None, None, (8, 6, 0), (8, 8, 0)]).flows(_times(5))
    assert [flow.import_kwh for flow in flows] == pytest.approx([2, 2, 2, 2])
    assert [flow.estimated for flow in flows] == [True, True, True, False]


def test_samples_off_the_grid_share_their_energy_by_time() -> None:
    # Telemetry every ten minutes at 6 kW: 1 kWh each; the quarter's bound lies in the middle of the second piece.
    samples = tuple(
        Sample(
            T0 + index * timedelta(minutes=10),
            "a",
            Telemetry(power_kw=6, energy_import_kwh=float(index), energy_export_kwh=0.0),
        )
        for index in range(4)
    )
    flows = Track("m", Kind.METER, None, samples, lockstep=False).flows(_times(3))
    assert [(flow.import_kwh, flow.estimated) for flow in flows] == [(1.5, False), (1.5, False)]


def test_time_before_and_after_all_telemetry_is_not_known() -> None:
    flows = _track([None, (8, 0, 0), (8, 2, 0), None]).flows(_times(4))
    assert [flow.net_kwh for flow in flows] == [None, 2, None]
    assert mean_kw(flows[1], QUARTER) == 8.0


def test_step_without_a_price_is_left_out_and_counted_unless_nothing_flowed() -> None:
    settlement = settle(_track([(0, 0, 0), (0, 1, 0), (0, 1, 0)]), Prices(()), _times(3))
    assert (settlement.cost_eur, settlement.unsettled) == (0.0, 1)


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=2, max_size=30),
    kept=st.sets(st.integers(1, 28), max_size=10),
)
def test_flows_sum_to_the_register_difference_whatever_is_missing_between(
    steps: list[tuple[float, float]], kept: set[int]
) -> None:
    rows: list[tuple[float, float, float] | None] = []
    drawn = given_ = 0.0
    for more_drawn, more_given in steps:
        rows.append((0.0, drawn, given_))
        drawn, given_ = drawn + more_drawn, given_ + more_given
    rows.append((0.0, drawn, given_))
    thinned = [row if index not in kept or index == len(steps) else None for index, row in enumerate(rows)]
    flows = _track(thinned).flows(_times(len(rows)))
    assert sum(flow.import_kwh or 0.0 for flow in flows) == pytest.approx(drawn, abs=1e-9)
    assert sum(flow.export_kwh or 0.0 for flow in flows) == pytest.approx(given_, abs=1e-9)


def test_submeters_are_outside_the_balance_and_a_missing_load_meter_is_said() -> None:
    pcc = _track([(0, 0, 0), (0, 5, 0)])
    sub = _track([(0, 0, 0), (0, 2, 0)], MeterRole.SUBMETER)
    found = balance({"m": pcc, "s": sub}, _times(2))
    assert found.residual_kwh_max == 5
    assert found.note is not None
    assert "load" in found.note
    assert "losses" in found.note


def test_balance_without_a_pcc_meter_is_not_known() -> None:
    found = balance({"l": _track([(0, 0, 0), (0, 5, 0)], MeterRole.LOAD)}, _times(2))
    assert (found.residual_kwh_max, found.worst) == (None, None)


@pytest.mark.parametrize(
    ("step_min", "length_min"), [(1, 15), (5, 15), (10, 20), (15, 15), (20, 20), (30, 30), (60, 60)]
)
def test_quarter_is_the_least_multiple_of_the_step_that_divides_the_hour(step_min: int, length_min: int) -> None:
    assert quarter_length(timedelta(minutes=step_min)) == timedelta(minutes=length_min)


def test_quarters_are_whole_by_the_clock_whatever_the_beginning() -> None:
    times = [T0 + timedelta(minutes=minutes) for minutes in (7, 15, 20, 30, 45, 51)]
    assert [t.minute for t in quarter_grid(times, timedelta(minutes=5), ZoneInfo("Europe/Rome"))] == [15, 30, 45]


def test_demand_charge_is_on_the_highest_import_and_never_negative() -> None:
    times = [T0 + timedelta(minutes=15 * quarter) for quarter in range(4)]
    peaks = month_peaks_kw(times, [3.0, None, 7.0, -20.0], ZoneInfo("Europe/Rome"))
    charged = Tariff(sale="sale", spread_eur_per_kwh=0.1, demand_charge_eur_per_kw=2.0)
    (month,) = peaks
    assert demand_charges_eur(charged, peaks) == {month: 14.0}
    assert demand_charges_eur(charged, {month: -3.0}) == {month: 0.0}
    assert demand_charges_eur(Tariff(sale="sale", spread_eur_per_kwh=0.1), peaks) is None


def test_numbers_for_reading() -> None:
    assert number(-1234.567, 2, "€") == "\N{MINUS SIGN}1 234.57 €"
    assert number(-0.0001, 2) == "0.00"
    assert number(None) == "\N{EN DASH}"


def _meter(rows: list[tuple[float, float]], every: timedelta, bound_kw: float = 600.0) -> Track:
    """A load meter of (power, import register), with the bounds of its site."""
    samples = tuple(
        Sample(T0 + i * every, "a", Telemetry(power_kw=kw, energy_import_kwh=kwh, energy_export_kwh=0.0))
        for i, (kw, kwh) in enumerate(rows)
    )
    bounds = PowerBounds(bound_kw, bound_kw, "test")
    return Track("m", Kind.METER, MeterNameplate(role=MeterRole.LOAD), samples, False, bounds)


_MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("register", "kwh"),
    [
        pytest.param(lambda i: 0.0 if i == 7 else 81_004.0 + 0.2 * i, 6.0, id="reads zero once"),
        pytest.param(lambda i: 0.2 * (i - 7) if i >= 7 else 81_004.0 + 0.2 * i, 6.0, id="restarts at 0"),
        pytest.param(lambda i: 81_004_000.0 + 200.0 * i, 6.0, id="counts in Wh"),
        pytest.param(lambda i: 81_004.0 + 0.2 * i - (0.5 if i == 7 else 0.0), 6.0, id="back by 0.5 and up again"),
    ],
)
def test_a_register_that_cannot_be_is_replaced_by_power_times_time(
    register: Callable[[int], float], kwh: float
) -> None:
    """12 kW for half an hour, a telemetry a minute."""
    flows = _meter([(12.0, register(i)) for i in range(31)], _MINUTE).flows(_times(3))
    assert sum(flow.import_kwh or 0.0 for flow in flows) == pytest.approx(kwh, abs=1e-6)
    assert flows[0].estimated
    assert "power integrated" in (flows[0].cause or "")


def test_a_register_that_is_updated_once_an_hour_loses_nothing() -> None:
    # 55 kW by telemetry each minute; the register of a charger of 60 kW stands for an hour, then grows by 55 kWh.
    rows = [(55.0, 55.0 * (i // 60)) for i in range(121)]
    flows = _meter(rows, _MINUTE, bound_kw=121.0).flows([T0, T0 + timedelta(hours=2)])
    assert [(flow.import_kwh, flow.estimated) for flow in flows] == [(110.0, False)]


def test_power_and_register_that_cannot_be_count_as_nothing_and_say_so() -> None:
    flows = _meter([(9_000.0, 1e6 + 9_000.0 * i / 60) for i in range(16)], _MINUTE).flows(_times(2))
    assert (flows[0].import_kwh, flows[0].cause) == (0.0, "m: neither registers nor power are plausible; taken as 0")


def test_a_leap_of_an_old_historys_pcc_meter_is_not_settled() -> None:
    # The network twin of an earlier version took a meter's zero for 81,004 kWh; 10 s later all is as before.
    registers = [500.0 + 0.05 * i + (81_004.0 if i >= 30 else 0.0) for i in range(91)]
    bounds = PowerBounds(600.0, 600.0, "test")
    samples = tuple(
        Sample(T0 + i * timedelta(seconds=10), "a", Telemetry(power_kw=18, energy_import_kwh=r, energy_export_kwh=0.0))
        for i, r in enumerate(registers)
    )
    track = Track("network", Kind.NETWORK, MeterNameplate(role=MeterRole.PCC), samples, False, bounds)
    settlement = settle(track, _prices(0.2, 0.1), _times(2))
    assert settlement.cost_eur == pytest.approx(4.5 * 0.2)
    assert settlement.estimated == ("network: a register grew by more than can flow; power integrated",)


@pytest.mark.parametrize(("unheard", "cost_eur"), [((), 4.5 * 0.2), (range(20, 30), (4.5 + 300.0) * 0.2)])
def test_a_leap_within_an_hour_at_the_bound_is_settled_only_where_a_device_was_unheard(
    unheard: Sequence[int], cost_eur: float
) -> None:
    # 300 kWh in 10 s, at 600 kW half an hour: late energy of a device that the network twin missed, or none at all.
    samples = tuple(
        Sample(
            T0 + i * timedelta(seconds=10),
            "a",
            NetworkTelemetry(
                power_kw=18,
                energy_import_kwh=500.0 + 0.05 * i + (300.0 if i >= 30 else 0.0),
                energy_export_kwh=0.0,
                losses_kw=0.0,
                losses_kwh=0.0,
                residual_kwh=0.0,
                voltages_pu={},
                loadings_frac={},
                missing=("boiler",) if i in unheard else (),
            ),
        )
        for i in range(91)
    )
    bounds = PowerBounds(600.0, 600.0, "test")
    track = Track("network", Kind.NETWORK, MeterNameplate(role=MeterRole.PCC), samples, False, bounds)
    assert settle(track, _prices(0.2, 0.1), _times(2)).cost_eur == pytest.approx(cost_eur)


def test_nothing_is_settled_with_a_price_that_no_market_has() -> None:
    settlement = settle(_track([(8, 0, 0), (8, 2, 0)]), _prices(187.0, 0.1), _times(2))
    assert (settlement.cost_eur, settlement.unsettled) == (0.0, 1)
    assert settle(_track([(8, 0, 0), (8, 2, 0)]), _prices(-0.3, -0.4), _times(2)).cost_eur == pytest.approx(-0.6)
