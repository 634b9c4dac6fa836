"""Real brokers for the tests. Where a server is missing the test is skipped, unless all parts are required."""

from collections.abc import Iterator

import pytest

from broker.address import BrokerAddress
from broker.servers.embedded import EmbeddedBroker
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from tests.parts import skip_without


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
