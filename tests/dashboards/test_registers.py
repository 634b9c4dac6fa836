"""A register that goes back, as a device does that begins anew: nothing is gained there, and the rest is as it was."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from services.history.store import to_us
from services.influx.points import line
from tests.dashboards.as_grafana import DataSource, Json, TimeRange, Value, panels
from tests.influx.lab import ORG, TOKEN, Influx

BUCKET, SITE, RUN = "reset", "lab", "20261101T000000.000000Z-0000"
T0 = datetime(2026, 11, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
WITHIN = TimeRange(T0, T0 + 6 * QUARTER + timedelta(seconds=1))
REGISTER_KWH = (10.0, 11.0, 13.0, 0.0, 1.0, 4.0)
"""At the quarter-hours: 1 and 2 kWh, then back, then 1 and 3 kWh."""
CHOICE: dict[str, Value] = {
    "bucket": BUCKET,
    "site": SITE,
    "run": RUN,
    "pcc": "network",
    "load": ["none"],
    "device": "pv",
}


@pytest.fixture(scope="module")
def source(empty_influx: Influx) -> Iterator[DataSource]:
    lines = []
    for place, kwh in enumerate(REGISTER_KWH):
        at_ns = to_us(T0 + place * QUARTER) * 1000
        imported: dict[str, bool | int | float | str] = {"power_kw": 4.0, "energy_import_kwh": kwh, "losses_kwh": kwh}
        exported: dict[str, bool | int | float | str] = {"power_kw": -4.0, "energy_export_kwh": kwh}
        lines += [
            line("network_telemetry", ("network", "network", RUN, SITE), {**imported, "energy_export_kwh": 0.0}, at_ns),
            line("pv_telemetry", ("pv", "pv", RUN, SITE), {**exported, "energy_import_kwh": 0.0}, at_ns),
        ]
    prices: dict[str, bool | int | float | str] = {"purchase_price_eur_per_kwh": 0.5, "sale_price_eur_per_kwh": 0.1}
    lines.append(line("series_step", ("tariff", "tariff", RUN, SITE), prices, to_us(T0) * 1000))
    with closing(empty_influx.server()) as client:
        made = client.create_bucket(BUCKET, 0, "")
        client.write(BUCKET, lines)
        yield DataSource(empty_influx.url, ORG, TOKEN)
        client.remove_bucket(made)


def _series(source: DataSource, dashboard: Json, title: str) -> dict[str, dict[float, float]]:
    """By name: values by the hour since `T0`."""
    (panel,) = (panel for panel in panels(dashboard) if panel["title"] == title)
    found = [frame.series for frames in source.panel(panel, CHOICE, WITHIN) for frame in frames]
    return {
        name: {(time - T0) / timedelta(hours=1): value for time, value in zip(times, values, strict=True)}
        for name, times, values in found
    }


def _number(source: DataSource, dashboard: Json, title: str) -> float:
    (panel,) = (panel for panel in panels(dashboard) if panel["title"] == title)
    ((frame,),) = source.panel(panel, CHOICE, WITHIN)
    return float(next(field for field in frame.fields if field.type == "number").values[-1])


@pytest.mark.parametrize(
    ("page", "title"),
    [("overview", "Imported"), ("overview", "PV yield"), ("overview", "Losses"), ("network", "Losses")],
)
def test_what_a_register_gained_is_the_sum_of_what_it_went_forward(
    source: DataSource, dashboards: dict[str, Json], page: str, title: str
) -> None:
    assert _number(source, dashboards[page], title) == 1.0 + 2.0 + 1.0 + 3.0


def test_a_quarter_hour_in_which_the_register_went_back_has_no_energy(
    source: DataSource, dashboards: dict[str, Json]
) -> None:
    exported = _series(source, dashboards["device"], "Energy by quarter-hour")["export"]
    assert exported == {0.0: 1.0, 0.25: 2.0, 0.75: 1.0, 1.0: 3.0}
    # Told at the end of each: half a euro a kWh.
    cost = _series(source, dashboards["overview"], "Cost so far")["cost"]
    assert cost == {0.25: 0.5, 0.5: 1.5, 1.0: 2.0, 1.25: 3.5}
    assert _number(source, dashboards["overview"], "Highest import") == 12.0


def test_there_is_no_mean_power_over_a_register_that_went_back(source: DataSource, dashboards: dict[str, Json]) -> None:
    expected = {0.25: 4.0, 0.5: 8.0, 1.0: 4.0, 1.25: 12.0}
    assert _series(source, dashboards["overview"], "Plan against actual at the PCC")["PCC"] == expected
    components = _series(source, dashboards["overview"], "Power by component")
    assert components["losses"] == expected
    assert components["PV"] == {hour: -power for hour, power in expected.items()}
