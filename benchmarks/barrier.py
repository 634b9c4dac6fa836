"""How many barrier rounds a second: one clock sends a tick, N processes answer it, QoS 1, acknowledged by hand.

    python benchmarks/barrier.py --members 14 --seconds 3

Rounds over Mosquitto without TCP_NODELAY on either end are the baseline that the two brokers are compared with.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto

TICK, DONE, END = "barrier/tick", "barrier/done", b"end"
WAIT_S = 20.0
PAYLOAD = b"x" * 300
"""About the size of a tick."""


def member(address: BrokerAddress, name: str, nodelay: bool) -> None:
    """Answers every tick until told to end."""
    transport = MqttTransport(address, name, nodelay=nodelay)
    transport.connect([TICK])
    transport.publish(f"{DONE}/{name}", b"here")
    while True:
        tick = transport.receive(WAIT_S)
        if tick is None or tick.payload == END:
            break
        transport.publish(f"{DONE}/{name}", tick.payload)
        transport.acknowledge(tick)
    transport.close()


def rounds_per_second(address: BrokerAddress, members: int, seconds: float, *, nodelay: bool) -> float:
    """Raises RuntimeError when a member does not answer."""
    clock = MqttTransport(address, "clock", nodelay=nodelay)
    clock.connect([f"{DONE}/+"])
    options = ["--nagle"] if not nodelay else []
    processes = [
        subprocess.Popen([sys.executable, __file__, "--member", f"m{i}", "--port", str(address.port), *options])
        for i in range(members)
    ]

    def await_all() -> None:
        for _ in range(members):
            answer = clock.receive(WAIT_S)
            if answer is None:
                raise RuntimeError(f"a member did not answer within {WAIT_S} s")
            clock.acknowledge(answer)

    try:
        await_all()
        start, rounds = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds:
            clock.publish(TICK, PAYLOAD)
            await_all()
            rounds += 1
        clock.publish(TICK, END)
        clock.flush(WAIT_S)
    finally:
        clock.close()
        for process in processes:
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return rounds / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured per broker")
    parser.add_argument("--member", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--nagle", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.member:
        member(BrokerAddress("127.0.0.1", arguments.port), arguments.member, not arguments.nagle)
        return
    brokers: dict[str, tuple[Callable[[], AbstractContextManager[EmbeddedBroker | LocalMosquitto]], bool]] = {
        "amqtt": (EmbeddedBroker, True)
    }
    if find_mosquitto():
        brokers["mosquitto"] = (LocalMosquitto, True)
        brokers["mosquitto_nagle"] = (lambda: LocalMosquitto(nodelay=False), False)
    result: dict[str, float] = {}
    for name, (start, nodelay) in brokers.items():
        with start() as broker:
            result[name] = rounds_per_second(broker.address, arguments.members, arguments.seconds, nodelay=nodelay)
    for name, base in [("mosquitto", "amqtt"), ("mosquitto", "mosquitto_nagle"), ("amqtt", "mosquitto_nagle")]:
        if name in result and base in result:
            result[f"{name}/{base}"] = result[name] / result[base]
    print(json.dumps({"members": arguments.members} | {k: round(v, 2) for k, v in result.items()}, indent=2))


if __name__ == "__main__":
    main()
