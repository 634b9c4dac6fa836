"""Vehicles of which little is known: planned with what the charger counted and the site assumes, or left alone."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import (
    Birth,
    ChargerTelemetry,
    DevicePlan,
    Fallback,
    Phase,
    Plan,
    PlanStatus,
    PluggedVehicle,
    Provenance,
    Quantity,
    Series,
    Setpoint,
    Stamp,
    TimeMode,
    VehicleValue,
)
from schemas.participant import Received
from schemas.site import AssumedVehicle, Charger, Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode, encode
from services.ems.participant import Ems
from tests.ems.small_site import CAR_EFFICIENCY, CAR_KW, STEP_S, T0, charger_plate, received, turn, values
from tests.ems.small_site import site as small_site

NINE, TEN, SIX = (datetime(2024, 5, 17, hour - 2, tzinfo=UTC) for hour in (9, 10, 18))
"""Local hours."""
RISING = tuple(0.1 + 0.002 * step for step in range(96))
ASSUME = AssumedVehicle.model_validate(
    {"capacity_kwh": 50.0, "arrival_soc_frac": 0.4, "energy_wanted_kwh": 12.0, "departure": "18:00"}
)
FULL: dict[str, Any] = {
    "vehicle": "car",
    "soc_frac": 0.55,
    "capacity_kwh": 60.0,
    "arrival": NINE,
    "arrival_soc_frac": 0.5,
    "departure": SIX,
    "target_soc_frac": 0.8,
    "energy_wanted_kwh": 20.0,
    "soc_min_frac": 0.3,
    "soc_max_frac": 0.9,
    "max_charge_kw": 11.0,
    "max_discharge_kw": 7.0,
    "charged_kwh": 4.0,
    "discharged_kwh": 0.5,
}


def site(assume: AssumedVehicle | None = None, **options: Any) -> Site:
    plain = small_site(**options)
    return plain.model_copy(
        update={
            "devices": {**plain.devices, "ev1": Charger(max_charge_kw=CAR_KW, assume=assume, fallback="uncontrolled")}
        }
    )


class Desk:
    """An EMS with one charger, prices that rise through the day, and what it publishes."""

    def __init__(self, described: Site, fallback: Fallback = Fallback.UNCONTROLLED, **plate: Any) -> None:
        self.site = described
        self.ems = Ems(described)
        birth = Birth(
            nameplate=charger_plate(**plate),
            telemetry_period_s=10.0,
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            fallback=fallback,
            software="test",
        )
        prices = tuple(values(quantity, RISING) for quantity in (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE))
        self.waiting = [
            received(Kind.CHARGER, "ev1", Channel.BIRTH, birth),
            received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices)),
        ]
        self.n = 0
        self.kwh = 0.0

    def decide(self, t: datetime, car: PluggedVehicle | None, power_kw: float = 0.0, kwh: float | None = 0.0) -> Plan:
        """The plan at ``t``; ``kwh`` stands in the register of import."""
        self.n += 1
        body = ChargerTelemetry(
            power_kw=power_kw,
            energy_import_kwh=kwh,
            energy_export_kwh=None if kwh is None else 0.0,
            vehicle=car,
        )
        topic = Topic("small", Kind.CHARGER, "ev1", Channel.TELEMETRY)
        # As it comes over the wire.
        stamp, read = decode(topic, encode(Stamp(ts=t, boot="b1", seq=self.n), body))
        inbox = [*self.waiting, Received(topic, stamp, read)]
        self.waiting = []
        sent = self.ems.act(turn(t, Phase.DECIDE, self.n), inbox)
        self.setpoints = {m.topic.device: m.body for m in sent if isinstance(m.body, Setpoint)}
        (plan,) = (message for message in sent if isinstance(message.body, Plan))
        assert decode(plan.topic, encode(Stamp(ts=t, boot="ems", seq=1), plan.body))
        # It goes on from its checkpoint.
        again = Ems(self.site)
        again.restore(json.loads(json.dumps(self.ems.snapshot())))
        self.ems = again
        assert isinstance(plan.body, Plan)
        return plan.body


def charged(plan: DevicePlan) -> float:
    return sum(max(power, 0.0) for power in plan.power_kw) * STEP_S / 3600


def net(plan: DevicePlan) -> float:
    """Change of the energy in store [kWh]."""
    step_h = STEP_S / 3600
    return sum(p * step_h * (CAR_EFFICIENCY if p > 0 else 1 / CAR_EFFICIENCY) for p in plan.power_kw)


def assumed(plan: DevicePlan) -> dict[str, Any]:
    return {str(each.value): each.number if each.time is None else each.time for each in plan.assumptions or ()}


def test_of_a_car_that_says_nothing_the_energy_wanted_is_charged_until_the_assumed_hour() -> None:
    plan = Desk(site(AssumedVehicle(energy_wanted_kwh=12.0, departure="18:00"))).decide(NINE, PluggedVehicle())
    device = plan.devices["ev1"]
    assert net(device) == approx(12.0 * CAR_EFFICIENCY, abs=1e-6)
    assert assumed(device) == {"energy_wanted_kwh": 12.0, "departure": SIX}
    assert device.soc_frac is not None and set(device.soc_frac) == {None}, "nothing is known of a SOC"
    assert all(power == 0 for power in device.power_kw[36:]), "it has left"
    assert device.left_to_fallback is None
    assert plan.shortfalls == ()


def test_what_was_counted_is_not_wanted_any_more() -> None:
    desk = Desk(site(AssumedVehicle(energy_wanted_kwh=12.0, duration_h=9.0)), max_discharge_kw=0.0)
    desk.decide(NINE, PluggedVehicle())
    plan = desk.decide(TEN, PluggedVehicle(charged_kwh=5.0), kwh=5.0)
    assert charged(plan.devices["ev1"]) == approx(7.0, abs=1e-6)
    assert assumed(plan.devices["ev1"])["departure"] == SIX, "nine hours after it was first seen"


def test_without_counters_the_registers_count() -> None:
    desk = Desk(site(AssumedVehicle(energy_wanted_kwh=12.0, departure="18:00")), max_discharge_kw=0.0)
    desk.decide(T0, None, kwh=4_000.0)
    desk.decide(NINE, PluggedVehicle(), kwh=4_001.0)
    plan = desk.decide(TEN, PluggedVehicle(), kwh=4_004.0)
    assert charged(plan.devices["ev1"]) == approx(9.0, abs=1e-6)
    # Another car: it begins with nothing.
    desk.decide(TEN + timedelta(minutes=15), None, kwh=4_004.0)
    plan = desk.decide(TEN + timedelta(minutes=30), PluggedVehicle(), kwh=4_004.0)
    assert charged(plan.devices["ev1"]) == approx(12.0, abs=1e-6)


def test_the_soc_follows_from_the_assumption_and_what_was_counted() -> None:
    device = Desk(site(ASSUME)).decide(NINE, PluggedVehicle(charged_kwh=5.0)).devices["ev1"]
    assert device.soc_frac is not None and device.soc_frac[0] is not None
    first_kwh = device.power_kw[0] * STEP_S / 3600
    first_kwh *= CAR_EFFICIENCY if first_kwh > 0 else 1 / CAR_EFFICIENCY
    assert device.soc_frac[0] == approx(0.4 + (5.0 * CAR_EFFICIENCY + first_kwh) / 50.0, abs=1e-9)
    assert device.soc_frac[35] == approx(0.4 + 12.0 * CAR_EFFICIENCY / 50.0, abs=1e-6)
    assert assumed(device).keys() == {"capacity_kwh", "arrival_soc_frac", "energy_wanted_kwh", "departure"}


def test_no_v2g_gives_back_more_than_was_counted_unless_the_soc_is_measured() -> None:
    """Selling in the morning and buying back would pay: with its own energy a car does that by a measured SOC only."""
    cheap_later = AssumedVehicle(capacity_kwh=60.0, arrival_soc_frac=0.5, target_soc_frac=0.5, departure="18:00")

    def lowest(car: PluggedVehicle) -> float:
        desk = Desk(site(cheap_later))
        falling = tuple(reversed(RISING))
        prices = tuple(values(quantity, falling) for quantity in (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE))
        desk.waiting[1] = received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices))
        device = desk.decide(NINE, car).devices["ev1"]
        assert device.soc_frac is not None
        return min(soc for soc in device.soc_frac if soc is not None)

    assert lowest(PluggedVehicle(charged_kwh=4.0)) == approx(0.5, abs=1e-7), "down to what it held on arrival"
    stated = PluggedVehicle(soc_frac=0.56, charged_kwh=4.0, sources={VehicleValue.SOC: Provenance.STATED})
    assert lowest(stated) == approx(0.56 - 4.0 * CAR_EFFICIENCY / 60.0, abs=1e-7)
    uncounted = PluggedVehicle(soc_frac=0.56, sources={VehicleValue.SOC: Provenance.ASSUMED})
    assert lowest(uncounted) == approx(0.56, abs=1e-7)
    assert lowest(PluggedVehicle(soc_frac=0.56, charged_kwh=4.0)) == approx(0.0, abs=1e-7), "measured"


def test_a_car_of_which_nothing_is_known_is_left_to_the_fallback_and_the_plan_says_so() -> None:
    desk = Desk(site())
    device = desk.decide(NINE, PluggedVehicle()).devices["ev1"]
    assert desk.setpoints == {}
    assert device.left_to_fallback == (
        "a vehicle is plugged, and its departure and the energy that it wants are neither known nor assumed: "
        "the charger's fallback is uncontrolled"
    )
    assert set(device.power_kw) == {CAR_KW}, "it may draw its most"
    drawing = desk.decide(NINE + timedelta(minutes=15), PluggedVehicle(), power_kw=7.4, kwh=1.0)
    assert set(drawing.devices["ev1"].power_kw) == {7.4}
    full = desk.decide(NINE + timedelta(minutes=30), PluggedVehicle(), power_kw=0.0, kwh=2.0)
    assert set(full.devices["ev1"].power_kw) == {0.0}
    desk.decide(NINE + timedelta(minutes=45), None, kwh=2.0)
    assert desk.setpoints["ev1"].power_kw == 0.0, "without a car it is planned again"


def test_the_forecast_of_an_unknown_car_goes_by_the_fallback() -> None:
    for fallback, expected in ((Fallback.IDLE, 0.0), (Fallback.HOLD, 3.0)):
        device = Desk(site(), fallback).decide(NINE, PluggedVehicle(), power_kw=3.0).devices["ev1"]
        assert set(device.power_kw) == {expected}
        assert str(fallback) in (device.left_to_fallback or "")
    leaves = Desk(site(AssumedVehicle(departure="10:00"))).decide(NINE, PluggedVehicle(max_charge_kw=3.7))
    assert leaves.devices["ev1"].power_kw[:5] == (3.7, 3.7, 3.7, 3.7, 0.0)


def test_a_plan_that_is_gone_on_with_leaves_alone_whom_it_left_alone() -> None:
    desk = Desk(site())
    desk.decide(NINE, PluggedVehicle())
    later = NINE + timedelta(minutes=15)
    prices = values(Quantity.PURCHASE_PRICE, RISING, start=T0 + timedelta(days=1))
    desk.waiting = [received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=(prices,)))]  # none for now
    plan = desk.decide(later, PluggedVehicle())
    assert plan.status is PlanStatus.PREVIOUS
    assert plan.devices["ev1"].left_to_fallback is not None
    assert desk.setpoints == {}


@given(
    given_values=st.sets(st.sampled_from(sorted(FULL))),
    source=st.sampled_from([None, *Provenance]),
    assume=st.sampled_from([None, ASSUME, AssumedVehicle(duration_h=2.0), AssumedVehicle(capacity_kwh=40.0)]),
    controllable=st.booleans(),
    registers=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_car_says_there_is_a_plan_that_can_be_read(
    given_values: set[str],
    source: Provenance | None,
    assume: AssumedVehicle | None,
    *,
    controllable: bool,
    registers: bool,
) -> None:
    sources = None if source is None else {value: source for value in VehicleValue if value in given_values}
    car = PluggedVehicle(**{name: FULL[name] for name in given_values}, sources=sources)
    desk = Desk(site(assume), controllable=controllable)
    for step, kwh in enumerate((0.0, 1.5)):
        plan = desk.decide(TEN + step * timedelta(minutes=15), car, kwh=kwh if registers else None)
        device = plan.devices["ev1"]
        assert (device.left_to_fallback is None and controllable) == ("ev1" in desk.setpoints)
        measured = "soc_frac" in given_values and source in (None, Provenance.MEASURED)
        if not measured and controllable and device.left_to_fallback is None:
            counted = FULL["charged_kwh"] if "charged_kwh" in given_values else kwh if registers else 0.0
            given_back, level = 0.0, counted * CAR_EFFICIENCY
            for power in device.power_kw:
                level += power * STEP_S / 3600 * (CAR_EFFICIENCY if power > 0 else 1 / CAR_EFFICIENCY)
                given_back = min(given_back, level)
            assert given_back >= -1e-6, "more was given back than was counted"
        soc_known = {"soc_frac", "capacity_kwh"} <= given_values or assume is ASSUME
        if not soc_known and device.soc_frac is not None and assume is None and "arrival_soc_frac" not in given_values:
            assert set(device.soc_frac) == {None}
