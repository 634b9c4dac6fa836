"""The EMS is frozen, dead or cut off: at the device that is one thing, no set-point comes any more."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import Setpoint
from tests.faults.live import FALLBACK_KW, Live, Reading


def test_at_its_start_a_device_is_on_its_fallback_without_any_ems(live: Live) -> None:
    live.start()
    live.until_power(FALLBACK_KW)


def check_fell_back(before: Reading, after: Reading, setpoint: Setpoint) -> None:
    """By the registers: the set-point's power up to its end, to the instant, and the fallback's from there on."""
    given_h = (setpoint.valid_until - before.at) / timedelta(hours=1)
    drawn_h = (after.at - setpoint.valid_until) / timedelta(hours=1)
    assert after.export_kwh - before.export_kwh == pytest.approx(7.0 * given_h, abs=1e-8)
    assert after.import_kwh - before.import_kwh == pytest.approx(FALLBACK_KW * drawn_h, abs=1e-8)


def test_when_the_ems_falls_silent_the_fallback_holds_from_the_set_points_end_on(live: Live) -> None:
    live.start()
    live.until_power(FALLBACK_KW)
    setpoint = live.command("last", -7.0, 4.0)
    assert live.until_acked(setpoint).accepted
    before = live.until_power(-7.0)
    assert before.at < setpoint.valid_until
    check_fell_back(before, live.until_power(FALLBACK_KW), setpoint)


def test_a_device_that_is_cut_off_falls_back_without_a_broker(live: Live, mosquitto: LocalMosquitto) -> None:
    live.start()
    live.until_power(FALLBACK_KW)
    setpoint = live.command("last", -7.0, 5.0)
    before = live.until_power(-7.0)
    mosquitto.kill()
    while datetime.now(UTC) < setpoint.valid_until + timedelta(seconds=1):
        time.sleep(0.1)
    mosquitto.start()
    check_fell_back(before, live.until_power(FALLBACK_KW, setpoint.valid_until), setpoint)
