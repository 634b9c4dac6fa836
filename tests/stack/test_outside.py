"""A charger outside the containers joins the site that runs in them."""

import subprocess
import sys
from pathlib import Path

from schemas.messages import Ack, Plan, Setpoint, Telemetry
from tests.stack.conftest import proof
from tests.stack.observer import SITE, Observer
from tests.stack.stack import ROOT, Stack

SPEED = 60
"""A quarter-hour in 15 s of the machine."""
TIME = f"--speed {SPEED} --now"


def test_a_charger_outside_is_in_the_next_plan_and_obeys(stack: Stack, observer: Observer, tmp_path: Path) -> None:
    stack.up(TWINSWARM_TIME=TIME)
    first = observer.until(lambda m: isinstance(m.body, Plan) and not m.retained, "a plan without the charger")
    assert isinstance(first.body, Plan)
    assert "ev9" not in first.body.devices

    stack.provision("add", "ev9", "--kind", "charger")
    stack.compose("kill", "--signal", "HUP", "mosquitto")
    credentials = proof(stack, "ev9", tmp_path)
    command = [sys.executable, str(ROOT / "examples" / "charger.py"), "--broker", f"mqtts://127.0.0.1:{stack.port}"]
    own = ["--site", SITE, "--device", "ev9"]
    shown = ["--cafile", credentials.cafile, "--cert", credentials.cert, "--key", credentials.key]
    with (tmp_path / "charger.log").open("wb") as log:
        charger = subprocess.Popen([*command, *own, *map(str, shown)], cwd=tmp_path, stdout=log, stderr=log)
    try:
        born = observer.until(lambda m: m.topic.device == "ev9" and isinstance(m.body, Telemetry), "its telemetry")
        planned = observer.until(lambda m: isinstance(m.body, Plan), "the next plan")
        assert isinstance(planned.body, Plan)
        assert "ev9" in planned.body.devices, f"{born.stamp.ts} was before {planned.stamp.ts}"
        asked = observer.until(lambda m: isinstance(m.body, Setpoint) and m.topic.device == "ev9", "a set-point for it")
        answer = observer.until(lambda m: isinstance(m.body, Ack) and m.topic.device == "ev9", "its answer")
        assert isinstance(asked.body, Setpoint)
        assert isinstance(answer.body, Ack)
        assert (answer.body.id, answer.body.accepted) == (asked.body.id, True)
    finally:
        charger.terminate()
        charger.wait(10.0)
