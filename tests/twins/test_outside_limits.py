"""Limits from outside and a device's fallback: no power in a direction that is limited, to the instant."""

from datetime import datetime
from typing import Any

import pytest

from schemas.messages import Fallback, Limit, Phase, TimeMode
from schemas.participant import Received
from schemas.topics import Channel, Kind
from tests.twins.builders import (
    T0,
    Bench,
    at,
    bess,
    charger,
    device_topic,
    pieces,
    pv,
    received,
    setpoint,
    site,
    through_json,
)
from twin_devices.build import build_twin

GROUP = {"cable_limits": [{"name": "cars", "devices": ["device"], "limit_kw": 100.0}]}


def bench(device: dict[str, Any], mode: TimeMode = TimeMode.LOCKSTEP, **ems: Any) -> Bench:
    return Bench(build_twin(site({"device": device}, ems=ems), "device"), mode)


def limit(sent: datetime, **fields: Any) -> Received:
    body = Limit.model_validate({"source": "grid operator", "valid_from": T0} | fields)
    return received(device_topic(Kind.LIMITER, "box", Channel.LIMIT), sent, 1, body)


def test_an_uncontrolled_charger_rests_while_import_is_limited_and_charges_before_and_after() -> None:
    charging = bench(charger(fallback="uncontrolled", fallback_kw=20.0))
    charging.sense(at("09:00"))
    charging.turn(
        Phase.APPLY, at("09:00"), [limit(at("09:00"), import_kw=5.0, valid_from=at("09:05"), valid_until=at("09:10"))]
    )
    assert pieces(charging.sense(at("09:15"))) == [(at("09:00"), 20.0), (at("09:05"), 0.0), (at("09:10"), 20.0)]


def test_a_set_point_is_followed_whatever_the_limit_and_bounded_when_it_ends() -> None:
    """The EMS knows how the limit is shared; the device does not."""
    charging = bench(charger())
    charging.sense(at("09:00"))
    order = setpoint(at("09:00"), 11.0, valid_until=at("09:10"), fallback=Fallback.HOLD)
    charging.apply(at("09:00"), order)
    charging.turn(Phase.APPLY, at("09:00"), [limit(at("09:00"), import_kw=5.0)])
    assert pieces(charging.sense(at("09:15"))) == [(at("09:00"), 11.0), (at("09:10"), 0.0)]


def test_a_battery_that_holds_stops_giving_only_where_export_is_limited() -> None:
    for fields, expected in (({"import_kw": 0.0}, -6.0), ({"export_kw": 0.0}, 0.0)):
        battery = bench(bess())
        battery.sense(T0)
        battery.apply(T0, setpoint(T0, -6.0, valid_until=at("00:05"), fallback=Fallback.HOLD))
        battery.turn(Phase.APPLY, T0, [limit(T0, **fields)])
        assert battery.sense(at("00:15")).power_kw == expected


def test_an_inverter_produces_nothing_without_a_set_point_while_export_is_limited() -> None:
    sun = bench(pv(curtailable=True))
    sun.sense(at("12:00"))
    assert sun.sense(at("12:15")).power_kw < -20.0
    sun.turn(Phase.APPLY, at("12:15"), [limit(at("12:15"), export_kw=10.0, valid_until=at("12:30"))])
    assert sun.sense(at("12:20")).power_kw == 0.0
    assert sun.sense(at("12:45")).power_kw < -20.0
    fixed = bench(pv(curtailable=False))
    fixed.sense(at("12:00"))
    fixed.turn(Phase.APPLY, at("12:00"), [limit(at("12:00"), export_kw=10.0)])
    assert fixed.sense(at("12:15")).power_kw < -20.0, "it cannot"


def test_a_limit_of_a_group_is_for_its_devices_alone() -> None:
    for group, expected in (("cars", 0.0), ("pumps", 20.0)):
        charging = bench(charger(fallback="uncontrolled", fallback_kw=20.0), **GROUP)
        charging.sense(at("09:00"))
        charging.turn(Phase.APPLY, at("09:00"), [limit(at("09:00"), group=group, import_kw=5.0)])
        assert charging.sense(at("09:15")).power_kw == expected


def test_a_failsafe_holds_from_the_instant_at_which_the_heartbeat_has_stopped() -> None:
    """No ordinary limit; a failsafe after two periods of five minutes."""
    charging = bench(charger(fallback="uncontrolled", fallback_kw=20.0), TimeMode.WALL)
    charging.sense(at("09:00"))
    charging.turn(Phase.APPLY, at("09:00"), [limit(at("09:00"), heartbeat_s=300.0, failsafe_import_kw=4.0)])
    before = charging.sense(at("09:10"))
    assert before.power_kw == 0.0
    assert before.energy_import_kwh == pytest.approx(20.0 / 6), "up to the instant it charged"
    charging.turn(Phase.APPLY, at("09:12"), [limit(at("09:12"), heartbeat_s=300.0, failsafe_import_kw=4.0)])
    assert charging.sense(at("09:13")).power_kw == 20.0


def test_a_charger_without_control_charges_on() -> None:
    charging = bench(charger(controllable=False))
    charging.sense(at("09:00"))
    charging.turn(Phase.APPLY, at("09:00"), [limit(at("09:00"), import_kw=0.0)])
    assert charging.sense(at("09:15")).power_kw == 20.0


def test_the_limit_is_part_of_the_state() -> None:
    described = site({"device": charger(fallback="uncontrolled", fallback_kw=20.0)})
    first = Bench(build_twin(described, "device"))
    first.sense(at("09:00"))
    first.turn(Phase.APPLY, at("09:00"), [limit(at("09:00"), import_kw=5.0)])
    again = Bench(through_json(first.participant, build_twin(described, "device")))
    assert again.sense(at("09:15")) == first.sense(at("09:15"))
    assert again.participant.snapshot() == first.participant.snapshot()
