"""The EMS reaches its broker through something that drops everything without a word: no end of the connection comes."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto
from runtime.service_watch import SERVICE_SILENT
from schemas.messages import Ack, Alarm, ChargerTelemetry, Metric, Run, Setpoint
from schemas.topics import Kind
from tests.broker.half_open import HalfOpenProxy
from tests.faults.live import FALLBACK_KW, PATIENCE_S, Live

QUICK = """
import sys
import broker.mqtt
import schemas.presence
broker.mqtt.KEEPALIVE_S = broker.mqtt.REJOIN_TIMEOUT_S = 2
schemas.presence.HEARTBEAT_S = 1.0
from twinswarm.deploy.process import main
sys.exit(main(sys.argv[1:]))
"""
"""A second for fifteen, and two for the thirty and sixty after which a connection counts as lost."""
SPEED = 60.0
"""A settlement period is 15 s."""
FALLBACK_WITHIN = timedelta(seconds=30)
ALARM_WITHIN_S = 60.0
BACK_WITHIN_S = 180.0
"""Two keepalives, a connection that is not answered and the pause after it."""


@pytest.fixture
def proxy(mosquitto: LocalMosquitto) -> Iterator[HalfOpenProxy]:
    with HalfOpenProxy(mosquitto.address) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "speed", [SPEED, pytest.param(1.0, marks=[pytest.mark.long, pytest.mark.timeout(2400)])], ids=["short", "as it is"]
)
def test_an_ems_behind_a_half_open_connection_is_named_its_devices_fall_back_and_it_is_back_by_itself(
    speed: float, tmp_path: Path, mosquitto: LocalMosquitto, proxy: HalfOpenProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    live = Live(tmp_path, mosquitto.address)
    if speed == SPEED:
        live.program = ("-c", QUICK)
    live.connect()
    try:
        live.start_clock(speed)
        live.until("the run", Run)
        live.send_prices()
        live.start("recorder", "--history", str(tmp_path / "history.sqlite"))
        live.start()
        ems = live.start("ems", broker=proxy.address)
        live.until("a set-point that is followed", Ack, lambda ack: ack.accepted)
        live.until("a heartbeat of the EMS", Metric, lambda _: live.heard[-1][0].kind is Kind.EMS)
        boot = live.heard[-1][1].boot

        proxy.fall_silent()
        silent = time.monotonic()
        live.until("the alarm", Alarm, lambda alarm: names_the_ems(alarm, active=True), 2 * PATIENCE_S)
        alarm_s = time.monotonic() - silent
        end = max(body.valid_until for _, _, body in live.heard if isinstance(body, Setpoint))
        patience_s = PATIENCE_S + 1800 / speed
        live.until("a telemetry after its end", ChargerTelemetry, lambda _: live.heard[-1][1].ts > end, patience_s)
        first = len(live.heard) - 1
        live.until("the fallback", ChargerTelemetry, lambda told: told.power_kw == FALLBACK_KW)
        fell_back = live.heard[-1][1].ts - end
        for _ in range(5):
            live.until("the charger", ChargerTelemetry)
        assert live.powers(first) == {FALLBACK_KW}, "from the end on, to the instant"
        assert fell_back <= FALLBACK_WITHIN

        proxy.pass_on()
        back = time.monotonic()
        live.until("its end", Alarm, lambda alarm: names_the_ems(alarm, active=False), BACK_WITHIN_S)
        live.until("a set-point", Setpoint, lambda body: live.heard[-1][1].boot == boot and body.valid_from >= end)
        live.until("a set-point that is followed", Ack, lambda ack: ack.accepted, PATIENCE_S + 900 / speed)
        with capsys.disabled():
            print(
                f"\nalarm after {alarm_s:.0f} s, fallback seen {fell_back.total_seconds():.1f} s after the end, ",
                end="",
            )
            print(f"followed again {time.monotonic() - back:.0f} s after it was let through")
        assert alarm_s <= ALARM_WITHIN_S
        assert ems.poll() is None, "it was not started again"
        assert proxy.swallowed >= 1, "it tried meanwhile"
    finally:
        live.close()


def names_the_ems(alarm: Alarm, *, active: bool) -> bool:
    return (alarm.code, alarm.device, alarm.active) == (SERVICE_SILENT, "ems", active)
