"""Real brokers for the tests. Where a server is missing the test is skipped, unless all parts are required."""

import os
from collections.abc import Iterator

import pytest

from broker.address import BrokerAddress
from broker.embedded import EmbeddedBroker
from broker.mosquitto import LocalMosquitto, find_mosquitto

REQUIRE = "TWINSWARM_REQUIRE_ALL_PARTS"


def skip_without(part: str, *, present: bool) -> None:
    """Skips the test when ``part`` is missing; with TWINSWARM_REQUIRE_ALL_PARTS=1 it fails instead."""
    if present:
        return
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{part} is not on this machine, and {REQUIRE}=1 asks for all parts")
    pytest.skip(f"{part} is not on this machine")


@pytest.fixture(scope="session")
def amqtt() -> Iterator[BrokerAddress]:
    with EmbeddedBroker() as broker:
        yield broker.address


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[BrokerAddress]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as broker:
        yield broker.address


@pytest.fixture(params=["amqtt", "mosquitto"])
def address(request: pytest.FixtureRequest) -> BrokerAddress:
    """Of each real broker in turn."""
    address: BrokerAddress = request.getfixturevalue(request.param)
    return address
