"""`upgrade-check` of a history in InfluxDB: every decision is found there and taken again, as from the file."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import call
from tests.influx.lab import Influx
from tests.influx.test_history import forwarded
from twinswarm.cli import main

STEPS = 12
SIDES = ("again", "before", "now")
TIMES = ("plan_s_mean", "plan_s_max")


@pytest.fixture
def three_hours(tmp_path: Path) -> Path:
    done = call("run", "--case", "3", "--for", "3h", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "runs" / "history.sqlite"


def test_upgrade_check_takes_each_decision_again_that_influxdb_has(
    three_hours: Path, influx: Influx, bucket: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert forwarded(three_hours, influx, bucket) > 0
    of_file, of_influx = (checked(url, capsys) for url in (f"sqlite:{three_hours}", address))
    again = of_influx["sum"]["again"]
    assert (again["decisions"], again["taken"], again["different"]) == (STEPS, STEPS, 0)
    for found in (of_file, of_influx):
        for sums in (found["sum"], *found["days"]):
            for side in SIDES:
                for name in TIMES:  # of this machine
                    sums[side].pop(name)
    assert of_influx["sum"] == of_file["sum"]
    assert of_influx["days"] == of_file["days"]


def checked(history: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `upgrade-check` says of it."""
    try:
        main(["upgrade-check", "--history", history, "--json", "-"])
    except SystemExit as end:
        assert not end.code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found
