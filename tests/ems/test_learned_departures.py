"""Departures learned from the sessions that the EMS has seen."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from schemas.cycle import Course
from schemas.messages import ChargerNameplate, ChargerTelemetry, DepartedVehicle, PluggedVehicle, VehicleValue
from schemas.site import LearnedDepartures
from services.ems.charging_sessions import PlannedTime, Policy, sessions_of
from services.ems.departure_history import MOST_SESSIONS, DepartureHistory
from services.ems.system_state import Counted

ROME = ZoneInfo("Europe/Rome")
HOUR = timedelta(hours=1)


def at(day: int, hour: float) -> datetime:
    """Local hour of a day counted from Monday 1 October 2018, in UTC."""
    return datetime(2018, 9, 30, 22, tzinfo=UTC) + timedelta(days=day, hours=hour)


def history(leave_frac: float = 0.2, least: int = 10) -> DepartureHistory:
    return DepartureHistory(LearnedDepartures(leave_frac=leave_frac, least_sessions=least), ROME)


def filled(leave_frac: float = 0.2) -> DepartureHistory:
    """On 20 working days: five that come at 8 and stay 1, 3, 5, 7, 9 h, three that come at 18 and stay 2 h."""
    found = history(leave_frac)
    for day in [d for d in range(-28, 0) if d % 7 < 5]:
        for stay in (1, 3, 5, 7, 9):
            found.add(None, at(day, 8), at(day, 8 + stay), at(day, 16))
        for _ in range(3):
            found.add(None, at(day, 18), at(day, 20), None)
    return found


def test_too_few_sessions_say_nothing() -> None:
    empty = history()
    for day in range(9):
        empty.add(None, at(day, 8), at(day, 12), None)
    assert empty.planned(None, at(10, 8), None, at(10, 8)) is None
    empty.add(None, at(9, 8), at(9, 12), None)
    assert empty.planned(None, at(10, 8), None, at(10, 8)) == at(10, 12)


@pytest.mark.parametrize(("leave_frac", "stay_h"), [(0.1, 1), (0.3, 3), (0.5, 5), (0.7, 7), (0.9, 9)])
def test_the_departure_is_the_quantile_of_sessions_like_it(leave_frac: float, stay_h: float) -> None:
    assert filled(leave_frac).planned(None, at(0, 8), at(0, 16), at(0, 8)) == at(0, 8 + stay_h)


def test_the_longer_a_vehicle_stays_the_later_it_is_expected_to_leave() -> None:
    found = filled(0.2)
    planned = [found.planned(None, at(0, 8), at(0, 16), at(0, 8 + there)) for there in (0, 1.5, 3.5, 5.5, 7.5)]
    assert planned == [at(0, hour) for hour in (9, 11, 13, 15, 17)]
    assert found.planned(None, at(0, 8), at(0, 16), at(0, 17.5)) is None  # none has stayed so long


def test_the_hour_of_arrival_tells_sessions_apart() -> None:
    assert filled(0.9).planned(None, at(0, 18), None, at(0, 18)) == at(0, 20)


def test_the_weekend_is_another_kind_of_day() -> None:
    found = filled(0.5)
    for week in range(-10, 0):
        for _ in range(6):
            found.add(None, at(7 * week + 5, 8.5), at(7 * week + 5, 9), at(7 * week + 5, 16.5))
    assert found.planned(None, at(5, 8), at(5, 16), at(5, 8)) == at(5, 8.5)
    assert found.planned(None, at(0, 8), at(0, 16), at(0, 8)) == at(0, 13)


def test_a_vehicle_that_is_known_is_planned_by_its_own_sessions() -> None:
    found = filled(0.5)
    for day in range(-10, 0):
        found.add("fiat", at(day, 8), at(day, 8.75), at(day, 16))
    assert found.planned("fiat", at(0, 8), at(0, 16), at(0, 8)) == at(0, 8.75)
    assert found.planned("audi", at(0, 8), at(0, 16), at(0, 8)) > at(0, 9)  # type: ignore[operator]


def test_it_is_bounded_and_survives_as_json() -> None:
    found = history()
    for i in range(MOST_SESSIONS + 50):
        found.add(None, at(0, i / 10), at(0, i / 10 + 1 + i % 7), None)
    state = json.loads(json.dumps(found.snapshot()))
    assert len(state) == MOST_SESSIONS
    again = history()
    again.restore(state)
    assert again.snapshot() == found.snapshot()
    question = None, at(80, 8), None, at(80, 8)
    assert again.planned(*question) == found.planned(*question)


def test_a_car_that_says_nothing_of_its_departure_is_planned_once_others_have_left() -> None:
    plate = ChargerNameplate(max_charge_kw=11.0, charge_efficiency=0.9, discharge_efficiency=0.9)
    car = PluggedVehicle(energy_wanted_kwh=8.0, charged_kwh=0.0, arrival=at(0, 8))
    planned = PlannedTime(at(0, 8), at(0, 8.25), at(1, 0))
    unknown = sessions_of(plate, car, Counted(at(0, 8), 0.0, 0.0), [], planned, Policy(None, ROME))
    assert unknown.stays == ()
    assert "its departure is neither known nor assumed" in (unknown.unplannable or "")
    learned = sessions_of(plate, car, Counted(at(0, 8), 0.0, 0.0), [], planned, Policy(None, ROME, filled(0.5)))
    (stay,) = learned.stays
    assert stay.departure == at(0, 13)
    (assumption,) = [each for each in learned.assumptions if each.value is VehicleValue.DEPARTURE]
    assert assumption.time == at(0, 13)


@pytest.mark.parametrize(
    ("announced", "now", "leaves"),
    [
        (at(0, 16), at(0, 8), at(0, 13)),  # learned is earlier
        (at(0, 9), at(0, 8), at(0, 9)),  # announced is earlier
        (at(0, 9), at(0, 9.5), at(0, 13)),  # announced has passed: of those that stayed longer than 1.5 h the median
    ],
)
def test_the_announced_departure_holds_while_it_lies_ahead_and_is_the_earlier(
    announced: datetime, now: datetime, leaves: datetime
) -> None:
    plate = ChargerNameplate(max_charge_kw=11.0, charge_efficiency=0.9, discharge_efficiency=0.9)
    car = PluggedVehicle(energy_wanted_kwh=8.0, charged_kwh=0.0, arrival=at(0, 8), departure=announced)
    planned = PlannedTime(now, now + HOUR / 4, at(1, 0))
    found = sessions_of(plate, car, Counted(at(0, 8), 0.0, 0.0), [], planned, Policy(None, ROME, filled(0.5)))
    assert [stay.departure for stay in found.stays] == [leaves]


def telemetry(vehicle: PluggedVehicle | None, departed: tuple[DepartedVehicle, ...] | None = None) -> ChargerTelemetry:
    return ChargerTelemetry(power_kw=0.0, vehicle=vehicle, departed=departed)


def test_sessions_are_seen_in_telemetry_whether_the_charger_says_when_they_ended_or_not() -> None:
    found = history()
    car = PluggedVehicle(vehicle="fiat", arrival=at(0, 8), departure=at(0, 16))
    found.learn(telemetry(car), at(0, 8), telemetry(car), at(0, 9))
    assert found.snapshot() == []
    left = DepartedVehicle(vehicle="fiat", arrival=at(0, 8), departure=at(0, 16), left=at(0, 10.5))
    found.learn(telemetry(car), at(0, 8), telemetry(None, (left,)), at(0, 11))
    assert found.snapshot()[-1] == ["fiat", at(0, 8).isoformat(), 2.5, 8.0]
    silent = PluggedVehicle()  # an ordinary AC car: the session began when it was first seen
    found.learn(telemetry(silent), at(0, 12), telemetry(None), at(0, 14))
    assert found.snapshot()[-1] == [None, at(0, 12).isoformat(), 2.0, None]
    found.learn(None, None, telemetry(None), at(0, 15))
    found.learn(telemetry(None), None, telemetry(car), at(0, 16))
    assert len(found.snapshot()) == 2
    found.add("clock", at(0, 8), at(0, 7), None)  # left before it came: a clock is wrong
    assert len(found.snapshot()) == 2


def test_a_day_planned_with_learned_departures_says_what_it_assumes() -> None:
    from schemas.messages import Plan
    from schemas.participant import Received
    from sites.loader import load_site
    from twinswarm.simulation.in_memory import run_in_memory
    from twinswarm.simulation.seen_sessions import having_seen

    whole = load_site("carpark")
    devices = {name: whole.devices[name] for name in ("office", "cp01", "cp05")}
    update = {"devices": devices, "ems": whole.ems.model_copy(update={"cable_limits": ()})}
    site = whole.model_copy(update=update)
    options = LearnedDepartures(least_sessions=10)
    learning = site.model_copy(update={"ems": site.ems.model_copy(update={"learned_departures": options})})
    start = datetime(2018, 5, 21, 10, tzinfo=UTC)
    assert having_seen(site, start) == {}
    seen = having_seen(learning, start)
    assert len(seen["ems"]["state"]["departures"]) > 10
    plans: list[Plan] = []

    def keep(received: Received) -> None:
        if isinstance(received.body, Plan):
            plans.append(received.body)

    run_in_memory(learning, Course(start, start + HOUR, 900), None, on_message=keep, learned=seen)
    assert len(plans) == 4
    assumed = [
        each
        for plan in plans
        for device in plan.devices.values()
        for each in device.assumptions or ()
        if each.value is VehicleValue.DEPARTURE
    ]
    assert assumed
    assert all(each.time is not None and each.time > start for each in assumed)
