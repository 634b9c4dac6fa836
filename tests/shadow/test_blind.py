"""A device that is not as described is found by its shadow, blind: nothing but what is on the bus is known to it.

The whole site runs in lock-step, with the EMS, behind meters of class 1 and gauges in whole percent
(`tests.shadow.altered`). By the seed one of the devices has 5 % less efficiency or 10 % less capacity.
"""

from datetime import timedelta

import pytest

from schemas.messages import Alarm
from schemas.site import Site
from tests.shadow.altered import CHANGE, SHADOWED, Fault, Watched, live, site_with_shadows

WEEK, MONTH = timedelta(days=7), timedelta(days=30)
FOUND_IN_A_WEEK = [Fault(device, parameter) for device in SHADOWED for parameter in CHANGE]
FOUND_IN_A_WEEK.remove(Fault("ev1", "discharge_efficiency"))
"""The car gives back 8 kWh a day; its discharge efficiency takes longer, see `test_what_flows_little_takes_longer`."""


@pytest.fixture(scope="module")
def site() -> Site:
    return site_with_shadows()


def check_found(watched: Watched, fault: Fault) -> Alarm:
    """One device is named, the right one; in the end the right parameter alone, near its true value."""
    assert {alarm.device for _, alarm in watched.alarms} == {fault.device}
    assert all(alarm.active for _, alarm in watched.alarms)
    found = watched.alarms[-1][1]
    assert found.element == fault.parameter
    assert "not told apart" not in found.text
    assert found.value is not None and found.limit is not None
    assert found.value / found.limit == pytest.approx(CHANGE[fault.parameter], abs=0.025)
    return found


@pytest.mark.parametrize("seed", [3, 8])
def test_within_a_week_it_names_the_device_and_the_parameter(seed: int, site: Site) -> None:
    fault = FOUND_IN_A_WEEK[seed % len(FOUND_IN_A_WEEK)]
    watched = live(site, WEEK, fault, seed)
    check_found(watched, fault)
    last = watched.last[fault.device]
    assert last.parted == fault.parameter
    assert last.estimates is not None
    estimate = last.estimates[fault.parameter]
    assert estimate.low < estimate.value < estimate.high
    assert estimate.value / estimate.described == pytest.approx(CHANGE[fault.parameter], abs=0.025)
    if fault.parameter != "capacity_kwh":
        assert last.cost_eur_per_month is not None and last.cost_eur_per_month > 1.0


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FOUND_IN_A_WEEK, ids=lambda fault: f"{fault.device}-{fault.parameter}")
def test_within_a_week_of_any_seed(fault: Fault, site: Site) -> None:
    for seed in range(10, 20):
        check_found(live(site, WEEK, fault, seed), fault)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_what_flows_little_takes_longer(site: Site) -> None:
    fault = Fault("ev1", "discharge_efficiency")
    for seed in range(10, 14):
        check_found(live(site, MONTH, fault, seed), fault)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(20, 26))
def test_in_a_month_as_described_there_is_no_false_alarm(seed: int, site: Site) -> None:
    assert live(site, MONTH, None, seed).alarms == ()
