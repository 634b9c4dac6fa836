"""Days of several runs: of a live site whose sessions follow one another, and simulated again and again."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from services.history.store import to_us
from services.influx.day_results import write_day
from services.influx.points import line
from tests.dashboards.as_grafana import DataSource, Frame, Json, TimeRange, panels
from tests.influx.lab import ORG, TOKEN, Influx

BUCKET, SITE = "shop", "lab"
DAY = timedelta(days=1)
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
WITHIN = TimeRange(FIRST, FIRST + 3 * DAY)
OLD, NEW = "20261101T000000.000000Z-0001", "20261102T120000.000000Z-0002"
"""Live sessions: the second one began in the middle of the second day, when the first one ended. Of the first one all
but the results is gone."""
SIMULATED = ("20261104T000000.000000Z-0003", "20261104T000000.000000Z-0004")
RESULTS = [
    # run, day, savings, PSF, peak
    (OLD, 0, 1.0, 0.5, 10.0),
    (OLD, 1, 2.0, 0.6, 12.0),
    (NEW, 1, 3.0, 0.8, 11.0),
    (NEW, 2, 4.0, 0.9, 13.0),
    (SIMULATED[0], 1, 50.0, 0.1, 90.0),
    (SIMULATED[1], 1, 70.0, 0.2, 80.0),
]


@pytest.fixture(scope="module")
def source(empty_influx: Influx) -> Iterator[DataSource]:
    def label(run: str) -> str:
        return line("run", ("recorder", "recorder", run, SITE), {"label": "main"}, to_us(FIRST) * 1000)

    with closing(empty_influx.server()) as client:
        made = [client.create_bucket(f"{BUCKET}{suffix}", 0, "") for suffix in ("", "-simulated", "-quarters")]
        client.write(BUCKET, [label(NEW)])
        client.write(f"{BUCKET}-simulated", [label(run) for run in SIMULATED])
        for run, day, savings, psf, peak in RESULTS:
            values = {"cost_eur": 9.0, "savings_eur": savings, "psf": psf, "peak_kw": peak, "complete": 0.0}
            if run != OLD:  # which an earlier version wrote
                values |= {"export_peak_kw": peak / 2, "reference_peak_kw": peak + 5, "doubtful_values": 1.0 + day}
                values |= {"setpoints_late": 10.0 * day, "setpoints_sent": 96.0, "periods_without_setpoints": 0.0}
            midnight = FIRST + day * DAY
            write_day(client, BUCKET, site=SITE, run=run, reference="smart", midnight=midnight, values=values)
        yield DataSource(empty_influx.url, ORG, TOKEN)
        for bucket in made:
            client.remove_bucket(bucket)


class Page:
    def __init__(self, source: DataSource, dashboard: Json, bucket: str, **told: str | list[str]) -> None:
        self._source, self._dashboard = source, dashboard
        self.chosen = source.chosen(dashboard, WITHIN, {"bucket": bucket, "site": SITE, **told})

    def series(self, title: str) -> list[float]:
        return [value for frame in self._frames(title) for value in frame.series[2]]

    def number(self, title: str) -> float:
        (frame,) = self._frames(title)
        return float(next(field for field in frame.fields if field.type == "number").values[-1])

    def column(self, title: str, name: str) -> list[object]:
        (frame,) = self._frames(title)
        return frame.field(name).values

    def _frames(self, title: str) -> list[Frame]:
        (panel,) = (panel for panel in panels(self._dashboard) if panel["title"] == title)
        return [frame for frames in self._source.panel(panel, self.chosen, WITHIN) for frame in frames]


def test_days_of_earlier_sessions_stay(source: DataSource, dashboards: dict[str, Json]) -> None:
    page = Page(source, dashboards["savings"], BUCKET)
    assert page.chosen["runs"] == [NEW, OLD], "all of them, and none that was simulated"
    assert page.series("Savings by day") == [1.0, 2.0 + 3.0, 4.0]
    assert page.number("Savings") == 10.0
    assert page.column("Results", "run") == [NEW, NEW, OLD, OLD]


def test_two_sessions_of_a_day_have_one_highest_import_and_a_mean_factor(
    source: DataSource, dashboards: dict[str, Json]
) -> None:
    page = Page(source, dashboards["savings"], BUCKET)
    assert page.series("Highest import by day") == [10.0, 12.0, 13.0, 16.0, 18.0], (
        "and the reference's, where it is known"
    )
    assert page.series("Peak-shaving factor by day") == pytest.approx([0.5, 0.7, 0.9])


def test_highest_quarters_doubts_and_what_came_late(source: DataSource, dashboards: dict[str, Json]) -> None:
    page = Page(source, dashboards["savings"], BUCKET)
    assert page.number("Highest import") == 13.0
    assert page.number("Highest import, reference") == 18.0
    assert page.series("Highest export by day") == [5.5, 6.5]
    assert page.number("Doubtful values") == 2.0 + 3.0
    assert page.number("Late set-points") == 10.0 + 20.0
    assert page.column("Results", "setpoints_late") == [20.0, 10.0, None, None]


def test_one_session_can_be_chosen(source: DataSource, dashboards: dict[str, Json]) -> None:
    page = Page(source, dashboards["savings"], BUCKET, runs=OLD)
    assert page.series("Savings by day") == [1.0, 2.0]


def test_of_a_day_that_was_simulated_twice_the_newest_run_counts(
    source: DataSource, dashboards: dict[str, Json]
) -> None:
    page = Page(source, dashboards["savings"], f"{BUCKET}-simulated")
    assert page.chosen["runs"] == [*reversed(SIMULATED)]
    assert page.series("Savings by day") == [70.0]
    assert page.number("Savings") == 70.0
    assert page.column("Results", "run") == [*reversed(SIMULATED)]
    older = Page(source, dashboards["savings"], f"{BUCKET}-simulated", runs=SIMULATED[0])
    assert older.number("Savings") == 50.0
