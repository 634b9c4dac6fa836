"""``savings`` and ``forward`` as a user calls them."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calling import COMMAND, call
from tests.cli.conftest import Recorded
from tests.history.tape import Tape, record


def test_days_are_told_as_table_and_json_with_their_sum(recorded: Recorded) -> None:
    done = call("savings", "--json", "-", cwd=recorded.folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (day,) = told["days"]
    assert told["failed"] == []
    assert (day["date"], day["hours"], day["complete"]) == ("2024-05-17", 12.0, False)
    for name in ("cost_eur", "reference_cost_eur", "savings_eur", "psf", "import_kwh", "losses_kwh"):
        assert day[name] == recorded.result[name] == pytest.approx(told["sum"][name], rel=1e-15)
    assert day["stored_change_kwh"] == recorded.result["stored_energy_difference_kwh"]
    assert (told["run"], told["reference"]) == (recorded.result["run"], "smart")
    assert "(12.00 h)" in done.stderr
    assert "saved" in done.stderr


def test_day_that_cannot_be_settled_is_told_and_is_no_success(tmp_path: Path) -> None:
    # A run of a day and a half, of which the first morning was deleted.
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE run SET up_to_us = up_to_us + :half, pruned = t0_us + :half", {"half": 12 * 3_600_000_000}
        )
    done = call("savings", "--history", f"sqlite:{path}", "--reference", "no-cars", "--json", "-", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert [day["date"] for day in told["days"]] == ["2024-05-16"]
    (failed,) = told["failed"]
    assert failed["date"] == "2024-05-15"
    assert "older messages were deleted" in failed["reason"]
    assert failed["reason"] in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--from", "yesterday"), "--from: a local day is written 2024-05-17 (received 'yesterday')"),
        (("--from", "2024-05-18", "--to", "2024-05-17"), "--to: is not to be before --from"),
        (("--from", "2025-01-01"), "no run with a whole settlement period on these days was recorded"),
        (("--from", "2025-01-01", "--run", "latest"), "recorded were 2024-05-17 to 2024-05-17"),
        (("--run", "nobody"), "there is no such run"),
        (("--follow", "--run", "latest"), "--run: cannot stand beside --follow"),
        (("--history", "somewhere"), "--history: is to be sqlite:PATH or influxdb://host:port/org/bucket"),
        (("--write", "--influx", "localhost:8086"), "--influx: http://host:port or https://host:port"),
    ],
)
def test_wrong_input_is_named(recorded: Recorded, options: tuple[str, ...], complaint: str) -> None:
    done = call("savings", *options, cwd=recorded.folder)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_forward_waits_for_history_and_token_and_then_begins(recorded: Recorded, tmp_path: Path) -> None:
    history, token = tmp_path / "h.sqlite", tmp_path / "token"
    arguments = ("forward", "--history", f"sqlite:{history}", "--influx", "http://127.0.0.1:9", "--token-file", token)
    with subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stderr is not None
        log = process.stderr
        deadline = threading.Timer(60, process.kill)
        deadline.start()
        told = iter(log.readline, b"")
        assert b"waiting for" in (line := next(told)) and b"h.sqlite" in line
        shutil.copy(recorded.folder / "runs" / "history.sqlite", history)
        assert b"waiting for" in (line := next(told)) and b"token" in line
        token.write_text("a token\n")
        assert b"InfluxDB is away" in next(told)
        deadline.cancel()
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - began < 30


def test_forward_once_does_not_wait_for_a_history(tmp_path: Path) -> None:
    done = call("forward", "--history", "sqlite:nowhere.sqlite", "--once", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no history here" in done.stderr
    assert not (tmp_path / "nowhere.sqlite").exists()
