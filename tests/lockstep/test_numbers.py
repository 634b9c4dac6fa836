"""The numbers of messages are those that docs/topics.md promises: without gaps, save in `tick` and `done`."""

import json
from itertools import pairwise

from tests.lockstep.bus import ChaosBus, Faults
from tests.lockstep.test_attack import attack, awaiting
from tests.lockstep.tiny import Archive


def numbers_on_the_bus(faults: Faults) -> dict[tuple[str, str], list[int]]:
    """Per topic and boot the numbers in the order in which they were sent, each once."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    under_attack = attack(7, faults, awaiting(), Archive())
    bus: ChaosBus = under_attack.bus
    publish = bus.publish

    def heard(topic: str, payload: bytes, *, retain: bool) -> None:
        fields = json.loads(payload)
        numbers = found.setdefault((topic, fields["boot"]), {})
        content = payload.decode()
        assert numbers.setdefault(fields["seq"], content) == content, "one identity, two contents"
        publish(topic, payload, retain=retain)

    bus.publish = heard  # type: ignore[method-assign]
    under_attack.run()
    return {key: list(numbers) for key, numbers in found.items()}


def test_only_tick_and_done_have_gaps_and_they_grow() -> None:
    seen = numbers_on_the_bus(Faults(loss=0.1))
    gaps = set()
    for (topic, _), numbers in seen.items():
        channel = topic.rsplit("/", 1)[1]
        if channel in ("tick", "done"):
            assert all(later > earlier for earlier, later in pairwise(numbers)), topic
            gaps |= {channel for earlier, later in pairwise(numbers) if later != earlier + 1}
        else:
            assert numbers == list(range(1, len(numbers) + 1)), topic
    assert "tick" in gaps
    assert len(seen) > 10


def test_a_tick_is_numbered_by_cycle_phase_and_attempt() -> None:
    (ticks,) = [numbers for (topic, _), numbers in numbers_on_the_bus(Faults()).items() if topic.endswith("/tick")]
    assert ticks[0] == 1, "cycle 0, the first phase, the first attempt"
    places = [number // 1_000_000 for number in ticks]
    assert places == sorted(places)
    assert 1 in {number % 1_000_000 for number in ticks}
