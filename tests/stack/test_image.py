"""The image: small, without what only developers need, for an account without rights and a file system to read."""

import json
import os

import pytest

from tests.parts import skip_without
from tests.stack.stack import IMAGE, docker, what_is_missing

MOST_MB = 950
"""Its base image included."""


@pytest.fixture(scope="module")
def image() -> str:
    missing = what_is_missing()
    skip_without(missing or "", present=missing is None)
    return os.environ[IMAGE]


def test_it_runs_twinswarm_without_rights(image: str) -> None:
    (told,) = json.loads(docker("image", "inspect", image))
    assert told["Config"]["User"] == "10001:10001"
    assert told["Config"]["Entrypoint"] == ["twinswarm"]
    assert told["Config"]["Labels"]["org.opencontainers.image.title"] == "twinswarm"
    assert told["Size"] < MOST_MB * 1e6


def test_it_carries_neither_tests_nor_an_installer(image: str) -> None:
    search = ("/opt/twinswarm", "-name", "tests", "-o", "-name", "pip")
    assert docker("run", "--rm", "--entrypoint", "find", image, *search) == b""


def test_a_day_runs_with_nothing_to_write_but_volumes_and_no_network(image: str) -> None:
    confined = ("--read-only", "--network", "none", "--cap-drop", "ALL", "--tmpfs", "/tmp")
    state = ("--tmpfs", "/var/lib/twinswarm:uid=10001,gid=10001")
    told = json.loads(docker("run", "--rm", *confined, *state, image, "run", "--for", "1h", "--json", "-"))
    assert told["complete"]
