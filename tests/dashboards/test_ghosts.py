"""The ghosts' dashboard against an InfluxDB that holds a day of the hall with a battery that does not exist."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from pytest import approx

from services.history.store import HistoryStore
from services.influx.downsample import init_history
from services.influx.forward import Forwarder
from services.influx.spool import Spool
from tests.dashboards.as_grafana import DataSource, Frame, Json, TimeRange, panels
from tests.ghosts.hall import DAY, hall
from tests.ghosts.records import record_runs
from tests.influx.lab import ORG, TOKEN, Influx
from twinswarm.deploy.process import utc_now
from twinswarm.simulation.runs import course_of

BUCKET = "hall"
MIDNIGHT = course_of(hall({}), DAY).t0
WITHIN = TimeRange(MIDNIGHT, MIDNIGHT + timedelta(days=1, seconds=1))


@pytest.fixture(scope="module")
def shown(
    empty_influx: Influx, dashboards: dict[str, Json], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[list[Frame]]]]:
    """By panel the frames of each of its queries."""
    path = tmp_path_factory.mktemp("hall") / "history.sqlite"
    (run,) = record_runs(path, (0, 24))
    with closing(empty_influx.server()) as client:
        init_history(client, BUCKET, 90 * 86_400)
        with closing(HistoryStore(path, durable=False)) as store:
            Forwarder(Spool(store), client, BUCKET, now=utc_now, wait=lambda _: True).serve(until_empty=True)
        source = DataSource(empty_influx.url, ORG, TOKEN)
        values = source.chosen(dashboards["ghosts"], WITHIN, {"bucket": f"{BUCKET}-simulated", "run": run})
        yield {panel["title"]: source.panel(panel, values, WITHIN) for panel in panels(dashboards["ghosts"])}
        for suffix in ("", "-simulated", "-quarters"):
            made = client.bucket(f"{BUCKET}{suffix}")
            assert made is not None
            client.remove_bucket(made)


def column(frame: Frame, name: str) -> list[object]:
    return list(frame.field(name).values)


def test_every_query_but_that_of_alarms_has_rows(shown: dict[str, list[list[Frame]]]) -> None:
    assert {title for title, queries in shown.items() if not all(queries)} == {"Alarms of the ghosts"}


def test_figures_are_those_of_the_account_by_hand(shown: dict[str, list[list[Frame]]]) -> None:
    """The battery of 20 kWh is filled at 0.10 €/kWh and emptied at 0.30: 4.00 €, a hall of 10 kW all day. In lock-step
    the last hour of a run is not in the account."""
    numbers = {title: queries[0][0].fields[-1].values[-1] for title, queries in shown.items() if queries[0]}
    assert numbers["Earned since they began"] == approx(4.0)
    assert numbers["Month's peak, real"] == approx(10.0)
    assert numbers["Accounted for"] == approx(23.0)
    assert numbers["Of it estimated"] == approx(0.0)
    assert numbers["Energy left in ghosts"] == approx(0.0, abs=1e-9)
    power = {frame.series[0]: frame.series[2] for frame in shown["Power at the PCC, real and with ghosts"][0]}
    assert power["real site"] == approx([10.0] * 23)
    moved = [ghosts - 10.0 for ghosts in power["with ghosts"]]
    assert sum(kw for kw in moved if kw > 0) == approx(20.0) == -sum(kw for kw in moved if kw < 0)
    (battery,) = shown["Power of the ghosts"][0]
    assert battery.series[0] == "newbess" and battery.series[2] == approx(moved)
    (soc,) = shown["State of charge of the ghosts"][0]
    assert max(soc.series[2]) == approx(1.0)
    (days,) = shown["Days"][0]
    assert column(days, "day") == ["2024-05-17"]
    assert column(days, "earned") == approx([4.0])
    assert column(days, "peak_with_ghosts") == approx([numbers["Month's peak with ghosts"]])
