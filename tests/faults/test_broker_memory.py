"""What a client may cost the broker, a queue that nobody empties and what is retained: the operator is told of both."""

import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import IN_FLIGHT_MOST, QUEUE_MOST_BYTES, LocalMosquitto, find_mosquitto
from schemas.messages import Alarm, Metric, Run
from schemas.topics import BROKER_DROPPED, Channel, Kind, everything
from schemas.wire import MAX_PAYLOAD_BYTES
from services.clock.dropped import MESSAGES_DROPPED
from services.monitor.discovery import Roster
from services.monitor.health import Finding, Verdict, diagnose
from tests.faults.live import Live
from tests.faults.test_plug_and_consumer import BLOCK, EVERYTHING, GREETING
from tests.parts import skip_without

CHANNELS = (
    *(Channel.BIRTH, Channel.STATE, Channel.TELEMETRY, Channel.ACK),
    *(Channel.ALARM, Channel.METRIC, Channel.REJECT, Channel.DONE),
)
"""All that a charger may write."""


@pytest.mark.parametrize(
    "queue_bytes",
    [
        pytest.param(1_000_000, id="1MB"),
        pytest.param(QUEUE_MOST_BYTES, id="256MiB", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_messages_that_the_broker_drops_for_a_stuck_consumer_are_an_alarm_and_a_finding_of_doctor(
    queue_bytes: int, tmp_path: Path
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto(directory=tmp_path / "broker", queue_most_bytes=queue_bytes) as mosquitto:
        live = Live(tmp_path, mosquitto.address)
        live.connect()
        try:
            counts = MqttTransport(mosquitto.address, "counts")
            counts.connect([BROKER_DROPPED])
            assert counts.receive(30.0) is not None, "the broker counts"
            live.start_clock()
            live.until("the run", Run)
            with socket.socket() as stuck:
                stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stuck.connect((mosquitto.address.host, mosquitto.address.port))
                stuck.sendall(GREETING)
                assert stuck.recv(4) == bytes([0x20, 2, 0, 0])
                stuck.sendall(EVERYTHING)
                for _ in range(queue_bytes // len(BLOCK) + IN_FLIGHT_MOST + 200):
                    live.raw("elsewhere/blocks", BLOCK)
                    assert live.mouth.flush(60.0)
                alarm = live.until("the alarm", Alarm, lambda body: body.code == MESSAGES_DROPPED)
                assert alarm.active
                assert alarm.value is not None
                assert alarm.value >= 1
                live.until("the clock's count", Metric, lambda body: body.values.get("broker_dropped", 0) > 0)
            counts.close()
            (finding,) = findings(live.roster, "broker queues")
            assert finding.verdict is Verdict.WARNING
            assert re.match(r"\d+ messages dropped", finding.text)
            assert any("the broker has dropped" in found.text for found in findings(live.roster, "alarm"))
        finally:
            live.close()


def test_what_a_device_keeps_retained_beyond_birth_and_state_is_named(live: Live) -> None:
    topics = [str(live.topic(channel, Kind.CHARGER, "greedy")) for channel in CHANNELS]
    for topic in topics:
        live.mouth.publish(topic, b"x" * MAX_PAYLOAD_BYTES, retain=True)
    assert live.mouth.flush(60.0)
    (finding,) = findings(retained(live), "retained")
    assert finding.verdict is Verdict.WARNING
    assert finding.text.startswith("greedy has 4096 KiB retained on 8 channels; by the contract nothing of ack, alarm")
    for topic in topics:
        live.mouth.publish(topic, b"", retain=True)
    assert live.mouth.flush(60.0)
    assert findings(retained(live), "retained") == []


def findings(roster: Roster, subject: str) -> list[Finding]:
    return [each for each in diagnose(roster, datetime.now(UTC), 1.0) if each.subject == subject]


def retained(live: Live) -> Roster:
    """What somebody finds who comes now."""
    transport, roster = MqttTransport(live.address, "newcomer"), Roster()
    transport.connect([everything(live.site.site)])
    while (delivery := transport.receive(1.0)) is not None:
        transport.acknowledge(delivery)
        roster.note(delivery, datetime.now(UTC))
    transport.close()
    return roster
