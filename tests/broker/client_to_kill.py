"""A client that waits to be killed: connects with a last will, says so, and never leaves by itself."""

import sys

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.transport import Will


def main() -> None:
    port, name = int(sys.argv[1]), sys.argv[2]
    transport = MqttTransport(BrokerAddress("127.0.0.1", port), name)
    transport.connect([f"{name}/never"], Will(f"{name}/state", b"offline"))
    transport.publish(f"{name}/state", b"online", retain=True)
    assert transport.flush(5.0)
    print("ready", flush=True)
    while True:
        transport.receive(60.0)


if __name__ == "__main__":
    main()
