"""An InfluxDB that holds what the swarm told: a lock-step day without a fault, and a session in wall time with every
fault that a dashboard shows."""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services import dashboards as provisioning
from services.analysis.run_result import RunResult
from services.history.reader import History
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.influx.downsample import init_history
from services.influx.forward import Forwarder
from services.influx.spool import Spool
from sites.loader import load_site
from tests.dashboards.as_grafana import DataSource, Json, TimeRange
from tests.dashboards.wall_session import live
from tests.influx.lab import ORG, TOKEN, Influx
from twinswarm.cli import main
from twinswarm.simulation.pipeline import Order, conduct_in_memory, settle
from twinswarm.simulation.runs import course_of, new_run_id
from twinswarm.simulation.variants import Reference, StorageChoice

BUCKET = "twinswarm"


@dataclass(frozen=True)
class Lived:
    """What was run, and when."""

    run: str
    within: TimeRange
    result: RunResult
    history: Path


@pytest.fixture(scope="session")
def day(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """The default site's day in lock-step, with its reference."""
    site = load_site("fit_g2v")
    path = tmp_path_factory.mktemp("day") / "history.sqlite"
    result = conduct_in_memory(Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, path))
    # As the link of the page of runs has it: one second more than the end, which Flux leaves out.
    return Lived(result.run, TimeRange(result.start, result.end + timedelta(seconds=1)), result, path)


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """The hour in which the cars come, in wall time, with a transformer that is too small, and disturbed."""
    site = load_site("fit_g2v")
    assert site.network is not None
    weak = site.network.transformer.model_copy(update={"rated_kva": 20.0})
    site = site.model_copy(update={"network": site.network.model_copy(update={"transformer": weak})})
    path = tmp_path_factory.mktemp("session") / "history.sqlite"
    t0, length = course_of(site).t0 + timedelta(hours=8, minutes=45), timedelta(hours=1)
    # Named after when it was begun: after the day.
    run = new_run_id(datetime.now(UTC))
    live(site, run, t0, length, path)
    result = settle(path, run, Reference.SMART, wall_s=0.0)
    return Lived(run, TimeRange(t0, t0 + length + timedelta(seconds=1)), result, path)


@pytest.fixture(scope="session")
def empty_influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    server = Influx(tmp_path_factory.mktemp("influxd"))
    server.start()
    server.set_up()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def influx(empty_influx: Influx, day: Lived, session: Lived, tmp_path_factory: pytest.TempPathFactory) -> Influx:
    """Filled as the stack fills it: buckets by init-history, messages by forward, results by savings."""
    server = empty_influx
    with closing(server.server()) as client:
        init_history(client, BUCKET, 90 * 86_400)
    for lived in (day, session):
        with closing(HistoryStore(lived.history, durable=False)) as store, closing(server.server()) as client:
            forwarder = Forwarder(Spool(store), client, BUCKET, now=lambda: datetime.now(UTC), wait=lambda _: True)
            forwarder.serve(until_empty=True)
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    history = f"influxdb://127.0.0.1:{server.port}/{ORG}/{BUCKET}-simulated?token-file={token}"
    with pytest.raises(SystemExit) as end:
        main(["savings", "--history", history, "--run", day.run, "--write"])
    assert not end.value.code
    return server


@pytest.fixture(scope="session")
def source(influx: Influx) -> DataSource:
    """With a token that may read this history and nothing else, as Grafana has it."""
    org = influx.ask(f"/api/v2/orgs?org={ORG}")["orgs"][0]["id"]
    buckets = [bucket["id"] for bucket in influx.ask("/api/v2/buckets")["buckets"] if bucket["name"].startswith(BUCKET)]
    permissions = [
        {"action": "read", "resource": {"type": "buckets", "id": bucket, "orgID": org}} for bucket in buckets
    ]
    order = {"orgID": org, "permissions": permissions, "description": secrets.token_hex(4)}
    return DataSource(influx.url, ORG, influx.ask("/api/v2/authorizations", order)["token"])


@pytest.fixture(scope="session")
def dashboards() -> dict[str, Json]:
    """By name, as Grafana is given them."""
    found = provisioning.files()
    return {
        path.rpartition("/")[2].removesuffix(".json"): json.loads(content)
        for path, content in found.items()
        if path.endswith(".json")
    }


@pytest.fixture(scope="session")
def history(day: Lived) -> Iterator[History]:
    with closing(SqliteHistory(day.history)) as found:
        yield found
