"""The example consumer as an observer, through mutual TLS: what it shows is what the history says."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.address import Credentials
from schemas.cycle import Course
from services.history.reader import pcc_of
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.examples.conftest import LOG, StartScript
from tests.examples.outside import carried, until
from tests.provision.secured import Secured
from twinswarm.deploy.up import How, conduct_swarm
from twinswarm.simulation.pipeline import Order
from twinswarm.simulation.variants import Reference, StorageChoice

NOON = datetime(2024, 5, 17, 10, 0, tzinfo=UTC)
QUARTERS = 8


def test_an_observer_sees_the_balance_and_the_cost_of_a_day(
    secured: Secured, start_script: StartScript, tmp_path: Path
) -> None:
    broker = str(secured.address)
    start_script("consumer.py", "--broker", broker, *carried(secured, "dashboard", tmp_path, "observer"))
    log = tmp_path / LOG
    until(lambda: "PCC kW" in log.read_text())
    course = Course(NOON, NOON + QUARTERS * timedelta(minutes=15), 900)
    order = Order(load_site("fit_g2v"), course, StorageChoice.BOTH, Reference.SMART, tmp_path / "history.sqlite")
    how = How(broker, Credentials(), tmp_path, one_process=True, certificates=secured.folder.root)

    result = conduct_swarm(order, how)

    last = course.t_end.isoformat().replace("+00:00", "Z")
    until(lambda: any(line.startswith(last) and "plan" not in line for line in log.read_text().splitlines()))
    shown = [line for line in log.read_text().splitlines() if line[:4] == "2024"]
    balance = [line.split() for line in shown if "plan" not in line]
    assert len([line for line in shown if "plan: optimal" in line]) == QUARTERS
    assert len(balance) == QUARTERS + 1
    with closing(SqliteHistory(order.history)) as history:
        tracks = history.tracks(result.run)
    pcc = pcc_of(tracks)
    assert pcc is not None
    assert [float(row[1]) for row in balance] == [pytest.approx(s.body.power_kw, abs=0.005) for s in pcc.samples]
    pv, bess, load = (tracks[name].samples[-1].body.power_kw for name in ("pv", "bess", "building"))
    chargers = sum(tracks[f"ev{n}"].samples[-1].body.power_kw for n in range(1, 5))
    assert [float(cell) for cell in balance[-1][2:6]] == pytest.approx([pv, bess, chargers, load], abs=0.005)
    assert float(balance[-1][6]) == pytest.approx(result.cost_eur, abs=0.005)
    assert len(balance[-1]) == 7, "every kWh had a price"
    assert secured.denied == []
