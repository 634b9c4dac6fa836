"""Payloads that no EMS would send, on a charger's set-points: it refuses them, and keeps its limits and its life."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import Ack, ChargerTelemetry, Fallback, Setpoint
from tests.faults.fuzz import MONSTERS, spoilt
from tests.faults.live import RATED_KW, Live, text_of


def payloads(number: int, seed: int) -> Iterator[bytes]:
    """Deep, large, of another version, and then set-points of which values, names and bytes are others."""
    yield from MONSTERS
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
        yield spoilt(text_of(setpoint, seq), chance, favoured="power_kw")


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


REFUSED = {"NaN": "NaN", "infinite": "Infinity", "1e999": "1e999", "below": "-1e999", "text": '"5"', "huge": "1e300"}
CLIPPED = {"watts": "9000.0", "negative watts": "-9000.0"}
"""9 kW in watts."""
SOUND_KW = 3.0


def test_nan_1e999_and_huge_are_refused_and_watts_for_kilowatts_are_clipped_to_the_rating(live: Live) -> None:
    live.start()
    live.until("the charger", ChargerTelemetry)
    assert live.until_acked(live.command("sound", SOUND_KW, 600.0)).accepted
    live.until_power(SOUND_KW)
    first, begin = len(live.heard), datetime.now(UTC)
    for seq, (name, value) in enumerate((REFUSED | CLIPPED).items(), start=1):
        setpoint = Setpoint(
            id=name,
            epoch=1,
            valid_from=begin,
            valid_until=begin + timedelta(minutes=10),
            power_kw=1.25,
            fallback=Fallback.IDLE,
        )
        payload = json.dumps(text_of(setpoint, seq)).replace("1.25", value)
        assert value in payload
        live.mouth.publish(str(live.set_topic), payload.encode())
        if name in REFUSED:
            live.until_power(SOUND_KW, live.heard[-1][1].ts)
        else:
            live.until(f"the ack of {name}", Ack, lambda ack, name=name: ack.id == name and ack.accepted)
            live.until_power(RATED_KW if value[0] != "-" else -RATED_KW)
    assert not any(ack for name in REFUSED for ack in live.acks(name)), "none of them is followed"
    assert live.powers(first) == {SOUND_KW, RATED_KW, -RATED_KW}
