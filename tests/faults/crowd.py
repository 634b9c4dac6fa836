"""Many devices on one broker, each with a connection of its own and a telemetry every second.

``python -m tests.faults.crowd BROKER SITE RUN DEVICES SECONDS``; it prints how many messages each device has sent.
"""

import sys
import time
from datetime import UTC, datetime
from typing import cast

from broker.address import BrokerAddress, parse_broker
from broker.mqtt import MqttTransport
from schemas.messages import Birth, Body, ChargerNameplate, ChargerTelemetry, Fallback, Presence, Stamp, State, TimeMode
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode

BOOT = "crowd"


def nameplate() -> ChargerNameplate:
    efficiency = {"charge_efficiency": 0.95, "discharge_efficiency": 0.95}
    return ChargerNameplate(max_charge_kw=11.0, max_discharge_kw=11.0, min_power_kw=0.0, current="dc", **efficiency)


def send(address: BrokerAddress, site: str, run: str, devices: int, seconds: int) -> int:
    """Returns the number of telemetries that each has sent, all of them acknowledged by the broker."""
    transports = [MqttTransport(address, f"crowd-{number}") for number in range(devices)]
    for number, transport in enumerate(transports):
        transport.connect(())
        birth = Birth(
            nameplate=nameplate(),
            telemetry_period_s=1.0,
            time_modes=(TimeMode.WALL,),
            fallback=Fallback.IDLE,
            software="crowd 1",
        )
        for channel, body in ((Channel.BIRTH, birth), (Channel.STATE, State(state=Presence.ONLINE))):
            _publish(transport, Topic(site, Kind.CHARGER, f"ev{number}", channel), body, run, 1)
    began = time.monotonic()
    for second in range(seconds):
        for number, transport in enumerate(transports):
            due = began + second + number / devices
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            topic = Topic(site, Kind.CHARGER, f"ev{number}", Channel.TELEMETRY)
            energy = 0.001 * second
            telemetry = ChargerTelemetry(power_kw=3.6, energy_import_kwh=energy, energy_export_kwh=0.0)
            _publish(transport, topic, telemetry, run, second + 1)
            transport.receive(0.0)
    for transport in transports:
        if not transport.flush(60.0):
            raise SystemExit("the broker did not take everything in")
        transport.close()
    return seconds


def _publish(transport: MqttTransport, topic: Topic, body: Body, run: str, seq: int) -> None:
    stamp = Stamp(ts=datetime.now(UTC), run=run, boot=BOOT, seq=seq)
    transport.publish(str(topic), encode(stamp, body), retain=topic.retained)


if __name__ == "__main__":
    broker, site, run, devices, seconds = sys.argv[1:]
    print(send(cast("BrokerAddress", parse_broker(broker)), site, run, int(devices), int(seconds)))
