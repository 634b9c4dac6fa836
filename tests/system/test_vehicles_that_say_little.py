"""Vehicles of which little is known, from end to end: twins, forecast, EMS, history, baseline, report and exports."""

import json
import math
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from runtime.in_memory import run_direct
from schemas.messages import Plan, PluggedVehicle
from schemas.site import AssumedVehicle, Charger, Site
from schemas.topics import Channel, Kind, Topic
from services.analysis.result import RunResult
from services.clock.lockstep import lockstep_run
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from sites.loader import load_site
from tests.system.days import contents, how_of, numbers, order_of
from twin_devices.charger import Charger as ChargerTwin
from twinswarm.cli.app import app
from twinswarm.deploy.process import utc_now
from twinswarm.deploy.up import conduct_swarm
from twinswarm.simulation.compose import Recording, maker, members
from twinswarm.simulation.pipeline import conduct_in_memory, settle
from twinswarm.simulation.runs import course_of, new_run_id
from twinswarm.simulation.variants import Reference

ASSUME = AssumedVehicle.model_validate(
    {"capacity_kwh": 50.0, "arrival_soc_frac": 0.6, "energy_wanted_kwh": 5.0, "departure": "18:00"}
)
SITE = load_site("fit_g2v")


def with_chargers(**changes: dict[str, Any]) -> Site:
    devices = dict(SITE.devices)
    for name, update in changes.items():
        devices[name] = devices[name].model_copy(update=update)
    # Once through the JSON that a process gets.
    return Site.model_validate_json(SITE.model_copy(update={"devices": devices}).model_dump_json())


LITTLE = with_chargers(
    ev1={"reports": (), "assume": ASSUME},
    ev2={"reports": ()},
    ev3={"reports": ("departure", "energy")},
)
"""ev1 is assumed to be something, of ev2 nothing is known or assumed, ev3 says when it leaves and what it wants, ev4
all."""


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    order = order_of(tmp_path_factory.mktemp("little"), site=LITTLE)
    return order.history, conduct_in_memory(order)


def command(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (arguments, done.output, done.exception)
    return done.stdout


def test_the_day_is_planned_with_what_is_known(in_memory: tuple[Path, RunResult]) -> None:
    with closing(SqliteHistory(in_memory[0])) as history:
        plans = [plan for _, plan in history.plans(in_memory[1].run)]
        sessions = {session.charger: session for session in history.sessions(in_memory[1].run)}
    at_noon = next(plan for plan in plans if plan.start == SITE_NOON)
    devices = at_noon.devices
    assert {str(each.value) for each in devices["ev1"].assumptions or ()} == {
        "capacity_kwh",
        "arrival_soc_frac",
        "energy_wanted_kwh",
        "departure",
    }
    assert "neither known nor assumed" in (devices["ev2"].left_to_fallback or "")
    assert devices["ev2"].soc_frac is None
    assert devices["ev3"].assumptions is None and set(devices["ev3"].soc_frac or ()) == {None}
    assert devices["ev4"].assumptions is None and devices["ev4"].soc_frac is not None
    stored = {name: session.stored_kwh for name, session in sessions.items()}
    described = SITE.devices["ev1"]
    assert isinstance(described, Charger)
    (daily,) = described.daily
    wanted_kwh = (daily.target_soc_frac - daily.arrival_soc_frac) * daily.capacity_kwh
    # ev1 got at least what is assumed that it wants (V2G may buy more, to sell it), the others what they really wanted.
    assert stored["ev1"] is not None and stored["ev1"] >= 5.0 * described.charge_efficiency - 0.35
    for name in ("ev2", "ev3", "ev4"):
        assert stored[name] == pytest.approx(wanted_kwh, abs=0.35), name
    assert sessions["ev2"].final_soc_frac is None and sessions["ev2"].capacity_kwh is None


SITE_NOON = course_of(SITE).t0 + timedelta(hours=12)


def test_no_set_point_is_sent_to_whom_nothing_is_known_of(in_memory: tuple[Path, RunResult]) -> None:
    with closing(SqliteHistory(in_memory[0])) as history:
        plugged = [
            received.stamp.ts
            for received, _ in history.setpoints(in_memory[1].run)
            if received.topic.device == "ev2" and SITE_NOON - timedelta(hours=2) < received.stamp.ts < SITE_NOON
        ]
    assert plugged == []


def test_a_missing_soc_is_missing_everywhere_and_never_zero(in_memory: tuple[Path, RunResult], tmp_path: Path) -> None:
    file, result = in_memory
    assert all(quarter.soc_frac["ev2"] is None for quarter in result.quarters)
    assert any(quarter.soc_frac["ev4"] is not None for quarter in result.quarters)
    with closing(SqliteHistory(file)) as history:
        soc = history.dataset(result.run)["soc_frac"].sel(device="ev2")
    assert bool(soc.isnull().all())
    history_option = ("--history", f"sqlite:{file}")
    for form in ("csv", "parquet"):
        command("export", "--run", result.run, *history_option, "--out", str(tmp_path / form), "--format", form)
    sessions = (tmp_path / "csv" / "sessions.csv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(sessions[0].split(","), row.split(","), strict=True)) for row in sessions[1:]]
    (row,) = (row for row in rows if row["charger"] == "ev2")
    assert row["final_soc_frac"] == "" and row["capacity_kwh"] == "" and float(row["counted_kwh"]) > 1.0
    savings = json.loads(command("savings", "--run", result.run, *history_option, "--json", "-"))
    assert _finite(savings)
    command("report", "--run", result.run, *history_option, "--report", str(tmp_path / "report"))


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def test_the_baseline_charges_what_was_charged(in_memory: tuple[Path, RunResult]) -> None:
    """Of a vehicle without SOC the day and its reference charge the same energy."""
    file, result = in_memory
    with closing(SqliteHistory(file)) as history:
        ours = {session.charger: session.stored_kwh for session in history.sessions(result.run)}
        (reference,) = (info.run for info in history.runs() if info.label == f"reference:{result.run}")
        theirs = {session.charger: session.stored_kwh for session in history.sessions(reference)}
    assert theirs.keys() == ours.keys()
    for name in ("ev1", "ev2"):
        assert theirs[name] == pytest.approx(ours[name], abs=1e-6), name


def test_the_same_day_over_a_broker_to_the_last_bit(in_memory: tuple[Path, RunResult], tmp_path: Path) -> None:
    order = order_of(tmp_path, site=LITTLE)
    result = conduct_swarm(order, how_of(tmp_path, "embedded"))
    assert contents(order.history, result.run) == contents(in_memory[0], in_memory[1].run)
    assert numbers(result) == numbers(in_memory[1])


def test_a_day_in_wall_time(tmp_path: Path) -> None:
    """Ten hours at 1,200 times the machine's clock: the cars come at nine."""
    order = order_of(tmp_path, timedelta(hours=11), site=LITTLE)
    result = conduct_swarm(order, how_of(tmp_path, "embedded", speed=1200.0))
    assert result.dead_letters == 0
    with closing(SqliteHistory(order.history)) as history:
        plans = [plan.devices for _, plan in history.plans(result.run)]
        sessions = {session.charger for session in history.sessions(result.run)}
    assert sessions == {"ev1", "ev2", "ev3", "ev4"}
    assert any(plan["ev2"].left_to_fallback for plan in plans if "ev2" in plan)
    assert any(plan["ev1"].assumptions for plan in plans if "ev1" in plan)
    assert not any(plan["ev4"].assumptions for plan in plans if "ev4" in plan)


VALUES = sorted(PluggedVehicle.model_fields.keys() - {"sources"})


class Forgetful(ChargerTwin):
    """A charger that never says some of what there is to say."""

    unsaid: Iterable[str] = ()

    def _vehicle(self, session: Any, at: Any) -> PluggedVehicle:
        return super()._vehicle(session, at).model_copy(update=dict.fromkeys(self.unsaid))


@given(unsaid=st.sets(st.sampled_from(VALUES)), assume=st.sampled_from([None, ASSUME]))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_vehicle_says_the_day_is_settled_reported_and_exported(
    tmp_path: Path, unsaid: set[str], assume: AssumedVehicle | None
) -> None:
    site = with_chargers(ev1={"assume": assume})
    course = course_of(site, length=timedelta(hours=11))
    run = new_run_id(utc_now())
    file = tmp_path / f"{run}.sqlite"
    with closing(HistoryStore(file, durable=False)) as store:
        participants = [maker(site, name, Recording(store))() for name in members(site) if name != "ev1"]
        charger = site.devices["ev1"]
        assert isinstance(charger, Charger)
        forgetful = Forgetful(site, "ev1", charger)
        forgetful.unsaid = unsaid
        clock = Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)
        run_direct([*participants, forgetful], course, run, (clock, lockstep_run(course, utc_now())))
    result = settle(file, run, Reference.SMART, 0.0)
    assert result.dead_letters == 0 and _finite(result.cost_eur)
    assert result.energy_residual_kwh_max < 1e-9
    with closing(SqliteHistory(file)) as history:
        assert [session.charger for session in history.sessions(run)].count("ev1") == 1
        plans: list[Plan] = [plan for _, plan in history.plans(run)]
    assert all("ev1" in plan.devices for plan in plans)
    options = ("--run", run, "--history", f"sqlite:{file}")
    folder = tmp_path / run
    command("export", *options, "--out", str(folder / "csv"))
    command("export", *options, "--out", str(folder / "parquet"), "--format", "parquet")
    command("report", *options, "--report", str(folder / "report"))
    command("savings", *options, "--json", "-")
