"""Every query of every panel and variable, against an InfluxDB that holds what the swarm told.

There is no Grafana in CI: what it does with variables and answers is `as_grafana`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.dashboards.as_grafana import DataSource, Frame, Json, TimeRange, Value, panels
from tests.dashboards.conftest import Lived
from tests.dashboards.wall_session import BOILER

DASHBOARDS = ("runs", "overview", "savings", "device", "network", "operations")
"""Those that every site fills; `test_ghosts` has the other."""
DEVICES = ("ev1", "bess", "pv", "building", BOILER)

NOTHING_ON_A_FAULTLESS_DAY_IN_LOCK_STEP = {
    ("device", "Alarms about it"),
    ("overview", "PCC against the connection's limits"),  # nobody limits it from outside
    ("network", "Alarms"),
    ("network", "Alarms told"),
    ("operations", "Alarms"),
    ("operations", "Dead letters"),
    ("operations", "Dead letters of this run"),
    ("operations", "Rejects"),
    # Metrics are told in wall time, the spool's depth at the machine's.
    ("operations", "Age of the plan"),
    ("operations", "Lag"),
    ("operations", "Rejected messages"),
    ("operations", "Solve time"),
    ("operations", "Spool"),
    ("operations", "Late turns"),
    ("operations", "Longest turn"),
    ("operations", "Missing messages"),
    ("operations", "Recorded"),
}


class Answers:
    """What each dashboard's panels answer, of a run and a time range, for each device where one is chosen."""

    def __init__(self, source: DataSource, dashboards: dict[str, Json], run: str, within: TimeRange) -> None:
        self.of: dict[tuple[str, str], list[list[list[Frame]]]] = {}
        for name, dashboard in dashboards.items():
            for told in [{"device": device} for device in DEVICES] if name == "device" else [{}]:
                choice: dict[str, Value] = {"bucket": "twinswarm-simulated", "run": run, **told}
                values = source.chosen(dashboard, within, choice)
                for panel in panels(dashboard):
                    answers = self.of.setdefault((name, panel["title"]), [])
                    answers.append(source.panel(panel, values, within))

    def lacking(self) -> set[tuple[str, str]]:
        """Panels with a query that answers nothing for any device."""
        return {
            panel for panel, answers in self.of.items() if not all(any(frames) for frames in zip(*answers, strict=True))
        }

    def frames(self, name: str, title: str) -> Iterator[Frame]:
        for answer in self.of[name, title]:
            for frames in answer:
                yield from frames


@pytest.fixture(scope="module")
def of_day(source: DataSource, dashboards: dict[str, Json], day: Lived) -> Answers:
    return Answers(source, {name: dashboards[name] for name in DASHBOARDS}, day.run, day.within)


@pytest.fixture(scope="module")
def of_session(source: DataSource, dashboards: dict[str, Json], session: Lived) -> Answers:
    return Answers(source, {name: dashboards[name] for name in DASHBOARDS}, session.run, session.within)


@pytest.fixture(scope="module")
def of_now(source: DataSource, dashboards: dict[str, Json], session: Lived) -> Answers:
    now = datetime.now(UTC)
    within = TimeRange(now - timedelta(hours=1), now + timedelta(seconds=1))
    return Answers(source, {"operations": dashboards["operations"]}, session.run, within)


def test_every_query_has_rows_on_a_lock_step_day_but_of_faults_and_machine_time(of_day: Answers) -> None:
    assert of_day.lacking() == NOTHING_ON_A_FAULTLESS_DAY_IN_LOCK_STEP


def test_every_query_has_rows_on_a_disturbed_session_in_wall_time_but_of_days_and_the_machines_time(
    of_session: Answers,
) -> None:
    assert {panel for panel in of_session.lacking() if panel[0] != "savings"} == {("operations", "Spool")}


def test_spools_depth_has_rows_at_the_machines_time(of_now: Answers) -> None:
    assert ("operations", "Spool") not in of_now.lacking()


def test_charts_get_one_series_a_frame_in_order_of_time(
    dashboards: dict[str, Json], of_day: Answers, of_session: Answers
) -> None:
    charts = [
        (name, panel) for name in DASHBOARDS for panel in panels(dashboards[name]) if panel["type"] == "timeseries"
    ]
    assert charts
    for name, panel in charts:
        for frame in (*of_day.frames(name, panel["title"]), *of_session.frames(name, panel["title"])):
            series, times, values = frame.series
            assert times == sorted(set(times)), (panel["title"], series)
            assert None not in values, (panel["title"], series)


NOT_THERE = {"heat"}
"""The sites of these tests have no heat pump."""


def test_every_series_that_a_panel_treats_by_name_comes(
    dashboards: dict[str, Json], of_day: Answers, of_session: Answers, of_now: Answers
) -> None:
    for name in DASHBOARDS:
        for panel in panels(dashboards[name]):
            if panel["type"] != "timeseries":
                continue
            there = {
                frame.series[0]
                for answers in (of_day, of_session, of_now)
                if (name, panel["title"]) in answers.of
                for frame in answers.frames(name, panel["title"])
            }
            wanted = {
                override["matcher"]["options"]
                for override in panel["fieldConfig"]["overrides"]
                if override["matcher"]["id"] == "byName"
            }
            assert wanted - NOT_THERE <= there, panel["title"]


def test_tables_have_the_columns_that_they_order_and_give_units(
    dashboards: dict[str, Json], of_day: Answers, of_session: Answers
) -> None:
    for name in DASHBOARDS:
        for panel in panels(dashboards[name]):
            if panel["type"] != "table":
                continue
            answers = of_session if (name, panel["title"]) in of_day.lacking() else of_day
            frames = list(answers.frames(name, panel["title"]))
            columns = {field.name for frame in frames for field in frame.fields}
            ordered = set(panel["transformations"][0]["options"]["indexByName"])
            treated = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
            assert columns == ordered, panel["title"]
            assert treated <= columns, panel["title"]
            for answer in answers.of[name, panel["title"]]:
                assert all(len(query) <= 1 for query in answer), f"{panel['title']}: one table"


def test_numbers_are_one_value(dashboards: dict[str, Json], of_day: Answers, of_session: Answers) -> None:
    for name in DASHBOARDS:
        for panel in panels(dashboards[name]):
            if panel["type"] != "stat":
                continue
            answers = of_session if (name, panel["title"]) in of_day.lacking() else of_day
            for frame in answers.frames(name, panel["title"]):
                (numbers,) = (field for field in frame.fields if field.type == "number")
                assert numbers.values[-1] is not None, panel["title"]


def test_variables_choose_the_newest_run_its_pcc_meter_and_its_devices(
    source: DataSource, dashboards: dict[str, Json], day: Lived, session: Lived
) -> None:
    chosen = source.chosen(dashboards["overview"], session.within, {})
    assert chosen == {
        "bucket": "twinswarm-simulated",
        "site": "fit-g2v",
        "run": session.run,
        "pcc": "network",
        "load": ["building"],
    }
    variables = {one["name"]: one for one in dashboards["device"]["templating"]["list"]}
    assert source.options(variables["bucket"], {}, day.within) == ["twinswarm-simulated", "twinswarm"]
    runs = source.options(variables["run"], chosen, day.within)
    assert runs[:2] == [session.run, day.run]
    assert len(runs) == 4, "and the replays that they are compared with"
    assert source.options(variables["device"], {**chosen, "run": day.run}, day.within) == [
        "bess",
        "ev1",
        "ev2",
        "ev3",
        "ev4",
        "building",
        "pv",
    ]
