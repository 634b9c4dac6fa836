"""The stack of a real site, of one's own: no twins; an EMS that watches, and commands when it is told to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.messages import EmsMode, Plan, Setpoint
from schemas.site import EmsOptions, Horizon, TimeOptions
from sites.loader import load_site
from tests.cli.calling import call
from tests.stack.conftest import charger, observing, provisioned
from tests.stack.observer import Message
from tests.stack.stack import Stack

SITE = "quick"
"""The default site's devices, planned for half an hour every 10 s: a quarter-hour would be long to wait."""
STANDING = {"mosquitto", "influxdb", "init-history", "recorder", "forward", "savings", "forecast", "tariff"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("quick")
    quick = {"site": SITE, "time": TimeOptions(step_s=10), "ems": EmsOptions(horizon=Horizon.ROLLING, rolling_h=0.5)}
    (folder / "quick.json").write_text(load_site("fit_g2v").model_copy(update=quick).model_dump_json())
    done = call("compose", "quick.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    with provisioned(Stack(folder / "compose.yaml", profile="live")) as stack:
        stack.up()
        yield stack


def is_plan_with_it(message: Message) -> bool:
    return isinstance(message.body, Plan) and "ev1" in message.body.devices


def test_live_profile_observes_a_real_charger_and_commands_it_when_told_to(live: Stack, tmp_path: Path) -> None:
    assert live.containers().keys() == STANDING | {"ems-live", "clock-live"}
    with observing(live, tmp_path, SITE) as observer, charger(live, SITE, "ev1", tmp_path):
        observer.until(is_plan_with_it, "a plan with the charger")
        until_the_next = observer.upto(is_plan_with_it, "the next plan with it")
        plan = until_the_next[-1].body
        assert isinstance(plan, Plan)
        assert plan.mode is EmsMode.OBSERVE
        assert [message for message in until_the_next if isinstance(message.body, Setpoint)] == []

        live.up(TWINSWARM_EMS_MODE="control")
        asked = observer.until(lambda message: isinstance(message.body, Setpoint), "a set-point")
        assert asked.topic.device == "ev1"
