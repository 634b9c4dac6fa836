"""upgrade-check: what it prints, its JSON, the other environment, its tolerances and its errors."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sites.loader import load_site
from tests.cli.conftest import Recorded
from twinswarm.cli import main

TIMES = ("plan_s_mean", "plan_s_max")


def history_of(recorded: Recorded) -> str:
    return f"sqlite:{recorded.folder / 'runs' / 'history.sqlite'}"


def untimed(side: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in side.items() if name not in TIMES}


def test_the_same_version_in_another_environment_differs_in_nothing(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("schemas.py").write_text("raise SystemExit(7)  # a module of the folder that it is called in")
    main_ends(0, "--history", history_of(recorded), "--with", sys.executable, "--json", "out.json")
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    again, before, now = (found["sum"][part] for part in ("again", "before", "now"))
    assert (again["decisions"], again["taken"], again["different"]) == (48, 48, 0)
    assert untimed(before) == untimed(now)
    assert now["plans"] == 48
    told = capsys.readouterr().out
    for text in ("by local day", "All days", "Open-loop: 48 of 48", "Not worse than allowed"):
        assert text in told


def test_a_day_in_lockstep_is_lived_again_to_the_last_bit(recorded: Recorded, tmp_path: Path) -> None:
    """Under the recorded set-points and under the same EMS all is as it was measured; both of half a day."""
    file = tmp_path / "check.json"
    main_ends(0, "--history", history_of(recorded), "--json", str(file))
    (day,) = json.loads(file.read_text(encoding="utf-8"))["days"]
    assert day["hours"] == 12.0
    assert (
        day["now"]["cost_eur"]
        == day["before"]["cost_eur"]
        == day["measured"]["cost_eur"]
        == recorded.result["cost_eur"]
    )
    for name in ("stored_kwh", "changes", "moved_kw", "missed_kwh", "import_peak_kw"):
        assert day["now"][name] == day["before"][name] == day["measured"][name], name


def test_other_options_of_the_ems_are_tried_and_are_worse(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A price of wear that no spread of prices pays: the BESS rests, at a loss."""
    site = load_site("fit_g2v", "3")
    worn = site.ems.model_copy(update={"bess_wear_eur_per_kwh": 2.0})
    file = tmp_path / "site.json"
    file.write_text(site.model_copy(update={"ems": worn}).model_dump_json(), encoding="utf-8")
    main_ends(1, "--history", history_of(recorded), "--site", str(file), "--allow-cost", "0")
    assert "Worse: " in (told := capsys.readouterr().out)
    assert "€ more" in told
    main_ends(0, "--history", history_of(recorded), "--site", str(file), "--allow-cost", "100", "--allow-missed", "999")


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--to", "2024-05-16"), "empty", "2024-05-16"),
        (("--to", "yesterday"), "format", "yesterday"),
        (("--with", "/nowhere/python"), "not-found", "/nowhere/python"),
        (("--with", "/bin/true"), "foreign", "ended with 0"),
        (("--baseline", "nowhere.json"), "format", "nowhere.json"),
        (("--with", "/bin/true", "--baseline", "a.json"), "conflict", "--baseline"),
        (("--run", "20200101T000000.000000Z-0000"), "unknown", "20200101T000000.000000Z-0000"),
    ],
)
def test_an_error_names_what_is_wrong(
    options: tuple[str, ...], code: str, named: str, recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    main_ends(2, "--history", history_of(recorded), *options)
    said = capsys.readouterr().err
    assert f"[{code}]" in said
    assert named in said


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"form": 2}, "foreign"), ({"run": "another"}, "conflict"), ({"days": []}, "conflict"), ({"days": 5}, "format")],
)
def test_a_baseline_of_something_else_is_refused(
    changed: dict[str, Any], code: str, recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded.result["run"]
    file = tmp_path / "baseline.json"
    given = {"form": 1, "run": run, "software": "twinswarm 0.0.9", "days": [], "decisions": []} | changed
    file.write_text(json.dumps(given), encoding="utf-8")
    main_ends(2, "--history", history_of(recorded), "--baseline", str(file))
    assert f"[{code}]" in capsys.readouterr().err


def main_ends(code: int, *options: str) -> None:
    """``main`` returns or ends with this exit code."""
    try:
        main(["upgrade-check", *options])
    except SystemExit as end:
        assert end.code == code
    else:
        assert code == 0
