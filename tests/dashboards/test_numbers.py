"""What panels show is what the history says by other means: a query that is wrong can return rows, too."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from schemas.messages import NetworkTelemetry
from schemas.site.devices import Charger
from schemas.topics import Channel, Kind
from services.history.reader import History
from sites.loader import load_site
from tests.dashboards.as_grafana import DataSource, Frame, Json, TimeRange, Value, panels
from tests.dashboards.conftest import Lived
from tests.dashboards.wall_session import OUTSIDE_KW

QUARTER_H = 0.25


class Panels:
    """Of one run, by dashboard and title."""

    def __init__(self, source: DataSource, dashboards: dict[str, Json], lived: Lived) -> None:
        self._source, self._dashboards, self._lived = source, dashboards, lived

    def frames(self, name: str, title: str, **choice: Value) -> list[Frame]:
        dashboard = self._dashboards[name]
        (panel,) = (panel for panel in panels(dashboard) if panel["title"] == title)
        within = self._lived.within
        values = self._source.chosen(
            dashboard, within, {"bucket": "twinswarm-simulated", "run": self._lived.run, **choice}
        )
        return [frame for frames in self._source.panel(panel, values, within) for frame in frames]

    def series(self, name: str, title: str, **choice: Value) -> dict[str, list[float]]:
        found = (frame.series for frame in self.frames(name, title, **choice))
        return {series: values for series, _, values in found}

    def number(self, name: str, title: str, **choice: Value) -> float:
        (frame,) = self.frames(name, title, **choice)
        (field,) = (field for field in frame.fields if field.type == "number")
        return float(field.values[-1])


@pytest.fixture(scope="module")
def shown(source: DataSource, dashboards: dict[str, Json], day: Lived) -> Panels:
    return Panels(source, dashboards, day)


@pytest.fixture(scope="module")
def registers(history: History, day: Lived) -> Iterator[dict[str, np.ndarray]]:
    """Net register [kWh] of each device at the 97 quarter-hour bounds, import minus export."""
    dataset = history.dataset(day.run)
    yield {
        str(device): (
            dataset["energy_import_kwh"].sel(device=device) - dataset["energy_export_kwh"].sel(device=device)
        ).to_numpy()
        for device in dataset["device"].to_numpy()
    }


def test_cost_so_far_ends_at_the_reports_cost(shown: Panels, day: Lived) -> None:
    assert math.isclose(shown.number("overview", "Energy cost"), day.result.cost_eur, rel_tol=1e-9)
    assert len(shown.series("overview", "Cost so far")["cost"]) == 96


def test_energies_at_the_pcc_are_the_reports(shown: Panels, day: Lived) -> None:
    assert math.isclose(shown.number("overview", "Imported"), day.result.import_kwh, rel_tol=1e-9)
    assert math.isclose(shown.number("overview", "Exported"), day.result.export_kwh, rel_tol=1e-9)
    assert math.isclose(shown.number("overview", "Losses"), day.result.losses_kwh, rel_tol=1e-9)
    assert shown.number("network", "Losses") == shown.number("overview", "Losses")


def test_components_add_up_to_the_power_at_the_pcc(shown: Panels) -> None:
    components = shown.series("overview", "Power by component")
    pcc = shown.series("overview", "Plan against actual at the PCC")["PCC"]
    assert {len(values) for values in components.values()} == {96}
    assert np.sum(list(components.values()), axis=0) == pytest.approx(pcc, abs=1e-6)


@pytest.mark.parametrize(("days", "quarters"), [(7, 1), (30, 2)])
def test_components_of_a_long_time_range_are_means_of_more_quarter_hours(
    source: DataSource, dashboards: dict[str, Json], shown: Panels, day: Lived, days: int, quarters: int
) -> None:
    within = TimeRange(day.within.start, day.within.start + timedelta(days=days))
    components = Panels(source, dashboards, replace(day, within=within)).series("overview", "Power by component")
    pcc = np.array(shown.series("overview", "Plan against actual at the PCC")["PCC"])
    means = pcc.reshape(-1, quarters).mean(axis=1)
    assert np.sum(list(components.values()), axis=0) == pytest.approx(means, abs=1e-6)


def test_highest_import_is_the_highest_quarter(shown: Panels) -> None:
    pcc = shown.series("overview", "Plan against actual at the PCC")["PCC"]
    assert shown.number("overview", "Highest import") == pytest.approx(max(pcc), rel=1e-9)


def test_limits_are_the_sites(shown: Panels) -> None:
    site = load_site("fit_g2v")
    assert site.network is not None
    limits = site.connection.import_limit_kw, site.connection.export_limit_kw
    pcc = shown.series("overview", "PCC against the connection's limits")
    assert (pcc["import limit"], pcc["export limit"]) == ([limits[0]] * 2, [-limits[1]] * 2)
    voltages = shown.series("network", "Voltages by node")
    assert voltages["lower limit"] == [site.network.voltage_min_pu] * 2
    assert voltages["upper limit"] == [site.network.voltage_max_pu] * 2


def test_actual_power_of_a_device_is_the_mean_by_its_registers(shown: Panels, registers: dict[str, np.ndarray]) -> None:
    for device in ("ev1", "bess", "pv"):
        actual = shown.series("device", "Set-point, acknowledgement, power", device=device)["actual"]
        assert actual == pytest.approx(np.diff(registers[device]) / QUARTER_H, abs=1e-9)


def test_dead_time_is_the_chargers_of_the_site(shown: Panels) -> None:
    charger = load_site("fit_g2v").devices["ev1"]
    assert isinstance(charger, Charger)
    (found,) = shown.series("device", "Dead time, from energies", device="ev1").values()
    assert len(found) > 5
    # Less where the car reaches a bound of its SOC within the dead time: then no energy is late.
    assert [np.median(found), max(found)] == pytest.approx([charger.dead_time_s] * 2, abs=1e-3)


def test_losses_by_element_add_up_to_those_of_the_network(shown: Panels, history: History, day: Lived) -> None:
    by_element = shown.series("network", "Losses by element")
    losses = history.dataset(day.run)["losses_kw"].to_numpy()
    assert np.sum(list(by_element.values()), axis=0) == pytest.approx(losses, abs=1e-9)


def test_power_factor_at_the_pcc_is_what_the_network_twin_told(shown: Panels, history: History, day: Lived) -> None:
    told = [received.body for received in history.messages(day.run, Channel.TELEMETRY, Kind.NETWORK)]
    factors = [
        body.power_factor for body in told if isinstance(body, NetworkTelemetry) and body.power_factor is not None
    ]
    assert shown.series("network", "Power factor at the PCC")["power factor"] == factors
    assert shown.number("network", "Lowest power factor") == min(map(abs, factors))


def test_savings_of_the_day_are_the_reports(shown: Panels, day: Lived) -> None:
    assert day.result.savings_eur is not None
    assert shown.number("savings", "Savings") == pytest.approx(day.result.savings_eur, rel=1e-9)
    assert shown.number("savings", "PSF, mean of the days") == pytest.approx(day.result.psf, rel=1e-9)
    assert shown.number("savings", "Whole days") == 1.0


def test_operations_count_what_the_report_counts(shown: Panels, day: Lived) -> None:
    assert shown.number("operations", "Plans by fallback") == 0
    assert shown.number("operations", "Members not online") == 0
    (plans,) = shown.frames("operations", "Plans")
    assert len(plans.field("status").values) == day.result.plan_statuses["optimal"] == 96
    (pairs,) = shown.frames("device", "Set-points and answers", device="ev1")
    assert len(pairs.field("id").values) == 96
    assert pairs.field("asked").values == pairs.field("applied").values
    assert shown.number("device", "Unanswered", device="ev1") == 0
    assert shown.number("device", "Answered otherwise", device="ev1") == 0


def test_page_of_runs_leads_to_the_whole_run(shown: Panels, source: DataSource, day: Lived) -> None:
    (runs,) = shown.frames("runs", "Runs")
    place = runs.field("run").values.index(day.run)
    assert runs.field("from").values[place] == day.result.start.timestamp() * 1000
    assert runs.field("to").values[place] == (day.result.end + timedelta(seconds=1)).timestamp() * 1000
    assert runs.field("label").values[place] == "main"
    assert f"reference:{day.run}" in runs.field("label").values


def test_a_disturbed_session_shows_its_faults(source: DataSource, dashboards: dict[str, Json], session: Lived) -> None:
    shown = Panels(source, dashboards, session)
    # Two broken messages a minute for 59 minutes.
    assert shown.number("operations", "Dead letters of this run") == 2 * 59
    (letters,) = shown.frames("operations", "Dead letters")
    assert len(letters.field("received").values) == 2, "each once, with how often it came"
    rejected = shown.series("operations", "Rejected messages")
    assert rejected["rejected of charger ev1"][-1] > 50
    (members,) = shown.frames("operations", "Members")
    states = dict(zip(members.field("member").values, members.field("state").values, strict=True))
    assert states["boiler"] == "online"
    silent = dict(zip(members.field("member").values, members.field("silent").values, strict=True))
    # It told last a minute before the session's end, to which the time range adds a second.
    assert silent["boiler"] == pytest.approx(61.0)
    (alarms,) = shown.frames("network", "Alarms")
    assert {"overload", "hot"} <= set(alarms.field("code").values)


def test_limits_from_outside_are_lines_beside_the_power(
    source: DataSource, dashboards: dict[str, Json], session: Lived
) -> None:
    limits = Panels(source, dashboards, session).series("overview", "PCC against the connection's limits")
    assert set(limits["import limit from outside"]) == {OUTSIDE_KW}
    assert set(limits["export limit from outside"]) == {-OUTSIDE_KW}
    assert len(limits["import limit from outside"]) >= 3, "a point for each settlement period after it came"
