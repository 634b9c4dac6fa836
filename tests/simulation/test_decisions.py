"""Decisions of a recorded run in lock-step are taken again, byte for byte, and otherwise."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.in_memory import run_direct
from schemas.errors import Code, InputError
from schemas.messages import Setpoint
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.clock.lockstep import lockstep_run
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from sites.loader import load_site
from tests.errors import raises
from twinswarm.deploy.process import utc_now
from twinswarm.simulation.compose import Recording, maker, members
from twinswarm.simulation.decisions import Decisions, Moment, Unrepeatable, check_origin, decide, differences
from twinswarm.simulation.forks import Fork
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of, new_run_id

SITE = load_site("fit_g2v")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("day") / "history.sqlite"
    with closing(HistoryStore(file, durable=False)) as store:
        run_in_memory(SITE, course_of(SITE), Recording(store))
    return file


@pytest.fixture
def history(day: Path) -> Iterator[SqliteHistory]:
    with closing(SqliteHistory(day)) as opened:
        yield opened


def decisions_of(history: SqliteHistory) -> Decisions:
    return Decisions(history, history.latest().run)


def at(decisions: Decisions, hour: int) -> Moment:
    return decisions.moment(decisions.plans[4 * hour])


def forked_eur(decisions: Decisions, moment: Moment, fork: Fork) -> float:
    """By how much the objective of the fork's plan is above the recorded one's."""
    outcome = decide(decisions.ems(fork.site_at(moment)), moment, fork.learnt(moment))
    return outcome.plan.objective_eur - moment.recorded.objective_eur


def with_spread(eur_per_kwh: float) -> Site:
    return SITE.model_copy(update={"tariff": SITE.tariff.model_copy(update={"spread_eur_per_kwh": eur_per_kwh})})


def test_every_plan_and_set_point_of_a_day_has_the_bytes_that_were_recorded(history: SqliteHistory, day: Path) -> None:
    decisions = decisions_of(history)
    with closing(sqlite3.connect(day)) as file:
        payloads = dict(file.execute("SELECT topic || '/' || seq, payload FROM message WHERE channel != 'telemetry'"))
    ems, plans, setpoints = decisions.ems(), 0, 0
    for moment in decisions.moments():
        assert isinstance(moment, Moment)
        outcome = decide(ems, moment)
        assert differences(moment, outcome) == []
        sent = [(moment.plan, outcome.plan)]
        sent += [(moment.setpoints[device], body) for device, body in outcome.setpoints.items()]  # type: ignore[list-item]
        for received, body in sent:
            recorded = payloads[f"{received.topic}/{received.stamp.seq}"]
            assert encode(received.stamp, body).decode() == recorded
        plans, setpoints = plans + 1, setpoints + len(outcome.setpoints)
    assert plans == 96
    assert setpoints == len(history.setpoints(decisions.info.run)) > 400


def test_a_decision_that_was_changed_afterwards_is_found_out(history: SqliteHistory) -> None:
    decisions = decisions_of(history)
    moment = at(decisions, 12)
    outcome = decide(decisions.ems(), moment)
    device, received = next(iter(moment.setpoints.items()))
    assert isinstance(received.body, Setpoint)
    changed = received.body.model_copy(update={"epoch": 7})
    outcome = type(outcome)(
        outcome.plan.model_copy(update={"objective_eur": outcome.plan.objective_eur + 1e-12}),
        {**outcome.setpoints, device: changed},
    )
    assert differences(moment, outcome) == ["plan: objective_eur", f"set-point of {device}"]


def test_an_unchanged_fork_differs_by_exactly_nothing(history: SqliteHistory) -> None:
    decisions = decisions_of(history)
    moment = at(decisions, 10)
    for fork in (Fork(site=SITE), Fork(tariff=SITE)):
        outcome = decide(decisions.ems(fork.site_at(moment)), moment, fork.learnt(moment))
        assert differences(moment, outcome) == []
        assert forked_eur(decisions, moment, fork) == 0.0


def test_a_dearer_tariff_costs_more_at_the_recorded_state(history: SqliteHistory) -> None:
    """Case 6 has a spread of 0.20 EUR/kWh; 0.10 more on every imported kWh costs no more than that import now."""
    decisions = decisions_of(history)
    moment = at(decisions, 0)
    more_eur = forked_eur(decisions, moment, Fork(tariff=with_spread(0.30)))
    assert moment.recorded.pcc_kw is not None
    imported_kwh = sum(max(kw, 0.0) for kw in moment.recorded.pcc_kw) / 4
    assert 0.5 * 0.1 * imported_kwh < more_eur <= 0.1 * imported_kwh + 0.01


def test_a_car_that_left_is_no_longer_in_the_plan(history: SqliteHistory) -> None:
    decisions = decisions_of(history)
    moment = at(decisions, 14)
    part = moment.recorded.devices["ev1"]
    assert any(part.power_kw)
    fork = Fork(without=("ev1",))
    outcome = decide(decisions.ems(), moment, fork.learnt(moment))
    assert set(outcome.plan.devices["ev1"].power_kw) == {0.0}
    assert outcome.plan.devices["ev1"].soc_frac is not None
    assert set(outcome.plan.devices["ev1"].soc_frac) == {None}
    gone = decide(decisions.ems(), moment, Fork(without=("bess",)).learnt(moment))
    assert "bess" not in gone.plan.devices
    assert "bess" not in gone.setpoints


def test_forks_that_cannot_be_name_why_all_at_once(history: SqliteHistory) -> None:
    decisions = decisions_of(history)
    moment = at(decisions, 3)
    with pytest.raises(InputError) as caught:
        Fork(tariff=load_site("carpark"), without=("ev1", "ev9")).learnt(moment)
    assert [(fault.where, fault.code) for fault in caught.value.faults] == [
        ("--tariff", Code.RANGE),
        ("--without", Code.EMPTY),
        ("--without", Code.UNKNOWN),
    ]
    elsewhere = SITE.location.model_copy(update={"time_zone": "Europe/London"})
    with raises(Code.CONFLICT, "Europe/London"):
        Fork(site=SITE.model_copy(update={"location": elsewhere})).site_at(moment)


def test_a_time_outside_the_plans_is_refused_with_the_span(history: SqliteHistory) -> None:
    decisions = decisions_of(history)
    first, last = decisions.plans[0], decisions.plans[-1]
    assert decisions.plan_of(first.stamp.ts) is first
    assert decisions.plan_of(decisions.info.up_to or last.stamp.ts) is last
    for outside in (first.stamp.ts - decisions.info.step, last.stamp.ts + 2 * decisions.info.step):
        with raises(Code.RANGE, "2024-05-17 00:00:00 to 2024-05-18 00:00:00"):
            decisions.plan_of(outside)


def test_another_version_is_refused_unless_it_is_wanted(history: SqliteHistory) -> None:
    moment = at(decisions_of(history), 0)
    other = Moment(**{**vars(moment), "software": "twinswarm 0.0.7"})
    with raises(Code.FOREIGN, "twinswarm 0.0.7"):
        check_origin(other)
    check_origin(other, any_version=True)


def test_messages_that_are_missing_are_named(day: Path, tmp_path: Path) -> None:
    copy = tmp_path / "history.sqlite"
    copy.write_bytes(day.read_bytes())
    with closing(sqlite3.connect(copy)) as file:
        file.execute("DELETE FROM message WHERE device = 'ev2' AND channel = 'telemetry' AND seq IN (20, 21)")
        file.commit()
    with closing(SqliteHistory(copy)) as history:
        decisions = decisions_of(history)
        assert isinstance(next(iter(decisions.moments(decisions.plans[:4]))), Moment)
        with raises(Code.MISSING, "twin/v2/fit-g2v/charger/ev2/telemetry"):
            list(decisions.moments())


def test_a_run_without_an_ems_says_so(tmp_path: Path) -> None:
    with closing(HistoryStore(tmp_path / "history.sqlite", durable=False)) as store:
        course = course_of(SITE)
        clock = Topic(SITE.site, Kind.CLOCK, "clock", Channel.RUN)
        participants = [maker(SITE, name, Recording(store))() for name in members(SITE) if name != "ems"]
        run_direct(participants, course, new_run_id(utc_now()), (clock, lockstep_run(course, utc_now())))
    with closing(SqliteHistory(tmp_path / "history.sqlite")) as history, raises(Code.EMPTY, "no EMS"):
        decisions_of(history)


def test_a_plan_in_wall_time_without_its_record_is_named(day: Path, tmp_path: Path) -> None:
    """As of an EMS of an earlier version: the run is said to have been in wall time."""
    copy = tmp_path / "history.sqlite"
    copy.write_bytes(day.read_bytes())
    with closing(sqlite3.connect(copy)) as file:
        file.execute("UPDATE run SET mode = 'wall'")
        file.commit()
    with closing(SqliteHistory(copy)) as history:
        found = list(decisions_of(history).moments())
    assert len(found) == 96
    assert all(isinstance(each, Unrepeatable) and each.error.code is Code.MISSING for each in found)
