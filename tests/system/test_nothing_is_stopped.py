"""Bad messages in mid-run end as dead letters with their reason; the day's numbers do not change."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from schemas.participant import Received
from schemas.wire import MAX_PAYLOAD_BYTES
from services.history.sqlite import SqliteHistory
from tests.system.days import contents, how_of, numbers, order_of
from twinswarm.deploy.up import conduct_swarm
from twinswarm.simulation.pipeline import conduct_in_memory

STAMP = b'"contract":2,"ts":"2024-05-17T06:00:00Z","boot":"villain","seq":%d'
EV1 = "twin/v2/fit-g2v/charger/ev1/telemetry"
BAD = {
    "not a number": (EV1, b'{"power_kw":NaN,' + STAMP % 1 + b"}", "power_kw"),
    "more than a float holds": (EV1, b'{"power_kw":1e999,' + STAMP % 2 + b"}", "power_kw"),
    "a text for a number": (EV1, b'{"power_kw":"12",' + STAMP % 3 + b"}", "power_kw"),
    "another version": (EV1, b'{"power_kw":1,"contract":1,"ts":"2024-05-17T06:00:00Z","boot":"v","seq":4}', "contract"),
    "no version": (EV1, b'{"power_kw":1,"ts":"2024-05-17T06:00:00Z","boot":"v","seq":5}', "contract"),
    "deeply nested": (EV1, b"[" * 100_000, "recursion"),
    "no JSON": (EV1, b"\xff\xfe", "JSON"),
    "too long": (EV1, b'{"power_kw":1,' + STAMP % 6 + b',"x":"' + b"y" * MAX_PAYLOAD_BYTES + b'"}', "bytes"),
    "a time without a zone": (EV1, b'{"power_kw":1,"contract":2,"ts":"2024-05-17T06:00:00","boot":"v","seq":7}', "ts"),
    "no such kind": ("twin/v2/fit-g2v/toaster/ev1/telemetry", b"{}", "toaster"),
    "no such channel": ("twin/v2/fit-g2v/charger/ev1/gossip", b"{}", "gossip"),
    "a level too many": ("twin/v2/fit-g2v/charger/ev1/telemetry/x", b"{}", "topic"),
    "an unknown field in a command": (
        "twin/v2/fit-g2v/charger/ev1/setpoint",
        b'{"id":"x","epoch":0,"valid_from":"2024-05-17T06:00:00Z","valid_until":"2024-05-17T07:00:00Z","power_kw":1,'
        b'"fallback":"idle","urgent":true,' + STAMP % 8 + b"}",
        "urgent",
    ),
}


def test_bad_messages_are_dead_letters_and_change_nothing(tmp_path: Path) -> None:
    length = timedelta(hours=11)
    calm = order_of(tmp_path / "calm", length)
    expected = conduct_in_memory(calm)
    order = order_of(tmp_path / "attacked", length)
    with EmbeddedBroker() as broker:
        villain = MqttTransport(broker.address, "villain")
        villain.connect(())
        sent: list[bool] = []

        def on_message(received: Received) -> None:
            if received.stamp.ts >= order.course.t0 + timedelta(hours=9.5) and not sent:
                sent.append(True)
                for topic, payload, _ in BAD.values():
                    villain.publish(topic, payload)
                assert villain.flush(10)

        result = conduct_swarm(order, how_of(tmp_path / "attacked", str(broker.address)), on_message)
        villain.close()
    assert contents(order.history, result.run) == contents(calm.history, expected.run)
    assert numbers(result) | {"dead_letters": 0} == numbers(expected)
    with closing(SqliteHistory(order.history)) as history:
        letters = history.dead_letters(result.run)
    assert len(letters) == len(BAD) == result.dead_letters
    for name, (topic, payload, reason) in BAD.items():
        assert any(
            letter.topic == topic and reason in letter.reason and payload.startswith(letter.payload[:500])
            for letter in letters
        ), name
