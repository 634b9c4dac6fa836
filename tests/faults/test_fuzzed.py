"""Payloads that no EMS would send, on a charger's set-points: it refuses them, and keeps its limits and its life."""

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
