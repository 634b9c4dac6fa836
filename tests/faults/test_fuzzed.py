"""Payloads that no EMS would send, on a charger's set-points: it refuses them, and keeps its limits and its life."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import Ack, ChargerTelemetry, Fallback, Setpoint
from schemas.wire import MAX_PAYLOAD_BYTES
from tests.faults.live import RATED_KW, Live, text_of

VALUES = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "-1e308", "22500", "-22500", "-0.0", "1e-320"),
    *("null", "true", '"5"', "[]", "{}", "[[[[]]]]", '"\\u0000"', '"2260-01-01T00:00:00Z"', '"1970-01-01T00:00:00Z"'),
    *(str(2**53), str(2**64), str(-1), "0", "1", '"idle"', '"hold"', '"full"', '"' + "x" * 500 + '"'),
]


def payloads(number: int, seed: int) -> Iterator[bytes]:
    """Deep, large, of another version, and then set-points of which values, names and bytes are others."""
    yield b"[" * 100_000
    yield b'{"a":' * 100_000
    yield b"x" * MAX_PAYLOAD_BYTES
    yield b"\xff\xfe\x00" * 100
    chance = random.Random(seed)
    begin = datetime.now(UTC)
    setpoint = Setpoint(
        id="fuzz",
        epoch=0,
        valid_from=begin,
        valid_until=begin + timedelta(seconds=30),
        power_kw=1.0,
        fallback=Fallback.IDLE,
    )
    for seq in range(1, number + 1):
        fields = {name: json.dumps(value) for name, value in text_of(setpoint, seq).items()}
        for _ in range(chance.randint(1, 3)):
            name = chance.choice(list(fields))
            match chance.randrange(4):
                case 0:
                    fields[name] = chance.choice(VALUES)
                case 1:
                    fields[name + "x"] = fields.pop(name)
                case 2:
                    fields["contract"] = chance.choice(VALUES)
                case _:
                    fields["power_kw"] = chance.choice(VALUES)
        text = bytearray(("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode())
        if chance.random() < 0.3:
            for _ in range(chance.randint(1, 5)):
                text[chance.randrange(len(text))] = chance.randrange(256)
        yield bytes(text)


@pytest.mark.parametrize(
    "number", [pytest.param(2_000, id="2000"), pytest.param(100_000, id="100000", marks=pytest.mark.long)]
)
def test_a_charger_keeps_its_limits_and_its_life_whatever_is_sent_to_it(live: Live, number: int) -> None:
    process = live.start()
    live.until("the charger", ChargerTelemetry)
    for index, payload in enumerate(payloads(number, seed=20261128)):
        live.raw(str(live.set_topic), payload)
        if index % 500 == 499:
            live.until("the charger", ChargerTelemetry)
    command = live.command("sound", 3.0, 120.0, epoch=1_000_000)
    ack = live.until_acked(command)
    assert ack.accepted, "what was fuzzed locks nobody out"
    live.until_power(3.0)
    assert process.poll() is None
    assert all(-RATED_KW <= kw <= RATED_KW for kw in live.powers())
    applied = [body.applied_kw for _, _, body in live.heard if isinstance(body, Ack) and body.applied_kw is not None]
    assert all(-RATED_KW <= kw <= RATED_KW for kw in applied)
