"""run, report, export and plan: what they print, and what they write."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from services.history.sqlite import SqliteHistory
from tests.cli.calling import call
from tests.cli.conftest import Recorded

OF_A_RUN = {
    "cost_eur",
    "reference_cost_eur",
    "savings_eur",
    "psf",
    "psf_excluded_samples",
    "energy_residual_kwh_max",
    "losses_kwh",
    "setpoints_sent",
    "setpoints_changed",
    "messages_recorded",
    "messages_missing",
    "dead_letters",
    "wall_s",
    "quarters",
}


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _floats(item)
    elif isinstance(value, list):
        for item in value:
            yield from _floats(item)


def test_the_json_of_a_run_holds_what_was_promised(recorded: Recorded) -> None:
    assert recorded.result.keys() >= OF_A_RUN
    assert recorded.result["savings_eur"] == recorded.result["reference_cost_eur"] - recorded.result["cost_eur"]
    assert recorded.result["messages_missing"] == recorded.result["dead_letters"] == 0
    quarters = recorded.result["quarters"]
    assert len(quarters) == 48  # 12 h
    assert quarters[0]["time"] == "2024-05-16T22:00:00+00:00"
    assert quarters[0]["power_kw"].keys() >= {"ev1", "bess", "pv", "building"}
    assert quarters[-1]["soc_frac"].keys() >= {"ev1", "bess"}


def test_standard_output_is_the_json_alone_and_people_read_the_rest(recorded: Recorded) -> None:
    assert json.loads(recorded.stdout) == recorded.result
    for part in ("fit-g2v: case 3, storage both, baseline smart", "cost so far", "Savings", "Report", "History"):
        assert part in recorded.stderr


def test_without_a_terminal_there_are_plain_lines_and_no_control_characters(recorded: Recorded) -> None:
    assert not {"\x1b", "\r", "\b"} & {*recorded.stdout, *recorded.stderr}
    progress = [line for line in recorded.stderr.splitlines() if "cost so far" in line]
    assert 10 <= len(progress) <= 13
    assert "100%" in progress[-1]


def test_the_cost_so_far_ends_at_the_cost(recorded: Recorded) -> None:
    last = [line for line in recorded.stderr.splitlines() if "cost so far" in line][-1]
    assert f"cost so far {recorded.result['cost_eur']:.2f} €" in last


def test_the_report_was_written(recorded: Recorded) -> None:
    assert "fit-g2v" in (recorded.folder / "out" / "report.html").read_text(encoding="utf-8")


def test_report_tells_the_same_from_the_history_and_only_reads_it(recorded: Recorded, tmp_path: Path) -> None:
    history = recorded.folder / "runs" / "history.sqlite"
    with closing(sqlite3.connect(history)) as connection:
        before = connection.execute("SELECT count(*) FROM run").fetchall()
    done = call("report", "--history", f"sqlite:{history}", "--report", "again", "--json", "result.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    ignored = {"wall_s"}
    assert {k: v for k, v in again.items() if k not in ignored} == {
        k: v for k, v in recorded.result.items() if k not in ignored
    }
    assert len(list(_floats(again))) > 500  # the equality above is one of many numbers at full precision
    assert (tmp_path / "again" / "report.html").is_file()
    with closing(sqlite3.connect(history)) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchall() == before


def test_an_unknown_run_is_told_with_those_that_there_are(recorded: Recorded) -> None:
    done = call("report", "--run", "20200101T000000.000000Z-0000", cwd=recorded.folder)
    assert done.returncode == 2
    assert recorded.result["run"] in done.stderr


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_export_writes_tables(form: str, recorded: Recorded, tmp_path: Path) -> None:
    history = f"sqlite:{recorded.folder / 'runs' / 'history.sqlite'}"
    done = call("export", "--history", history, "--format", form, "--out", "tables", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = [tmp_path / line for line in done.stdout.splitlines()]
    assert {file.name for file in files} >= {f"devices.{form}", f"site.{form}", f"setpoints.{form}"}
    file = tmp_path / "tables" / f"site.{form}"
    read = pl.read_csv if form == "csv" else pl.read_parquet
    assert len(read(file)) == 49  # 48 quarters and the end


def test_a_plan_is_the_one_that_the_run_made(recorded: Recorded, tmp_path: Path) -> None:
    done = call("plan", "--at", "09:15", "--case", "3", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    with closing(SqliteHistory(recorded.folder / "runs" / "history.sqlite")) as history:
        plans = [plan for _, plan in history.plans(recorded.result["run"])]
    (same,) = [p for p in plans if p.start.isoformat() == plan["times"][0]]
    assert plan["status"] == "optimal"
    assert plan["objective_eur"] == same.objective_eur
    assert plan["devices"] == same.model_dump(mode="json")["devices"]
    assert plan["shortfalls"] == same.model_dump(mode="json")["shortfalls"]
    assert len(plan["times"]) == len(plan["pcc_kw"]) == 59  # 09:15 to midnight
    for part in ("Status", "Objective", "PCC", "ev1", "SOC %", "09:15", "23:45"):
        assert part in done.stderr


def test_a_plan_explains_itself(tmp_path: Path) -> None:
    """At 13:00 PV gives more than the load needs; at 19:00 energy is dearest, and the cars are away."""
    words = " ".join(call("plan", "--at", "13:00", "--explain", cwd=tmp_path).stdout.split())
    assert "the site neither imports nor exports" in words
    assert "ev4 draws 22.5 kW of the PV surplus (a kWh in store is worth 0.2901 €/kWh)." in words
    words = " ".join(call("plan", "--at", "19:00", "--explain", cwd=tmp_path).stdout.split())
    assert "Another kWh would cost it 0.3422 €/kWh." in words
    assert "bess gives back 17.5 kW, while energy is dear" in words
    assert "ev1, ev2, ev3, ev4: no vehicle is plugged." in words


def test_nothing_is_written_where_no_report_is_wanted(tmp_path: Path) -> None:
    done = call("run", "--for", "30min", "--no-report", "--history", "sqlite:h.sqlite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"h.sqlite"}  # and its -wal, -shm
