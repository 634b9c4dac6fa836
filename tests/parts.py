"""Parts that may be missing on a user's machine: tests that need one skip there, and fail where all are required."""

import os

import pytest

REQUIRE = "TWINSWARM_REQUIRE_ALL_PARTS"


def skip_without(part: str, *, present: bool) -> None:
    """Skips the test when ``part`` is missing; with TWINSWARM_REQUIRE_ALL_PARTS=1 it fails instead."""
    if present:
        return
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{part} is not on this machine, and {REQUIRE}=1 asks for all parts")
    pytest.skip(f"{part} is not on this machine")
