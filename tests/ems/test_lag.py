"""Dead time and ramp of a charger: the birth states them, and what the plan promises by departure is there then."""

from datetime import datetime

import pytest

from schemas.cycle import Course
from schemas.messages import ChargerNameplate, ChargerTelemetry
from schemas.site import Charger, Site
from services.ems.lag import lag_s, with_lag
from services.ems.problem import Stay
from tests.twins.builders import T0, at, bess, charger, site, stay
from twinswarm.study.day import Day, live_through

COURSE = Course(T0, at("18:00"), 900)


def late_and_cheap(**changes: object) -> Site:
    """A car of 50 kWh that wants 22.5 kWh more, 2.5 h at 10 kW and η = 0.9; the later, the cheaper."""
    wanted = stay(arrival=at("09:00"), departure=at("17:00"), arrival_soc_frac=0.3, target_soc_frac=0.75)
    described = charger(max_charge_kw=10.0, max_discharge_kw=0.0, sessions=[wanted]) | changes
    own = site({"ev": described})
    prices = own.profiles["price"].model_copy(update={"values": tuple(0.3 - 0.002 * i for i in range(96))})
    return own.model_copy(update={"profiles": {**own.profiles, "price": prices}})


def lived(own: Site, *, plan_device_lag: bool) -> Day:
    ems = own.ems.model_copy(update={"plan_device_lag": plan_device_lag})
    return live_through(own.model_copy(update={"ems": ems}), COURSE)


@pytest.mark.parametrize(
    ("delays", "short_kwh"),
    [
        ({"dead_time_s": 120.0}, 10 * 0.9 * 120 / 3600),
        ({"ramp_kw_per_s": 0.05}, 0.9 * 10**2 / (2 * 0.05) / 3600),
        ({"dead_time_s": 60.0, "ramp_kw_per_s": 0.1}, 10 * 0.9 * 60 / 3600 + 0.9 * 10**2 / (2 * 0.1) / 3600),
    ],
)
def test_a_target_that_can_be_reached_is_reached(delays: dict[str, float], short_kwh: float) -> None:
    """By hand: a plan that knows of no delay loses the rise once, P·d for a dead time and P²/(2r) for a ramp."""
    own = late_and_cheap(**delays)
    unaware = lived(own, plan_device_lag=False)
    assert unaware.departure_shortfall_kwh == pytest.approx(short_kwh, rel=0.05)
    aware = lived(own, plan_device_lag=True)
    assert aware.departure_shortfall_kwh == pytest.approx(0.0, abs=2e-3)
    assert aware.cost_eur == pytest.approx(unaware.cost_eur, abs=0.25 * short_kwh + 0.05)


def test_without_delays_nothing_changes() -> None:
    own = late_and_cheap()
    assert lived(own, plan_device_lag=True) == lived(own, plan_device_lag=False)


def test_the_birth_states_the_ramp() -> None:
    assert Charger(max_charge_kw=10.0, ramp_kw_per_s=0.3).nameplate.ramp_kw_per_s == 0.3
    own = site({"battery": bess(ramp_kw_per_s=0.7)})
    assert getattr(own.devices["battery"].nameplate, "ramp_kw_per_s", None) == 0.7


def test_what_flows_until_a_set_point_takes_effect_counts() -> None:
    """30 s of dead time and 9 kW along 0.25 kW/s, 18 s in the mean: 0.108 kWh at η = 0.9."""
    plate = ChargerNameplate(
        max_charge_kw=10.0,
        max_discharge_kw=10.0,
        charge_efficiency=0.9,
        discharge_efficiency=0.8,
        dead_time_s=30.0,
        ramp_kw_per_s=0.25,
    )
    assert lag_s(30.0, 0.25, 10.0) == pytest.approx(50.0)
    here = Stay("car", at("09:00"), at("17:00"), 50.0, 20.0, 40.0, 19.9, 45.0, 20.0, 20.0)
    later = Stay("car", at("12:00"), at("17:00"), 50.0, 20.0, 40.0, 19.9, 45.0, 20.0, 20.0)

    def begun(stays: tuple[Stay, ...], power_kw: float, start: datetime) -> list[float]:
        vehicle = {"vehicle": "car", "arrival": at("09:00")}
        telemetry = ChargerTelemetry.model_validate({"power_kw": power_kw, "vehicle": vehicle})
        return [stay.energy_kwh for stay in with_lag(stays, plate, telemetry, start)]

    assert begun((here,), 9.0, at("10:00")) == pytest.approx([20.108])
    assert begun((here,), -9.0, at("10:00")) == pytest.approx([19.9])  # its minimum: 19.85 would be below
    assert begun((later,), 9.0, at("10:00")) == pytest.approx([20.0])
    # Ten seconds before it leaves only these count.
    assert begun((here,), 9.0, at("16:59:50")) == pytest.approx([20.0 + 9 * 0.9 * 10 / 3600])
