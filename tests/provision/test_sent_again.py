"""Store and forward on a provisioned Mosquitto: what is sent again is its sender's, and for the recorder alone.

A publication that is denied looks like one that was delivered, so the tests look at what arrives.
"""

from broker.transport import Delivery
from schemas.messages import ChargerTelemetry, Receipt
from schemas.roles import read_filters
from schemas.topics import Channel, Kind, forward_of
from tests.provision.secured import ALL, PATIENCE_S, SITE, Secured, message, send_marker, topic, until

TELEMETRY = message(ChargerTelemetry(power_kw=1.0))
EV1, EV2 = (topic(Kind.CHARGER, name, Channel.TELEMETRY) for name in ("ev1", "ev2"))


def topics(found: list[Delivery]) -> list[str]:
    return [delivery.topic for delivery in found]


def test_a_device_sends_again_its_own_messages_and_only_the_recorder_is_given_them(shared: Secured) -> None:
    recorder = shared.client("recorder", *read_filters(SITE, Kind.RECORDER, "recorder"))
    observer = shared.client("observer", ALL, forward_of(ALL), "#")
    ems = shared.client("ems", *read_filters(SITE, Kind.EMS, "ems"), forward_of(ALL))
    ev1 = shared.client("ev1")
    ev1.publish(forward_of(EV1), TELEMETRY)
    ev1.publish(forward_of(EV2), TELEMETRY)
    ev1.publish(forward_of(topic(Kind.CLOCK, "clock", Channel.RUN)), TELEMETRY)
    marker = send_marker(ev1, Kind.CHARGER, "ev1")
    assert topics(until(recorder, marker)) == [forward_of(EV1)]
    assert topics(until(observer, marker)) == []
    ems_marker = send_marker(ems, Kind.EMS, "ems")
    assert forward_of(EV1) not in topics(until(observer, ems_marker))
    while (delivery := ems.receive(0.2)) is not None:
        assert not delivery.topic.startswith("twin/forward/")


def test_a_receipt_is_written_by_the_recorder_and_read_by_whom_it_is_for(shared: Secured) -> None:
    mine, others = (topic(Kind.CHARGER, name, Channel.RECEIPT) for name in ("ev1", "ev2"))
    receipt = message(Receipt(stored=1, missing=0, ranges={"b1": {EV1: ((1, 1),)}}))
    ev1 = shared.client("ev1", mine, others)
    ev2 = shared.client("ev2")
    for intruder in (ev1, ev2):
        intruder.publish(mine, receipt)
        assert intruder.flush(PATIENCE_S)
    recorder = shared.client("recorder")
    recorder.publish(others, receipt)
    recorder.publish(mine, receipt)
    assert recorder.flush(PATIENCE_S)
    delivery = ev1.receive(PATIENCE_S)
    assert delivery is not None
    assert delivery.topic == mine
    assert ev1.receive(0.3) is None
