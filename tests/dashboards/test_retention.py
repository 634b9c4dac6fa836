"""A live session longer than its bucket keeps messages: what was told once is gone, and the pages are not empty."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from services.history.store import to_us
from services.influx.points import line
from tests.dashboards.as_grafana import DataSource, Json, TimeRange, panels
from tests.dashboards.conftest import Lived
from tests.dashboards.wall_session import BOILER
from tests.influx.lab import ORG, TOKEN, Influx

AGED, BARE = "aged", "bare"
_COPY = """from(bucket: "twinswarm-simulated")
    |> range(start: 2024-01-01T00:00:00Z, stop: 2025-01-01T00:00:00Z)
    |> filter(fn: (r) => r.run == "{run}" and r._measurement !~ /_(birth|state)$/)
    |> to(bucket: "{bucket}")"""


@pytest.fixture(scope="module")
def source(influx: Influx, session: Lived) -> Iterator[DataSource]:
    """Two buckets more: the session without births and states, and without those births that its row has, too."""
    with closing(influx.server()) as client:
        made = [client.create_bucket(bucket, 0, "") for bucket in (AGED, BARE)]
        for bucket in (AGED, BARE):
            client.run(_COPY.format(run=session.run, bucket=bucket))
        tags = ("recorder", "recorder", session.run, "fit-g2v")
        client.write(BARE, [line("run", tags, {"json": "{}"}, to_us(session.within.stop) * 1000)])
        yield DataSource(influx.url, ORG, TOKEN)
        for bucket in made:
            client.remove_bucket(bucket)


def _chosen(source: DataSource, dashboard: Json, session: Lived, bucket: str) -> dict[str, object]:
    return dict(source.chosen(dashboard, session.within, {"bucket": bucket, "run": session.run}))


def test_meters_are_chosen_from_telemetry_by_the_roles_in_the_runs_row(
    source: DataSource, dashboards: dict[str, Json], session: Lived
) -> None:
    chosen = _chosen(source, dashboards["overview"], session, AGED)
    assert (chosen["pcc"], chosen["load"]) == ("network", ["building"])


def test_a_meter_whose_role_nobody_knows_is_a_load(
    source: DataSource, dashboards: dict[str, Json], session: Lived
) -> None:
    chosen = _chosen(source, dashboards["overview"], session, BARE)
    assert (chosen["pcc"], chosen["load"]) == ("network", [BOILER, "building"])


def test_devices_are_chosen_from_telemetry(source: DataSource, dashboards: dict[str, Json], session: Lived) -> None:
    (variable,) = (one for one in dashboards["device"]["templating"]["list"] if one["name"] == "device")
    choice = {"bucket": AGED, "site": "fit-g2v", "run": session.run}
    devices = ["bess", "ev1", "ev2", "ev3", "ev4", BOILER, "building", "pv"]
    assert source.options(variable, choice, session.within) == devices


def _members(source: DataSource, dashboard: Json, run: str, bucket: str, within: TimeRange) -> dict[str, list[object]]:
    (panel,) = (panel for panel in panels(dashboard) if panel["title"] == "Members")
    ((frame,),) = source.panel(panel, {"bucket": bucket, "site": "fit-g2v", "run": run}, within)
    rows = zip(*(frame.field(name).values for name in ("member", "state", "silent")), strict=True)
    return {str(member): [state, silent] for member, state, silent in rows}


def _missing(source: DataSource, dashboard: Json, run: str, bucket: str, within: TimeRange) -> float:
    (panel,) = (panel for panel in panels(dashboard) if panel["title"] == "Members not online")
    ((frame,),) = source.panel(panel, {"bucket": bucket, "site": "fit-g2v", "run": run}, within)
    return float(frame.fields[-1].values[-1])


def test_members_whose_state_is_gone_are_those_that_are_heard(
    source: DataSource, dashboards: dict[str, Json], session: Lived
) -> None:
    members = _members(source, dashboards["operations"], session.run, AGED, session.within)
    assert {"ev1", "bess", "pv", "building", BOILER, "network", "ems", "recorder"} <= set(members)
    assert {state for state, _ in members.values()} == {"unknown"}
    assert _missing(source, dashboards["operations"], session.run, AGED, session.within) == 0


def test_who_tells_nothing_in_the_time_range_is_a_member_still(
    source: DataSource, dashboards: dict[str, Json], session: Lived
) -> None:
    page, later = dashboards["operations"], timedelta(hours=1)
    after = TimeRange(session.within.stop, session.within.stop + later)
    simulated = "twinswarm-simulated"
    before, silent = (_members(source, page, session.run, simulated, within) for within in (session.within, after))
    assert set(silent) == set(before)
    # Of the boiler as of everybody: longer by the hour that nobody told anything in.
    assert silent[BOILER] == ["online", pytest.approx(61.0 + later.total_seconds())]
    assert _missing(source, page, session.run, AGED, after) > 0
