"""Asked and measured, held against each other."""

from datetime import UTC, datetime, timedelta

import pytest

from services.drivers.link import Measured
from services.drivers.obedience import Obedience
from services.drivers.registers import Registers

T0 = datetime(2026, 11, 28, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def after(asked_kw: float, *measured: tuple[float, float], limit: bool = False) -> str | None:
    """What is said after measurements: (seconds since it was asked, kW)."""
    found = Obedience(limit=limit, most_kw=11.0)
    found.asked(asked_kw, at(0))
    for seconds, kw in measured:
        found.measured(kw, at(seconds))
    return found.trouble


@pytest.mark.parametrize(
    ("asked", "measured", "said"),
    [
        (2.0, ((5, 11.0), (15, 11.0)), None),  # it is still ramping
        (2.0, ((21, 11.0),), None),  # once is no proof
        (2.0, ((21, 11.0), (31, 11.0)), "2 kW was asked, and 11 kW is measured"),
        (2.0, ((21, 11.0), (31, 2.1), (41, 11.0)), None),  # it has come
        (2.0, ((21, 2.29), (31, 2.29)), None),  # within 0.3 kW
        (8.0, ((21, 8.79), (31, 8.79)), None),  # within 10 %
        (8.0, ((21, 8.81), (31, 8.81)), "8 kW was asked, and 8.81 kW is measured"),
        (8.0, ((21, 0.0), (31, 0.0)), None),  # the vehicle is full
        (-5.0, ((21, -7.0), (31, -7.0)), "-5 kW was asked, and -7 kW is measured"),
        (-5.0, ((21, 3.0), (31, 3.0)), "-5 kW was asked, and 3 kW is measured"),
        (5.0, ((21, -3.0), (31, -3.0)), "5 kW was asked, and -3 kW is measured"),
    ],
)
def test_more_than_asked_is_said_and_less_is_not(
    asked: float, measured: tuple[tuple[float, float], ...], said: str | None
) -> None:
    assert after(asked, *measured) == said


def test_an_inverter_that_ignores_its_limit_is_said() -> None:
    assert after(3.0, (21, -2.9), (31, -2.9), limit=True) is None
    said = after(3.0, (21, -9.0), (31, -9.0), limit=True)
    assert said == "a limit of 3 kW was asked, and -9 kW is measured"


def test_another_power_is_asked_and_the_time_begins_anew() -> None:
    found = Obedience(limit=False, most_kw=11.0)
    found.asked(2.0, at(0))
    found.measured(11.0, at(25))
    found.measured(11.0, at(30))
    assert found.trouble is not None
    found.asked(11.0, at(31))
    assert found.trouble is None
    found.asked(2.0, at(60))
    found.measured(11.0, at(70))
    found.measured(11.0, at(79))
    assert found.trouble is None


def test_a_counter_that_leaps_beyond_what_can_flow_is_doubted() -> None:
    registers = Registers(most_kw=11.0)

    def counts(seconds: float, kwh: float) -> float:
        registers.take(Measured(energy_import_kwh=kwh), at(seconds))
        return registers.values["energy_import_kwh"]

    assert counts(0, 100.0) == 100.0
    assert counts(600, 102.0) == 102.0  # 12 kW: within half as much again, and a step of the counter
    assert counts(610, 9e6) == 102.0
    assert counts(620, 102.1) == pytest.approx(102.1)
    assert counts(630, 0.0) == pytest.approx(102.1)
    assert counts(640, 102.2) == pytest.approx(102.2)  # it was an error
    assert counts(650, 5.0) == pytest.approx(102.2)
    assert counts(660, 5.1) == pytest.approx(102.3)  # it is another counter now
    assert counts(24 * 3600, 100.0) == pytest.approx(102.3 + 94.9)  # silent for a day, at 4 kW


def at_six_kw(registers: Registers, *counts: float) -> float:
    """The register after readings of a counter, one a minute at 6 kW."""
    for minute, kwh in enumerate(counts):
        registers.take(Measured(power_kw=6.0, energy_import_kwh=kwh), at(60 * minute))
    return registers.values["energy_import_kwh"]


@pytest.mark.parametrize(
    ("counts", "kwh"),
    [
        ((100.0, 100.1, 0.02, 0.12), 100.3),  # it began anew: 0.1 kWh that no reading has are the power's
        ((429_496.7, 0.03, 0.13), 429_496.9),  # it went round its end
        ((100.0, 100.1, 99.9, 100.0, 100.4), 100.4),  # older readings, of energy that was counted
        ((100.0, 100.1, 0.0, 0.0, 0.0, 100.5), 100.5),  # nothing for a while, and what it is afterwards
        ((100.0, 100.1, 4e5, 4e5, 100.4, 100.5), 100.5),  # all ones for a while
    ],
)
def test_energy_is_counted_once_whatever_a_counter_does(counts: tuple[float, ...], kwh: float) -> None:
    assert at_six_kw(Registers(most_kw=11.0), *counts) == pytest.approx(kwh, abs=1e-6)


def test_a_counter_that_leaps_over_a_restart_of_the_driver_is_doubted() -> None:
    before, after = Registers(most_kw=11.0), Registers(most_kw=11.0)
    at_six_kw(before, 100.0, 100.1)
    after.restore(before.snapshot())
    after.take(Measured(energy_import_kwh=4e5), at(120))
    after.take(Measured(energy_import_kwh=100.3), at(180))
    assert after.values["energy_import_kwh"] == pytest.approx(100.3)
