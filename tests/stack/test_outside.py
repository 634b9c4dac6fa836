"""A charger outside the containers joins the site that runs in them."""

from datetime import datetime
from pathlib import Path

from schemas.messages import Ack, Plan, Run, Setpoint, Telemetry, TimeMode
from tests.stack.conftest import SITE, charger
from tests.stack.observer import Message, Observer
from tests.stack.stack import Stack

NAME = "ev9"
TIME = "--speed 60 --now"
"""From the machine's day and time on, a quarter-hour in 15 s: the EMS plans every 15 s."""


def test_a_charger_outside_is_in_the_next_plan_and_obeys(stack: Stack, observer: Observer, tmp_path: Path) -> None:
    """No device of the site's description: the EMS knows it from its birth alone."""
    stack.up(TWINSWARM_TIME=TIME)
    began = observer.until(lambda m: isinstance(m.body, Run) and m.body.mode is TimeMode.WALL, "a session in wall time")
    run = began.stamp.run

    def next_plan(after: datetime) -> Plan:
        told = observer.until(
            lambda m: isinstance(m.body, Plan) and m.stamp.run == run and m.stamp.ts > after, "a plan"
        )
        assert isinstance(told.body, Plan)
        return told.body

    assert NAME not in next_plan(began.stamp.ts).devices
    stack.provision("add", NAME, "--kind", "charger")
    stack.inside("mosquitto", "sh", "-c", "kill -HUP 1")
    with charger(stack, SITE, NAME, tmp_path):
        told = observer.until(lambda m: of_it(m) and isinstance(m.body, Telemetry), "its telemetry")
        assert NAME in next_plan(told.stamp.ts).devices
        asked = observer.until(lambda m: of_it(m) and isinstance(m.body, Setpoint), "a set-point for it")
        answer = observer.until(lambda m: of_it(m) and isinstance(m.body, Ack), "its answer")
    assert isinstance(asked.body, Setpoint)
    assert isinstance(answer.body, Ack)
    assert (answer.body.id, answer.body.accepted) == (asked.body.id, True)
    # A reload is no wish to end the broker: it is started anew when it dies.
    stack.kill_hard("mosquitto")


def of_it(message: Message) -> bool:
    return message.topic.device == NAME
