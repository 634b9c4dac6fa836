"""The same case from the three commands that can run it: the numbers that each writes are the same, to the last bit."""

import json
from pathlib import Path
from typing import Any

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.cli.calling import call
from tests.parts import skip_without
from tests.study.conftest import Told

NAMES_OF_THIS_RUN = {"run", "wall_s"}


def result_of(folder: Path, *command: str) -> dict[str, Any]:
    done = call(*command, "--no-report", "--json", "result.json", cwd=folder, timeout_s=120)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return {name: value for name, value in result.items() if name not in NAMES_OF_THIS_RUN}


@pytest.mark.parametrize(
    ("storage", "processes"),
    [("both", ()), ("bess", ("--one-process",))],
    ids=["both, a process each", "bess, one process"],
)
def test_case_6_from_study_run_and_up_over_mosquitto(
    storage: str, processes: tuple[str, ...], told: Told, tmp_path: Path
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    chosen = ("--case", "6", "--storage", storage, "--reference", "smart")
    run = result_of(tmp_path, "run", *chosen)
    assert result_of(tmp_path, "up", "--broker", "mosquitto", *processes, *chosen) == run

    (row,) = [row for row in told.study["table"] if row["storage"] == storage]
    costs = told.study["costs_eur"]["6"]
    assert (costs[storage], costs["none"]) == (run["cost_eur"], run["reference_cost_eur"])
    assert row["ours"] == -run["savings_eur"], "the published table prints a saving as negative"
    assert (row["psf"], row["psf_samples_left_out"]) == (run["psf"], run["psf_excluded_samples"])
    assert (row["psf_2kw"], row["psf_2kw_samples_left_out"]) == (run["psf_2kw"], run["psf_2kw_excluded_samples"])
    assert row["stored_kwh"] == run["stored_energy_difference_kwh"]
