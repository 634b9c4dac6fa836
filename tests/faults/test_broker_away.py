"""A broker that is away, and one that comes back with what it knew long ago."""

import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.messages import Birth
from tests.faults.live import FALLBACK_KW, Live
from tests.faults.swarm import Swarm
from tests.parts import skip_without


@pytest.mark.parametrize("device", ["ev1", "ems", "recorder"])
def test_a_participant_that_is_started_while_the_broker_is_away_waits_for_it(device: str, tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    broker = LocalMosquitto(directory=tmp_path / "broker", persistence=True)
    live = Live(tmp_path, broker.start())
    broker.kill()
    try:
        process = live.start(device, "--history", str(tmp_path / "history.sqlite"))
        time.sleep(3.0)
        assert process.poll() is None, "it has ended"
        broker.start()
        live.listen()
        live.until(f"the birth of {device}", Birth, lambda birth: live.heard[-1][0].device == device)
    finally:
        live.close()
        broker.stop()


def test_a_broker_with_an_old_snapshot_makes_nobody_follow_an_older_set_point(
    live: Live, mosquitto: LocalMosquitto, tmp_path: Path
) -> None:
    """Somebody retained set-points, which nobody should; the snapshot holds one that has expired and one that is valid
    and was followed by another."""
    data, snapshot = tmp_path / "broker" / "mosquitto.db", tmp_path / "old.db"
    live.start()
    live.until_power(FALLBACK_KW)
    older = live.command("older", 9.0, 600.0, retain=True)
    assert live.until_acked(older).accepted
    live.until_power(9.0)
    mosquitto.stop()
    shutil.copy(data, snapshot)
    mosquitto.start()
    live.until_power(9.0)  # it is back: what is sent before has to wait in its session
    newer = live.command("newer", 6.0, 600.0)
    assert live.until_acked(newer).accepted
    before = live.until_power(6.0)
    mosquitto.kill()
    shutil.copy(snapshot, data)
    mosquitto.start()
    live.until_power(6.0)
    latest = live.command("latest", 5.0, 600.0)
    assert live.until_acked(latest).accepted
    after = live.until_power(5.0)
    hours = (after.at - before.at) / timedelta(hours=1)
    assert 5.0 * hours < after.import_kwh - before.import_kwh <= 6.0 * hours, "the older 9 kW are not followed again"


def test_an_expired_set_point_of_an_old_snapshot_is_refused_after_a_restart_of_everything(
    live: Live, mosquitto: LocalMosquitto
) -> None:
    """The device knows nothing any more: its process begins a new life without a checkpoint."""
    live.start()
    live.until_power(FALLBACK_KW)
    short = live.command("short", 9.0, 2.0, retain=True)
    assert live.until_acked(short).accepted
    live.until_power(FALLBACK_KW)
    live.processes["ev1"].kill()
    live.processes["ev1"].wait(10)
    mosquitto.kill()
    mosquitto.start()
    first_of_it = len(live.heard)
    live.start()
    live.until_power(FALLBACK_KW, short.valid_until)
    assert 9.0 not in live.powers(first_of_it)
    assert live.acks("short")[1:] in ([], [False])


@pytest.mark.parametrize(
    "away_s", [2.0, pytest.param(600.0, marks=[pytest.mark.long, pytest.mark.timeout(1200)])], ids=["short", "10 min"]
)
def test_a_broker_that_is_killed_and_away_for_long_costs_no_message(
    away_s: float, swarm: Swarm, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no disk: what it held is gone. Everybody else is there all the time, and is not started again."""
    swarm.command()
    before = swarm.check_is_running()
    swarm.broker.kill()
    swarm.pass_s(away_s)
    swarm.broker.start()
    back = time.monotonic()
    swarm.check_all_are_back()
    took_s = time.monotonic() - back
    assert swarm.check_is_running() == before
    number = swarm.check_nothing_is_lost()
    with capsys.disabled():
        print(f"\naway for {away_s:g} s: all are back after {took_s:.1f} s, {number} messages, each stored once")
