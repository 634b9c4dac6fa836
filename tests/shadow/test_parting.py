"""The sequential test alone: its false alarms, what it finds, and that it ends."""

import itertools
import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from services.shadow.cost import Throughput
from services.shadow.parting import PartingTest
from services.shadow.soc_filter import (
    CAPACITY,
    CHARGE,
    DISCHARGE,
    ENERGY_ERROR_FRAC,
    REST_DRIFT_PER_H,
    SOC_ERROR_FRAC,
    Residual,
    SocFilter,
)
from twin_devices.physics.storage import Store

STORE = Store(20.0, 0.9, 0.92, 0.1, 0.9)
STEP = timedelta(minutes=15)
HOURS = 0.25


def residuals(true: Store, steps: int, seed: int, filter_: SocFilter | None = None) -> Iterator[Residual]:
    """Of a store that is charged at 5 kW for two hours, rests, gives 4 kW for two hours, and rests; with the noise for
    which the filter is made."""
    noise = random.Random(seed)
    filter_ = filter_ or SocFilter()
    soc = 0.3
    for step in range(steps):
        hour = step * HOURS % 12
        drawn, given = (5.0 * HOURS if hour < 2 else 0.0), (4.0 * HOURS if 6 <= hour < 8 else 0.0)
        charged = drawn * true.charge_efficiency / true.capacity_kwh
        discharged = given / true.discharge_efficiency / true.capacity_kwh
        moved = noise.gauss(0.0, ENERGY_ERROR_FRAC * (charged + discharged))
        soc += charged - discharged + moved + noise.gauss(0.0, REST_DRIFT_PER_H * HOURS**0.5)
        measured = soc + noise.gauss(0.0, SOC_ERROR_FRAC)
        if filter_.soc_frac is None:
            filter_.begin(measured)
            continue
        residual = filter_.step(STORE, drawn, given, HOURS, measured)
        assert residual is not None
        yield residual


def test_residuals_of_a_store_as_described_are_white_and_of_the_stated_variance() -> None:
    scaled = [each.value / each.variance**0.5 for each in residuals(STORE, 20_000, seed=1)]
    n = len(scaled)
    assert sum(scaled) / n == pytest.approx(0.0, abs=4 / n**0.5)
    assert sum(x * x for x in scaled) / n == pytest.approx(1.0, abs=4 * (2 / n) ** 0.5)
    assert sum(a * b for a, b in itertools.pairwise(scaled)) / n == pytest.approx(0.0, abs=4 / n**0.5)


def test_sensitivities_are_the_mean_of_the_residuals_per_effect() -> None:
    """Without noise the residual of an altered store is exactly sensitivity times effect."""
    filter_ = SocFilter()
    filter_.begin(0.4)
    soc, effect = 0.4, 0.03
    for drawn, given in ((1.0, 0.0), (1.2, 0.0), (0.0, 0.0), (0.0, 0.9), (0.0, 0.0)):
        soc += (1 + effect) * drawn * 0.9 / 20.0 - given / 0.92 / 20.0
        residual = filter_.step(STORE, drawn, given, HOURS, soc)
        assert residual is not None
        assert residual.value == pytest.approx(effect * residual.sensitivities[CHARGE], rel=1e-9)


def test_false_alarms_are_rarer_than_stated() -> None:
    alarms = 0
    for seed in range(10):
        test = PartingTest(STEP)
        for residual in residuals(STORE, 2880, seed):
            before = test.parted
            test.add(residual)
            alarms += before is None and test.parted is not None
    assert alarms == 0  # ten months of one device: at most one is expected, by the bound


@pytest.mark.parametrize(
    ("true", "parameter", "ratio"),
    [
        (Store(20.0, 0.9 * 0.95, 0.92, 0.1, 0.9), CHARGE, 0.95),
        (Store(20.0, 0.9, 0.92 * 0.95, 0.1, 0.9), DISCHARGE, 0.95),
        (Store(18.0, 0.9, 0.92, 0.1, 0.9), CAPACITY, 0.9),
        (Store(22.0, 0.9, 0.92, 0.1, 0.9), CAPACITY, 1.1),
    ],
)
def test_it_names_the_parameter_and_is_over_when_the_device_is_repaired(
    true: Store, parameter: str, ratio: float
) -> None:
    test, filter_ = PartingTest(STEP), SocFilter()
    for residual in residuals(true, 7 * 96, 5, filter_):
        test.add(residual)
    assert test.parted is not None
    assert test.parted.candidates == (parameter,)
    assert test.parted.ratio == pytest.approx(ratio, abs=0.02)
    filter_.stop()
    for residual in residuals(STORE, 7 * 96, 6, filter_):
        test.add(residual)
    assert test.parted is None


def test_a_deviation_within_the_tolerance_of_meters_is_no_parting() -> None:
    for ratio in (0.99, 1.01):  # both energies are measured by a meter of class 1
        test = PartingTest(STEP)
        true = Store(20.0 / ratio, 0.9, 0.92, 0.1, 0.9)
        for residual in residuals(true, 30 * 96, 7):
            test.add(residual)
        assert test.parted is None


def test_where_only_charging_is_seen_efficiency_and_capacity_are_both_named() -> None:
    test, filter_ = PartingTest(STEP), SocFilter()
    noise, soc = random.Random(9), 0.2
    for step in range(600):
        if step % 40 == 0:  # another car
            soc = 0.2
            filter_.begin(soc)
            continue
        drawn = 1.0 if step % 40 < 16 else 0.0
        soc += drawn * 0.9 * 0.93 / 20.0
        residual = filter_.step(STORE, drawn, 0.0, HOURS, soc + noise.gauss(0, 0.004))
        assert residual is not None
        test.add(residual)
    assert test.parted is not None
    assert set(test.parted.candidates) == {CHARGE, CAPACITY}


def test_a_gauge_that_corrects_itself_says_nothing_about_the_store() -> None:
    filter_ = SocFilter()
    filter_.begin(0.5)
    assert filter_.step(STORE, 1.0, 0.0, HOURS, 0.71) is None
    assert filter_.soc_frac == 0.71
    assert filter_.step(STORE, 0.0, 0.0, HOURS, 0.71) is not None


def test_what_a_parting_costs_a_month() -> None:
    """By hand: 10 days with 100 kWh drawn at 0.20 € and 80 kWh given at 0.40 €, so 60 € and 96 € a month."""
    throughput = Throughput()
    assert throughput.cost_eur_per_month(CHARGE, 0.95) is None
    day = timedelta(days=10) / 1000
    for _ in range(1000):
        throughput.add(day, 0.1, 0.0, 0.20)
        throughput.add(timedelta(), 0.0, 0.08, 0.40)
    assert throughput.cost_eur_per_month(CHARGE, 0.95) == pytest.approx(60 * 0.05, rel=1e-3)
    assert throughput.cost_eur_per_month(DISCHARGE, 0.95) == pytest.approx(96 * (1 / 0.95 - 1), rel=1e-3)
    assert throughput.cost_eur_per_month(CAPACITY, 0.9) == pytest.approx((96 - 60) * (1 / 0.9 - 1), rel=1e-3)
    assert throughput.cost_eur_per_month(CHARGE, 1.05) == 0.0
