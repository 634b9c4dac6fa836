"""Standard output that takes no more."""

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
