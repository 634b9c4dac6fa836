"""Dead letters without end: a flood of what was not of the contract fills no page."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

from services.history.store import to_us
from services.influx.points import dead_letter_point
from tests.dashboards.as_grafana import DataSource, Json, TimeRange, panels
from tests.influx.lab import ORG, TOKEN, Influx

BUCKET, SITE, RUN = "flood", "lab", "20261101T000000.000000Z-0000"
T0 = datetime(2026, 11, 1, tzinfo=UTC)
LETTERS, SHOWN = 250, 200


def test_of_many_dead_letters_the_newest_are_shown(empty_influx: Influx, dashboards: dict[str, Json]) -> None:
    times = [T0 + timedelta(seconds=place) for place in range(LETTERS)]
    fields: dict[str, bool | int | float | str] = {"topic": "t", "reason": "r", "bytes": 1, "times": 1}
    (panel,) = (panel for panel in panels(dashboards["operations"]) if panel["title"] == "Dead letters")
    with closing(empty_influx.server()) as client:
        made = client.create_bucket(BUCKET, 0, "")
        client.write(BUCKET, [dead_letter_point(RUN, SITE, fields, to_us(time) * 1000) for time in times])
        source = DataSource(empty_influx.url, ORG, TOKEN)
        choice = {"bucket": BUCKET, "site": SITE, "run": RUN}
        ((frame,),) = source.panel(panel, choice, TimeRange(T0, T0 + timedelta(hours=1)))
        client.remove_bucket(made)
    assert frame.field("received").values == times[::-1][:SHOWN]
