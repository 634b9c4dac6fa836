"""Standard output that takes no more, and one that nobody reads to its end."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.calling import COMMAND, plain_environment

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("options", [(), ("--json", "-")])
def test_a_full_disk_is_an_error_in_a_line(options: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [*COMMAND, "check", "heatpump", *options],
            env=plain_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("cannot be written: No space left on device [unwritable]")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize(("command", "figure"), [("compare", "comparison.png"), ("tradeoff", "tradeoff.png")])
def test_the_figure_is_written_though_nobody_reads_the_table(tmp_path: Path, command: str, figure: str) -> None:
    arguments = [*COMMAND, command, "heatpump", "--out", str(tmp_path)]
    with subprocess.Popen(arguments, env=plain_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as told:
        assert told.stdout is not None and told.stderr is not None
        told.stdout.close()
        said = told.stderr.read()
    assert (told.returncode, said) == (1, b"")
    assert (tmp_path / figure).is_file()
