"""What ghosts earned over several runs, with what lies between them."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from services.history.sqlite import SqliteHistory
from tests.cli.calling import call
from tests.ghosts.records import record_runs
from twinswarm.simulation.ghosts_over_history import ghosts_over


def test_runs_are_added_by_day_and_month_and_what_lies_between_is_named(tmp_path: Path) -> None:
    """Two hours that were simulated twice, a gap of two hours, and the rest of the day and the next night."""
    path, result, figure = tmp_path / "h.sqlite", tmp_path / "earned.json", tmp_path / "ghosts.png"
    again, first, second = record_runs(path, (0, 2), (0, 2), (4, 26))
    options = ("--history", f"sqlite:{path}", "--run", "all", "--json", result, "--plot", figure)
    done = call("ghosts", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert (found["runs"], found["left_out"]) == ([first, second], [again])
    assert found["gaps"] == [{"start": "2024-05-17T00:00:00+00:00", "end": "2024-05-17T02:00:00+00:00"}]
    assert found["gap_hours"] == 2.0
    assert "2.00 h of 26.00 h (7.7%) between the runs" in done.stdout
    assert again in done.stdout
    days = {day["date"]: day for day in found["days"]}
    assert [(date, day["hours"]) for date, day in days.items()] == [("2024-05-17", 22.0), ("2024-05-18", 2.0)]
    with closing(SqliteHistory(path)) as history:
        ends = [list(ghosts_over(history, run, history.site(run)))[-1] for run in (first, second)]
    (month,) = found["months"]
    assert month["hours"] == found["total"]["hours"] == 24.0
    assert found["total"]["earned_eur"] == pytest.approx(sum(end.total.earned_eur for end in ends))
    assert found["total"]["earned_eur"] == pytest.approx(sum(day["earned_eur"] for day in days.values()))
    assert found["total"]["real"]["energy_eur"] == pytest.approx(10 * (10 * 0.10 + 12 * 0.30) + 10 * 2 * 0.10)
    peak_kw = max(end.total.ghosts.peak_kw for end in ends)
    assert month["ghosts"]["peak_kw"] == peak_kw
    assert month["earned_demand_eur"] == pytest.approx(0.5 * (10.0 - peak_kw))
    drawn_kwh = sum(end.devices["newbess"].energy_import_kwh for end in ends)
    assert found["devices"]["newbess"]["energy_import_kwh"] == pytest.approx(drawn_kwh)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_one_run_is_what_it_was_without_sums(tmp_path: Path) -> None:
    path, result = tmp_path / "h.sqlite", tmp_path / "earned.json"
    (run,) = record_runs(path, (0, 3))
    done = call("ghosts", "--history", f"sqlite:{path}", "--json", result, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    with closing(SqliteHistory(path)) as history:
        last = list(ghosts_over(history, run, history.site(run)))[-1]
    assert found["total"] == last.total.model_dump(mode="json", exclude_none=True)
    assert found["months"] == [{"month": "2024-05", **last.month.model_dump(mode="json", exclude_none=True)}]
    assert (found["gaps"], found["left_out"]) == ([], [])
