"""Energy registers judged by their telemetry: with readings that come late, and of devices that count wrongly."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from schemas.clauses import Clause
from schemas.messages import ChargerTelemetry
from services.conformance.heard import Sample
from services.conformance.registers import judge_registers
from services.conformance.verdicts import Verdicts

T0 = datetime(2024, 5, 17, 9, tzinfo=UTC)
HOUR_S = 3600.0


def telemetry(read_at: Sequence[int], power_kw: Sequence[float], factor: float = 1.0) -> list[Sample]:
    """Telemetry of each second; that of second i says what was read in second ``read_at[i]``. ``power_kw``: of each
    second, which the register counts, times ``factor``.
    """
    register = [0.0]
    for kw in power_kw:
        register.append(register[-1] + factor * kw / HOUR_S)
    found = []
    for i, at in enumerate(read_at):
        body = ChargerTelemetry(
            power_kw=power_kw[at], energy_import_kwh=register[at], energy_export_kwh=0.0, plugged=True, connected=True
        )
        ts = T0 + timedelta(seconds=i)
        found.append(Sample(ts, ts, "boot", i + 1, body))
    return found


POWERS = [11.0] * 8 + [0.0] * 4
"""Set-points of eight seconds."""


def judged(samples: list[Sample]) -> Verdicts:
    verdicts = Verdicts()
    judge_registers(samples, 1.0, verdicts)
    return verdicts


@pytest.mark.parametrize("late_s", [0, 1, 2, 3])
def test_readings_that_come_late_are_no_fault(late_s: int) -> None:
    """A reading is of every ``late_s`` + 1 seconds, as on a busy machine: what it has not seen when the power changes
    never stands beside that power. Counted over all telemetry up to 3/8 of the energy would be missing.
    """
    powers = POWERS * 20
    read_at = [i - i % len(POWERS) % (late_s + 1) for i in range(len(powers))]
    verdicts = judged(telemetry(read_at, powers))
    assert not verdicts.failures
    assert Clause.ENERGY in verdicts.held


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.5])
def test_a_register_that_counts_otherwise_is_one(factor: float) -> None:
    powers = POWERS * 40
    verdicts = judged(telemetry(range(len(powers)), powers, factor))
    assert Clause.ENERGY in verdicts.failures


def test_a_register_that_stops_within_a_set_point_is_one() -> None:
    powers = POWERS * 40
    samples = telemetry(range(len(powers)), powers)
    kept = samples[2].body.energy_import_kwh
    stopped = [
        Sample(each.ts, each.at, each.boot, each.seq, each.body.model_copy(update={"energy_import_kwh": kept}))
        if each.ts > samples[2].ts
        else each
        for each in samples
    ]
    assert Clause.ENERGY in judged(stopped).failures


def test_a_register_that_creeps_at_rest_is_one() -> None:
    """A step in each second without power; the first one of a rest may be what was read late."""
    powers = POWERS * 40
    samples = telemetry(range(len(powers)), powers)
    crept, more_kwh = [], 0.0
    for each in samples:
        more_kwh += 0.005 if each.body.power_kw == 0 else 0.0
        body = each.body.model_copy(update={"energy_import_kwh": (each.body.energy_import_kwh or 0.0) + more_kwh})
        crept.append(Sample(each.ts, each.at, each.boot, each.seq, body))
    assert Clause.ENERGY in judged(crept).failures
