"""Registers as a chain of readings: the way back after a fall is no energy, and what is booked late has its time."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.plausibility import PowerBounds
from schemas.register_reading import CAME_BACK, RegisterReading

NOW = datetime(2025, 3, 4, 11, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BOUNDS = PowerBounds(600.0, 600.0, "test")


def settled_kwh(
    rows: Sequence[tuple[float, float]], every: timedelta = MINUTE, export: bool = False
) -> tuple[float, list[str | None]]:
    """Energy that is believed of (power, register), and the doubt of each step; a doubted step counts by its power.

    After each step the chain goes through JSON, as a checkpoint does.
    """
    total, doubts = 0.0, []
    reading: RegisterReading | None = None
    for index, (power_kw, kwh) in enumerate(rows):
        power, registers = (-power_kw, (7.0, kwh)) if export else (power_kw, (kwh, 7.0))
        now = (NOW + index * every, "a", power, *registers)
        if reading is None:
            reading = RegisterReading.first(*now)
            continue
        later = reading.following(*now)
        doubts.append(reading.doubt_until(later, BOUNDS))
        grown = reading.grown_until(later)
        assert grown is not None
        held_kwh = abs(reading.power_kw) * (every / timedelta(hours=1))
        total += held_kwh if doubts[-1] else grown[int(export)]
        reading = RegisterReading.restored(json.loads(json.dumps(later.snapshot())))
    return total, doubts


@pytest.mark.parametrize("export", [False, True])
@pytest.mark.parametrize("low_for", [1, 2, 3])
def test_the_way_back_after_a_fall_is_counted_by_power(low_for: int, export: bool) -> None:
    # 9 kW: 0.15 kWh a minute. From the fifth reading on 0.7 kWh are missing, for `low_for` readings.
    rows = [(9.0, 2_300.0 + 0.15 * i - (0.7 if 5 <= i < 5 + low_for else 0.0)) for i in range(20)]
    total, doubts = settled_kwh(rows, export=export)
    assert total == pytest.approx(19 * 0.15)
    assert [index for index, doubt in enumerate(doubts) if doubt] == [4, 4 + low_for]
    assert doubts[4 + low_for] == CAME_BACK


def test_a_register_that_stays_low_has_begun_anew_and_loses_nothing() -> None:
    rows = [(9.0, 2_300.0 + 0.15 * i - (0.7 if i >= 5 else 0.0)) for i in range(20)]
    total, doubts = settled_kwh(rows)
    assert total == pytest.approx(19 * 0.15)
    assert [index for index, doubt in enumerate(doubts) if doubt] == [4]


def test_a_load_that_rises_after_a_fall_is_not_taken_for_the_way_back() -> None:
    # A charger begins with 22 kW in the minute in which its register began anew 3 kWh lower: 0.37 kWh a minute.
    rows = [(22.0 if i >= 5 else 0.0, 80.0 if i < 5 else 77.0 + 22 / 60 * (i - 5)) for i in range(20)]
    total, doubts = settled_kwh(rows)
    assert total == pytest.approx(14 * 22 / 60)
    assert [doubt for doubt in doubts if doubt] == ["a register went back"]


@given(
    st.lists(st.tuples(st.floats(0, 80), st.integers(1, 60)), min_size=2, max_size=60),
    st.sampled_from([1e-6, 0.01, 0.1, 1.0]),
    st.integers(1, 30),
    st.lists(st.booleans(), min_size=1, max_size=7),
)
def test_no_register_that_only_grows_is_ever_doubted(
    pieces: list[tuple[float, int]], resolution_kwh: float, updated_every: int, unheard: list[bool]
) -> None:
    energy, shown, time = 0.0, 0.0, NOW
    reading = RegisterReading.first(NOW, "a", pieces[0][0], 0.0, 0.0)
    for index, (power_kw, seconds) in enumerate(pieces):
        energy += power_kw * seconds / 3600
        time += timedelta(seconds=seconds)
        shown = energy // resolution_kwh * resolution_kwh if index % updated_every == 0 else shown
        missing = ("ev1",) if unheard[index % len(unheard)] else ()
        later = reading.following(time, "a", power_kw, shown, 0.0, missing)
        assert reading.doubt_until(later, PowerBounds(80.0, 80.0, "test")) is None
        reading = later


def leap(kwh: float, unheard: Sequence[int], at: int, every: timedelta = 10 * MINUTE) -> str | None:
    """Doubt of a leap of the network twin's register at reading ``at``; at those of ``unheard`` it misses a device."""
    reading = RegisterReading.first(NOW, "a", 30.0, 0.0, 0.0, ("pv",) if 0 in unheard else ())
    for index in range(1, at + 1):
        kwh_now = 5.0 * index + (kwh if index == at else 0.0)
        missing = ("pv",) if index in unheard else ()
        later = reading.following(NOW + index * every, "a", 30.0, kwh_now, 0.0, missing)
        doubt, reading = reading.doubt_until(later, BOUNDS), later
    return doubt


def test_the_network_twin_may_book_late_what_flowed_unheard_and_nothing_else() -> None:
    # 600 kW for ten minutes are 100 kWh, for the hour that is allowed at least 600 kWh, for five hours 3000 kWh.
    assert leap(94.0, unheard=(), at=31) is None
    assert leap(150.0, unheard=(), at=31) is not None
    assert leap(590.0, unheard=(30,), at=31) is None
    assert leap(700.0, unheard=(30,), at=31) is not None
    assert leap(2_900.0, unheard=range(31), at=31) is None
    # A correction may be paid a while after the device came back.
    assert leap(590.0, unheard=(3, 4), at=31) is None
    assert leap(700.0, unheard=(3, 4), at=31) is not None


def test_another_life_has_no_fall_and_nothing_unheard() -> None:
    before = RegisterReading.first(NOW, "a", 9.0, 50.0, 0.0, ("pv",))
    after = before.following(NOW + MINUTE, "b", 9.0, 3.0, 0.0)
    assert (after.fall, after.came_back, after.went_without) == (None, False, False)
