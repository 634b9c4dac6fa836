"""The brokers of tests/broker, for run loops that are driven over one."""

from tests.broker.conftest import address, amqtt, mosquitto

__all__ = ["address", "amqtt", "mosquitto"]
