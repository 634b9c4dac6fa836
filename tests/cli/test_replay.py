"""replay: what it prints, its JSON, and its errors."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calling import call
from tests.cli.conftest import Recorded
from twinswarm.cli import main


def history_of(recorded: Recorded) -> Path:
    return recorded.folder / "runs" / "history.sqlite"


def test_a_recorded_plan_is_made_again(recorded: Recorded, tmp_path: Path) -> None:
    done = call("replay", "--history", f"sqlite:{history_of(recorded)}", "--at", "10:20", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["at"], result["differences"]) == ("2024-05-17T08:15:00+00:00", [])
    assert result["plan"]["start"] == "2024-05-17T08:15:00Z"
    assert "Repeated byte for byte: the plan and" in done.stderr
    assert "Decided 2024-05-17 10:15:00 by twinswarm" in done.stderr


def test_all_plans_are_counted_and_one_that_was_changed_is_named(recorded: Recorded, tmp_path: Path) -> None:
    copy = tmp_path / "history.sqlite"
    copy.write_bytes(history_of(recorded).read_bytes())
    done = call("replay", "--history", f"sqlite:{copy}", "--all", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "48 of 48 plans repeated byte for byte" in done.stdout
    with closing(sqlite3.connect(copy)) as file:
        (identity, payload) = file.execute("SELECT id, payload FROM message WHERE channel = 'plan' LIMIT 1").fetchone()
        changed = json.dumps(json.loads(payload) | {"objective_eur": 1.0})
        file.execute("UPDATE message SET payload = ? WHERE id = ?", (changed, identity))
        file.commit()
    done = call("replay", "--history", f"sqlite:{copy}", "--all", "--json", "-", cwd=tmp_path)
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert (result["plans"], result["repeated"]) == (48, 47)
    assert [each["why"] for each in result["failed"]] == ["plan: objective_eur"]


def test_two_plans_stand_beside_each_other(recorded: Recorded, tmp_path: Path) -> None:
    where = ("replay", "--history", f"sqlite:{history_of(recorded)}", "--at", "10:15")
    done = call(*where, "--without", "ev1", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["fork"]["plan"]["devices"]["ev1"]["power_kw"]) == {0.0}
    assert result["fork"]["difference_eur"] != 0
    for part in ("recorded", "fork", "difference", "Set-points, kW", "Fork (without ev1)"):
        assert part in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--at", "15:00"), "range", "2024-05-17 00:00:00 to 2024-05-17 12:00:00"),
        (("--at", "25:00"), "format", "10:15"),
        (("--at", "10:15", "--without", "ev9"), "unknown", "ev4"),
        (("--at", "10:15", "--tariff", "carpark"), "range", "purchase_price_eur_per_kwh"),
        (("--all", "--without", "ev1"), "conflict", "--without"),
        (("--run", "20200101T000000.000000Z-0000"), "unknown", "20200101T000000.000000Z-0000"),
    ],
)
def test_an_error_names_what_is_wrong(
    options: tuple[str, ...], code: str, named: str, recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["replay", "--history", f"sqlite:{history_of(recorded)}", *options])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f"[{code}]" in said
    assert named in said
