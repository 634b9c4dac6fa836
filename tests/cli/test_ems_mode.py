"""``twinswarm ems --mode``: what the EMS does, whatever the site says."""

import json
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from broker.servers.embedded import EmbeddedBroker
from tests.cli.calling import call
from tests.cli.test_clock import started
from tests.cli.test_services import MEMBERS, SITE_OPTION


@pytest.mark.parametrize(
    ("mode", "status", "setpoints"),
    [("control", "optimal", 4), ("observe", "optimal", 0), ("hold", "safe_rule", 0)],
)
def test_it_plans_and_commands_as_its_mode_says(mode: str, status: str, setpoints: int, tmp_path: Path) -> None:
    """An hour has four steps, and the PV is the one device that can be commanded."""
    with EmbeddedBroker() as broker, ExitStack() as stack:
        for member in MEMBERS:
            chosen = ("--mode", mode) if member == ("ems",) else ()
            stack.enter_context(started(tmp_path, *member, *chosen, *SITE_OPTION, "--broker", str(broker.address)))
        done = call("clock", *SITE_OPTION, "--for", "1h", "--broker", str(broker.address), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "alone.sqlite")) as history:
        found = history.execute("SELECT payload FROM message WHERE channel = 'plan'").fetchall()
        (sent,) = history.execute("SELECT count(*) FROM message WHERE channel = 'setpoint'").fetchone()
    plans = [json.loads(payload) for (payload,) in found]
    assert [(plan["mode"], plan["status"]) for plan in plans] == [(mode, status)] * 4
    assert sent == setpoints


def test_another_mode_is_refused(tmp_path: Path) -> None:
    done = call("ems", "--mode", "idle", cwd=tmp_path)
    assert done.returncode == 2
    assert "'control', 'observe', 'hold'" in done.stderr
