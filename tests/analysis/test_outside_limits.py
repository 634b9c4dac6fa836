"""Limits from outside in a recorded run: energy above them, by hand calculation."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pytest import approx

from schemas.messages import Limit, Stamp
from schemas.participant import Received
from schemas.topics import Channel, Kind, Topic
from services.analysis.outside_limits import outside_limits
from services.analysis.quarters import Quarter

T0 = datetime(2024, 5, 17, 8, tzinfo=UTC)
LENGTH = timedelta(minutes=15)


def at(quarters: float) -> datetime:
    return T0 + quarters * LENGTH


def quarter(index: int, pcc_kw: float | None, **power_kw: float | None) -> Quarter:
    return Quarter(at(index), LENGTH, pcc_kw, None, None, power_kw, {}, None)


def limit(sent: float, **fields: Any) -> Received:
    body = Limit.model_validate({"source": "grid operator", "valid_from": T0} | fields)
    return Received(Topic("s", Kind.LIMITER, "box", Channel.LIMIT), Stamp(ts=at(sent), boot="b", seq=1), body)


def test_energy_above_a_limit_counts_in_quarters_in_which_it_was_known_and_held_all_the_time() -> None:
    """Known from 0.5 on, valid until 4: quarters 1, 2 and 3. 4 kW and 2 kW above it for a quarter-hour: 1.5 kWh."""
    quarters = [quarter(i, kw) for i, kw in enumerate((99.0, 24.0, 22.0, 15.0, 99.0))]
    (found,) = outside_limits([limit(0.5, import_kw=20.0, valid_until=at(4))], quarters, {})
    assert found.exceeded_kwh == approx(1.5)
    assert (found.scope, found.direction, found.sources) == ("pcc", "import", ("grid operator",))
    assert (found.start, found.end, found.exceeded_quarters) == (at(1), at(4), 2)


def test_export_and_groups_have_limits_of_their_own_and_what_is_not_known_is_said() -> None:
    quarters = [quarter(0, -12.0, ev1=5.0, ev2=8.0), quarter(1, None, ev1=5.0, ev2=None)]
    messages = [limit(0, export_kw=10.0), limit(0, group="cars", import_kw=11.0)]
    messages[1] = Received(Topic("s", Kind.LIMITER, "other", Channel.LIMIT), messages[1].stamp, messages[1].body)
    cars, pcc = outside_limits(messages, quarters, {"cars": ("ev1", "ev2")})
    assert (cars.scope, cars.direction, cars.exceeded_kwh, cars.unknown_quarters) == ("cars", "import", 0.5, 1)
    assert (pcc.scope, pcc.direction, pcc.exceeded_kwh, pcc.unknown_quarters) == ("pcc", "export", 0.5, 1)


def test_while_the_heartbeat_has_stopped_the_failsafe_is_what_is_exceeded() -> None:
    quarters = [quarter(i, 20.0) for i in range(4)]
    message = limit(0, import_kw=20.0, heartbeat_s=900.0, failsafe_import_kw=8.0)
    (found,) = outside_limits([message], quarters, {})
    # Stopped at 2: of quarter 1 the milder value counts.
    assert found.failsafe
    assert found.exceeded_kwh == approx(2 * 12.0 / 4)


def test_without_limits_there_is_nothing_to_say() -> None:
    assert outside_limits([], [quarter(0, 500.0)], {}) == ()
