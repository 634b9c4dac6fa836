"""The example of an EMS of one's own: in memory, and in the place of the product's over a broker, for a day."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import twinswarm
from schemas.errors import Code, InputError
from services.history.sqlite import SqliteHistory
from tests.cli.calling import COMMAND, call, plain_environment
from tests.system.days import contents
from twinswarm.deploy import running
from twinswarm.deploy.algorithm_file import load_algorithm

EXAMPLE = Path(__file__).parents[2] / "examples" / "ems.py"
ALGORITHM = f"{EXAMPLE}:charge_evenly"


def test_a_day_under_the_example_in_the_place_of_the_ems_is_that_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands as docs/own-ems.md gives them; the second finds the broker of the first."""
    monkeypatch.setenv(running.FOLDER_VARIABLE, str(tmp_path / "runtime"))
    alone = twinswarm.run_day(ems=load_algorithm(ALGORITHM), history=tmp_path / "alone.sqlite")
    assert alone.departure_shortfall_kwh == pytest.approx(0.0, abs=0.01), "every car leaves with its target"
    up = subprocess.Popen(
        [*COMMAND, "up", "--attach", "ems", "--no-report"],
        cwd=tmp_path,
        env=plain_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert up.stdout is not None
        while "Broker" not in up.stdout.readline():
            assert up.poll() is None
        done = call("ems", "--algorithm", ALGORITHM, "--once", cwd=tmp_path, timeout_s=150)
        assert done.returncode == 0, done.stderr
        up.communicate(timeout=60)
        assert up.returncode == 0
    finally:
        up.kill()
        up.wait()
    with closing(SqliteHistory(tmp_path / "runs" / "history.sqlite")) as history:
        run = history.latest().run
    assert contents(tmp_path / "runs" / "history.sqlite", run) == contents(tmp_path / "alone.sqlite", alone.run)


def test_the_example_compares_itself() -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=300, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["charge_evenly", "optimiser"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ems.py", Code.FORMAT),
        ("ems:function", Code.FORMAT),
        ("nowhere.py:function", Code.NOT_FOUND),
        (f"{EXAMPLE}:nothing", Code.UNKNOWN),
        ("broken.py:function", Code.UNREADABLE),
    ],
)
def test_a_file_without_an_algorithm_is_said(
    text: str, code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        load_algorithm(text)
    assert raised.value.code is code
