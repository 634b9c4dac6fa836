"""Something happens in mid-plan: real processes, a real broker, along the machine's clock."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import Plan, PlanStatus
from schemas.site import CarLeaves
from schemas.site.scenario import Event
from schemas.topics import Channel
from tests.faults.live import Live


@pytest.fixture(params=[3.0, pytest.param(None, marks=pytest.mark.long)], ids=["short", "as it is by default"])
def planned(request: pytest.FixtureRequest, tmp_path: Path, mosquitto: LocalMosquitto) -> Iterator[Live]:
    live = Live(tmp_path, mosquitto.address, replan_least_s=request.param)
    live.listen()
    try:
        yield live
    finally:
        live.close()


def test_a_vehicle_that_is_pulled_off_is_out_of_the_plan_within_a_minute(planned: Live) -> None:
    planned.send_prices()
    planned.start()
    planned.start("ems")
    planned.until("a plan with the charger", Plan, lambda plan: plan.status is PlanStatus.OPTIMAL and _charges(plan))
    pulled = datetime.now(UTC)
    planned.send(planned.topic(Channel.EVENT), Event(id="pulled", event=CarLeaves(device="ev1", at=pulled)))
    empty = planned.until_power(0.0, pulled)
    plan = planned.until("a plan without the vehicle", Plan, lambda plan: not _charges(plan))
    took = planned.heard[-1][1].ts - pulled
    assert empty.at - pulled <= timedelta(seconds=2)
    assert took <= timedelta(minutes=1)
    if plan.start + timedelta(seconds=5) < planned.heard[-1][1].ts:  # else it is the one of a period's start
        assert plan.trigger is not None
        assert "car left ev1" in plan.trigger


def _charges(plan: Plan) -> bool:
    return "ev1" in plan.devices and any(kw != 0 for kw in plan.devices["ev1"].power_kw)
