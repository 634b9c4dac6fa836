"""A vehicle that is pulled off in mid-plan, and a consumer that reads nothing any more."""

import socket
from datetime import UTC, datetime, timedelta

from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import ChargerTelemetry
from schemas.site import CarLeaves
from schemas.site.scenario import Event
from schemas.topics import Channel
from tests.faults.live import Live

GREETING = bytes([0x10, 17, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 0, 0, 5]) + b"stuck"
EVERYTHING = bytes([0x82, 6, 0, 1, 0, 1]) + b"#" + bytes([1])
BLOCK = b"x" * 100_000
BLOCKS = 400
"""40 MB: more than the sockets' buffers hold."""


def test_a_vehicle_that_is_pulled_off_under_a_set_point_draws_nothing_from_then_on(live: Live) -> None:
    live.start()
    live.until("the charger", ChargerTelemetry)
    assert live.until_acked(live.command("charge", 9.0, 600.0)).accepted
    before = live.until_power(9.0)
    pulled = datetime.now(UTC)
    live.send(live.topic(Channel.EVENT), Event(id="pulled", event=CarLeaves(device="ev1", at=pulled)))
    told = live.until("an empty plug", ChargerTelemetry, lambda body: body.vehicle is None)
    assert told.power_kw == 0.0
    after = live.until_power(0.0)
    flowed_h = (after.import_kwh - before.import_kwh) / 9.0
    assert timedelta(hours=flowed_h) <= pulled - before.at + timedelta(seconds=2)
    assert live.until_power(0.0, after.at).import_kwh == after.import_kwh


def test_a_consumer_that_reads_nothing_any_more_holds_nobody_up(live: Live, mosquitto: LocalMosquitto) -> None:
    live.start()
    live.until("the charger", ChargerTelemetry)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((mosquitto.address.host, mosquitto.address.port))
        stuck.sendall(GREETING)
        assert stuck.recv(4) == bytes([0x20, 2, 0, 0])
        stuck.sendall(EVERYTHING)
        for number in range(BLOCKS):
            live.raw("elsewhere/blocks", BLOCK)
            if number % 100 == 99:
                command = live.command(f"through-{number}", float(number % 7), 600.0)
                assert live.until_acked(command).accepted
