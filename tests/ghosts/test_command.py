"""``twinswarm ghosts`` over a recorded run."""

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.topics import Channel
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from tests.cli.calling import call
from tests.ghosts.hall import DAY, IDEAL, hall
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Three hours of the hall with a battery that does not exist, recorded."""
    path, site = tmp_path / "h.sqlite", hall({"newbess": IDEAL})
    with closing(HistoryStore(path)) as store:
        run_in_memory(site, course_of(site, DAY, timedelta(hours=3)), Recording(store))
    return path


def test_what_they_would_have_earned_is_a_table_a_figure_and_json(record: Path, tmp_path: Path) -> None:
    told, figure = tmp_path / "earned.json", tmp_path / "ghosts.png"
    done = call("ghosts", "--history", f"sqlite:{record}", "--json", told, "--plot", figure, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "newbess" in done.stdout
    found = json.loads(told.read_text())
    assert found["days"][0]["hours"] == 3.0
    assert found["total"]["real"]["energy_eur"] == pytest.approx(3.0)
    assert figure.read_bytes().startswith(b"\x89PNG")
    with closing(SqliteHistory(record)) as history:
        assert sum(1 for _ in history.messages(history.latest().run, Channel.EARNINGS)) == 2  # and it was recorded
    refused = call("ghosts", "--history", f"sqlite:{record}", "--plot", tmp_path / "no" / "x.png", cwd=tmp_path)
    assert refused.returncode == 2
    other = call("ghosts", "--history", f"sqlite:{record}", "--site", "fit_g2v", cwd=tmp_path)
    assert other.returncode == 2
    assert "ghosts" in other.stderr
