"""What ghosts earned over runs in InfluxDB is what they earned over the same runs in SQLite, to the last bit."""

import json
from pathlib import Path

import pytest

from tests.ghosts.records import record_runs
from tests.influx.lab import Influx
from tests.influx.test_history import forwarded
from twinswarm.cli import main


def test_several_runs_earn_the_same_to_the_last_bit(
    influx: Influx, bucket: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h.sqlite"
    record_runs(path, (0, 3), (5, 8))
    forwarded(path, influx, bucket)
    answers = []
    for history in f"sqlite:{path}", address:
        with pytest.raises(SystemExit) as end:
            main(["ghosts", "--history", history, "--run", "all", "--json", "-"])
        assert not end.value.code
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert (len(answers[1]["runs"]), answers[1]["gap_hours"], answers[1]["total"]["hours"]) == (2, 2.0, 6.0)
