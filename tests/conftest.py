"""Tests at once: ``pytest -n 2 --dist loadgroup``.

What a folder's fixtures start (brokers, InfluxDB, containers) is made for that folder, so its tests stay together, in
one worker and in their order.
"""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(_TESTS).parts[0]))
