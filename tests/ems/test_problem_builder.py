"""From messages to problem: windows, prices, load, sessions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.messages import (
    BessTelemetry,
    ChargerNameplate,
    ChargerTelemetry,
    ExpectedChargingSession,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    NetworkTelemetry,
    PluggedVehicle,
    Presence,
    PvNameplate,
    PvTelemetry,
    Quantity,
    Series,
    State,
    TimeMode,
)
from schemas.participant import Received
from schemas.topics import Channel, Kind
from services.ems.charging_sessions import PlannedTime, Policy, sessions_of
from services.ems.participant import Ems
from services.ems.problem import Problem, Stay
from services.ems.problem_builder import Unplannable, Window
from services.ems.problem_builder.charger import uncontrolled_power
from services.ems.series_alignment import extended, on_steps
from services.ems.stores import places_of, stores_of
from tests.ems.small_site import (
    BESS_PLATE,
    CAR_EFFICIENCY,
    CAR_KWH,
    STEP_S,
    T0,
    birth,
    charger_plate,
    received,
    session,
    site,
    turn,
    values,
    vehicle,
)

ROME = ZoneInfo("Europe/Rome")
NINE, SIX = T0 + timedelta(hours=9), T0 + timedelta(hours=18)


def stays_of(
    plate: ChargerNameplate, plugged: PluggedVehicle | None, expected: Sequence[ExpectedChargingSession], window: Window
) -> tuple[Stay, ...]:
    """`sessions_of` where nothing needs to be assumed."""
    planned = PlannedTime(window.start, window.at(1), window.end)
    return sessions_of(plate, plugged, None, expected, planned, Policy(None, ZoneInfo("UTC"))).stays


def prices(start: datetime = T0, hours: int = 48, sale: float = 0.1) -> Received:
    steps = hours * 4
    both = (
        values(Quantity.SALE_PRICE, [sale + i * 1e-4 for i in range(steps)], start=start),
        values(Quantity.PURCHASE_PRICE, [0.3] * steps, start=start),
    )
    return received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=both))


def pcc(power_kw: float, losses_kw: float = 0.0, **registers: float) -> Received:
    body = NetworkTelemetry(
        power_kw=power_kw,
        losses_kw=losses_kw,
        losses_kwh=0.0,
        residual_kwh=0.0,
        voltages_pu={},
        loadings_frac={},
        **registers,
    )
    return received(Kind.NETWORK, "network", Channel.TELEMETRY, body)


def problem(time: datetime, *inbox: Received, **options: Any) -> Problem:
    ems = Ems(site(**options))
    ems.plan_at(turn(time), inbox)
    found = ems.problem_at(turn(time))
    assert isinstance(found, Problem), found
    return found


@pytest.mark.parametrize(("day", "quarters"), [((2024, 3, 31), 92), ((2024, 5, 17), 96), ((2024, 10, 27), 100)])
def test_day_window_reaches_local_midnight_on_days_of_any_length(day: tuple[int, int, int], quarters: int) -> None:
    start = datetime(*day, tzinfo=ROME).astimezone(UTC)
    whole = problem(start, prices(start))
    assert whole.steps == quarters
    assert whole.end.astimezone(ROME).hour == 0
    assert problem(start + timedelta(hours=5), prices(start)).steps == quarters - 20


def test_at_midnight_the_new_day_is_planned() -> None:
    assert problem(T0 + timedelta(days=1), prices()).steps == 96


def test_plan_begun_within_a_quarter_starts_at_that_quarter() -> None:
    assert problem(T0 + timedelta(minutes=22), prices()).start == T0 + timedelta(minutes=15)


def test_rolling_window_ends_with_the_known_prices_and_their_extension() -> None:
    found = problem(T0 + timedelta(hours=20), prices(hours=24), horizon="rolling", rolling_h=36, price_extension_h=6)
    assert found.steps == (4 + 6) * 4
    # Beyond the end: the same local hour a day earlier.
    assert found.sale_eur_per_kwh[16] == 0.1
    assert found.sale_eur_per_kwh[17] == pytest.approx(0.1 + 1e-4)


def test_extension_takes_the_same_local_hour_across_a_change_of_the_clocks() -> None:
    start = datetime(2024, 10, 26, tzinfo=ROME).astimezone(UTC)
    hourly = values(Quantity.SALE_PRICE, [float(h) for h in range(24) for _ in range(4)], start=start)
    at_ten = datetime(2024, 10, 27, 10, tzinfo=ROME).astimezone(UTC)
    assert extended(hourly, at_ten, STEP_S, 1, ROME)[0] == 10.0


def test_finer_series_are_averaged_and_uncovered_steps_are_not_known() -> None:
    fine = values(Quantity.LOAD, [0.0]).model_copy(update={"step_s": 300, "values": (1.0, 2.0, 6.0, 4.0)})
    found = on_steps(fine, T0, STEP_S, 2)
    assert found[0] == pytest.approx(3.0)
    assert str(found[1]) == "nan"


def test_without_prices_there_is_no_problem_but_a_reason() -> None:
    ems = Ems(site())
    plan = ems.plan_at(turn(T0), [])
    assert plan.status == "safe_rule"
    assert isinstance(found := ems.problem_at(turn(T0)), Unplannable)
    assert found.reason == plan.reason
    assert "purchase_price" in found.reason


def load_meter(power_kw: float) -> list[Received]:
    return [
        birth(Kind.METER, "building", MeterNameplate(role=MeterRole.LOAD)),
        received(Kind.METER, "building", Channel.TELEMETRY, MeterTelemetry(power_kw=power_kw)),
    ]


def forecast(load_kw: float = 20.0, pv_kw: float = 5.0, **more: Any) -> Received:
    series = (
        values(Quantity.LOAD, [load_kw] * 192, "building"),
        values(Quantity.PV, [pv_kw] * 192, "pv"),
    )
    return received(Kind.FORECAST, "forecast", Channel.SERIES, Series(series=series, **more))


def test_load_is_measured_now_and_forecast_later() -> None:
    found = problem(T0, prices(), forecast(), *load_meter(33.0))
    assert found.load_kw[:3] == (33.0, 20.0, 20.0)


def test_without_load_meter_the_load_is_pcc_minus_devices_minus_losses() -> None:
    """41 kW at the PCC, BESS discharging 7, PV producing 4, losses 2: 41 + 7 + 4 - 2 = 50 kW."""
    inbox = [
        birth(Kind.BESS, "bess", BESS_PLATE),
        birth(Kind.PV, "pv", PvNameplate(rated_kw=10, curtailable=False)),
        birth(Kind.NETWORK, "network", MeterNameplate(role=MeterRole.PCC)),
        received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=-7, soc_frac=0.5)),
        received(Kind.PV, "pv", Channel.TELEMETRY, PvTelemetry(power_kw=-4, available_kw=6)),
        pcc(41.0, 2.0),
    ]
    found = problem(T0, prices(), forecast(), *inbox)
    assert found.load_kw[:2] == (50.0, 20.0)
    assert found.losses_kw == (2.0,) * 96
    assert found.pv[0].available_kw[:2] == (6.0, 5.0)


def test_a_device_that_said_offline_or_that_is_silent_in_this_cycle_is_not_planned_with() -> None:
    ems = Ems(site())
    told = received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0, soc_frac=0.5))
    inbox = [prices(), birth(Kind.BESS, "bess", BESS_PLATE), told]
    assert "bess" in ems.plan_at(turn(T0, n=1), inbox).devices
    assert "bess" not in ems.plan_at(turn(T0, n=2), []).devices
    gone = received(Kind.BESS, "bess", Channel.STATE, State(state=Presence.OFFLINE))
    assert "bess" not in ems.plan_at(turn(T0, n=3), [told, gone]).devices
    # Its next life is another boot.
    told_again = received(Kind.BESS, "bess", Channel.TELEMETRY, told.body, boot="b2")
    assert "bess" in ems.plan_at(turn(T0, n=4), [birth(Kind.BESS, "bess", BESS_PLATE, "b2"), told_again]).devices


def test_wall_time_plans_with_telemetry_younger_than_three_periods() -> None:
    ems = Ems(site())
    told = received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0, soc_frac=0.5), ts=T0)
    ems.plan_at(turn(T0, mode=TimeMode.WALL), [prices(), birth(Kind.BESS, "bess", BESS_PLATE), told])
    for seconds, there in ((29, True), (30, False)):
        later = turn(T0 + timedelta(seconds=seconds), mode=TimeMode.WALL)
        assert ("bess" in ems.plan_at(later, []).devices) is there


def test_wish_for_the_battery_stands_at_every_local_midnight_in_the_window() -> None:
    told = received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0, soc_frac=0.5))
    found = problem(
        T0 + timedelta(hours=12), prices(), birth(Kind.BESS, "bess", BESS_PLATE), told, horizon="rolling", rolling_h=36
    )
    assert [(wish.step, wish.energy_kwh) for wish in found.bess[0].wishes] == [(47, 34.0), (143, 34.0)]


def test_peak_of_the_month_is_the_highest_mean_import_between_decisions() -> None:
    """10 kWh in a quarter of an hour are 40 kW."""
    tariff = site().tariff.model_copy(update={"demand_charge_eur_per_kw": 3.0})
    ems = Ems(site().model_copy(update={"tariff": tariff}))
    network = birth(Kind.NETWORK, "network", MeterNameplate(role=MeterRole.PCC))
    for step, register in enumerate((100.0, 110.0, 112.0)):
        time = T0 + timedelta(seconds=STEP_S * step)
        told = pcc(8.0, energy_import_kwh=register, energy_export_kwh=0.0)
        told = received(Kind.NETWORK, "network", Channel.TELEMETRY, told.body, ts=time)
        ems.plan_at(turn(time, n=step), [prices(), network, told])
    found = ems.problem_at(turn(T0 + timedelta(seconds=2 * STEP_S), n=2))
    assert isinstance(found, Problem)
    assert found.month_peak_kw == pytest.approx(40.0)
    assert found.prices.demand_eur_per_kw == 3.0


# Sessions


DAY = Window(T0, STEP_S, 96)


def at(hours: float) -> Window:
    start = T0 + timedelta(hours=hours)
    return Window(start, STEP_S, int((24 - hours) * 4))


def test_plugged_car_replaces_the_session_that_was_expected() -> None:
    car = vehicle(0.7, NINE, SIX - timedelta(hours=1))
    (stay,) = stays_of(charger_plate(), car, [session("ev1", NINE, SIX)], at(10))
    assert (stay.departure, stay.energy_kwh) == (SIX - timedelta(hours=1), 0.7 * CAR_KWH)


def test_another_car_that_is_expected_later_follows_the_plugged_one() -> None:
    car = vehicle(0.7, NINE, SIX)
    evening = session("ev1", SIX - timedelta(minutes=5), SIX + timedelta(hours=2), vehicle="other")
    stays = stays_of(charger_plate(), car, [evening], at(10))
    assert [stay.arrival for stay in stays] == [T0 + timedelta(hours=10), SIX]


def test_a_session_that_should_have_begun_is_expected_for_the_next_step() -> None:
    (stay,) = stays_of(charger_plate(), None, [session("ev1", NINE, SIX)], at(10))
    assert stay.arrival == T0 + timedelta(hours=10, minutes=15)
    assert stays_of(charger_plate(), None, [session("ev1", NINE, SIX)], at(17.75)) == ()


def test_a_car_that_left_early_is_not_expected_back() -> None:
    """It says nothing any more, and its expected session would only be a shortfall that nobody can mend."""
    session_of_the_day = Series(
        charging_sessions=(session("ev1", NINE, SIX), session("ev1", SIX, SIX + timedelta(hours=2)))
    )
    ems = Ems(site())
    plug = [
        prices(),
        received(Kind.FORECAST, "forecast", Channel.SERIES, session_of_the_day),
        birth(Kind.CHARGER, "ev1", charger_plate()),
    ]
    car = vehicle(0.7, NINE + timedelta(minutes=3), SIX)
    for n, plugged in enumerate([car, None]):
        body = ChargerTelemetry(power_kw=0.0, vehicle=plugged)
        time = T0 + timedelta(hours=12, minutes=15 * n)
        ems.plan_at(turn(time, n=n), [*plug, received(Kind.CHARGER, "ev1", Channel.TELEMETRY, body, ts=time)])
        plug = []
    found = ems.problem_at(turn(T0 + timedelta(hours=12, minutes=15), n=1))
    assert isinstance(found, Problem)
    assert [stay.arrival for stay in found.chargers[0].stays] == [SIX], "the evening's car still comes"


def test_a_car_that_stays_on_is_expected_to_leave_at_the_end_of_the_step() -> None:
    (stay,) = stays_of(charger_plate(), vehicle(0.7, NINE, SIX), [], at(19))
    assert stay.departure == T0 + timedelta(hours=19, minutes=15)


def test_a_charger_that_is_not_controllable_is_a_load_until_its_target() -> None:
    """57.68 kWh from 0.69709 to 0.76680 at 23.24 kW and 0.90066: 4.0208 / 20.932 h = 11.53 minutes."""
    stays = stays_of(charger_plate(controllable=False), vehicle(CAR_ARRIVES_FRAC, NINE, SIX), [], at(9))
    power = uncontrolled_power(charger_plate(), stays, at(9))
    assert power[0] * 0.25 * CAR_EFFICIENCY == pytest.approx(0.1 * CAR_ARRIVES_FRAC * CAR_KWH)
    assert set(power[1:]) == {0.0}


CAR_ARRIVES_FRAC = 0.69709


def test_power_of_a_step_scales_with_the_part_in_which_the_car_is_plugged() -> None:
    stay = session("ev1", NINE + timedelta(minutes=5), NINE + timedelta(minutes=36))
    expected = forecast(charging_sessions=(stay,))
    told = received(Kind.CHARGER, "ev1", Channel.TELEMETRY, ChargerTelemetry(power_kw=0))
    found = problem(T0, prices(), expected, birth(Kind.CHARGER, "ev1", charger_plate()), told)
    (store,) = stores_of(found, places_of(found), (1,))
    assert store.plugged_frac[36:40].tolist() == pytest.approx([10 / 15, 1.0, 6 / 15, 0.0])
    assert store.charge_max_kw[38] == pytest.approx(0.4 * 23.240405)
    assert store.lower_kwh[38] == pytest.approx(1.1 * CAR_ARRIVES_FRAC * CAR_KWH), "the target, by the departure"
    assert store.leaves.nonzero()[0].tolist() == [39]
