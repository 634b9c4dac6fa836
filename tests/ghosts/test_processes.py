"""Ghosts as a process of their own in scaled wall time over Mosquitto: killed, and the broker away."""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.messages import Earnings
from schemas.topics import Channel
from services.history.sqlite import SqliteHistory
from tests.ghosts.hall import IDEAL, hall
from tests.parts import skip_without
from tests.system.test_replayed_wall_time import everybody_else, process
from twinswarm.simulation.ghosts_over_history import ghosts_over


def recorded(file: Path) -> list[Earnings]:
    """Each step's first account, as it was recorded."""
    with closing(SqliteHistory(file)) as history:
        runs = history.runs()
        bodies = [each.body for each in history.messages(runs[-1].run, Channel.EARNINGS)] if runs else []
    return list({each.until: each for each in reversed(bodies) if isinstance(each, Earnings)}.values())[::-1]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.long
def test_killed_and_without_a_broker_they_count_every_step_once(tmp_path: Path) -> None:
    """A quarter-hour takes a second. They are killed for some of them, and later the broker is away for some."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    site = hall({"newbess": IDEAL})
    slow = site.devices["load"].model_copy(update={"telemetry_period_s": 300.0})
    time_options = site.time.model_copy(update={"step_s": 900})
    site = site.model_copy(update={"time": time_options, "devices": {"load": slow}})
    described, file = tmp_path / "site.json", tmp_path / "history.sqlite"
    described.write_text(site.model_dump_json(), encoding="utf-8")
    with (
        LocalMosquitto(directory=tmp_path / "broker") as broker,
        process("ghosts", described, broker.address) as ghosts,
        everybody_else(site, file, broker.address, {"ghosts"}),
    ):
        until(lambda: len(recorded(file)) >= 4)
        ghosts.kill()
        time.sleep(3.0)
        ghosts.start()
        before = len(recorded(file))
        until(lambda: len(recorded(file)) >= before + 4)
        broker.stop()
        time.sleep(3.0)
        broker.start()
        before = len(recorded(file))
        until(lambda: len(recorded(file)) >= before + 8)
    said = recorded(file)
    step = timedelta(seconds=900)
    assert [each.until for each in said] == [
        said[0].until + n * step for n in range(len(said))
    ]  # none lost, none twice
    assert len({each.since for each in said}) == 1
    last = said[-1]
    assert last.total.hours == pytest.approx((last.until - last.since) / timedelta(hours=1))
    assert last.total.estimated_hours == last.total.unpriced_hours == 0
    # The same over the record, from when they began: a loaded machine starts them late, and the network twin's register
    # catches up only some time after the broker is back.
    with closing(SqliteHistory(file)) as history:
        run = history.runs()[-1].run
        over = {each.until: each.total.real for each in ghosts_over(history, run, history.site(run))}
    before, real = over.get(last.since), last.total.real
    counted = over[last.until].import_kwh - (0.0 if before is None else before.import_kwh)
    cost_eur = over[last.until].energy_eur - (0.0 if before is None else before.energy_eur)
    assert real.import_kwh == pytest.approx(counted, abs=1e-6) and counted > 0
    assert real.energy_eur == pytest.approx(cost_eur, abs=1e-6)
    battery = last.devices["newbess"]
    moved_kwh = battery.energy_import_kwh - battery.energy_export_kwh
    assert last.total.ghosts.import_kwh - last.total.real.import_kwh == pytest.approx(moved_kwh, abs=1e-6)
    assert last.stored_kwh == pytest.approx(moved_kwh, abs=1e-6)  # it has no losses
