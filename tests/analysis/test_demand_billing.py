"""The peak that a demand charge bills: floor, ratchet and mean, by hand over 13 months; EMS, year and size agree."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.site import DemandBilling, MonthPeak, Tariff
from services.history.settlement import demand_charges_eur

CHARGE = 12.0
MONTHS = [f"2024-{month:02}" for month in range(1, 13)] + ["2025-01"]
PEAKS_KW = dict(zip(MONTHS, [50, 44, 30, 61, 20, 25, 24, 40, 55, 35, 48, 52, 38], strict=True))


def tariff(billing: DemandBilling = DemandBilling(), **fields: Any) -> Tariff:  # noqa: B008 (frozen)
    found = {"sale": "sale", "spread_eur_per_kwh": 0.1, "demand_charge_eur_per_kw": CHARGE, "demand_billing": billing}
    return Tariff(**{**found, **fields})


def billed_kw(billing: DemandBilling, peaks_kw: dict[str, float] = PEAKS_KW, **fields: Any) -> list[float]:
    charges = demand_charges_eur(tariff(billing, **fields), peaks_kw)
    assert charges is not None
    return [charge / CHARGE for charge in charges.values()]


def test_each_month_bills_its_own_peak_without_a_rule() -> None:
    assert billed_kw(DemandBilling()) == pytest.approx(list(PEAKS_KW.values()))


def test_a_contract_bills_at_least_its_floor() -> None:
    assert billed_kw(DemandBilling(floor_kw=36)) == pytest.approx([50, 44, 36, 61, 36, 36, 36, 40, 55, 36, 48, 52, 38])


def test_a_ratchet_bills_a_part_of_the_highest_of_eleven_months_before() -> None:
    """0.8 · 50 = 40 binds in March, 0.8 · 61 = 48.8 from May on; in January 2025 the 61 of April still count."""
    expected = [50, 44, 40, 61, 48.8, 48.8, 48.8, 48.8, 55, 48.8, 48.8, 52, 48.8]
    assert billed_kw(DemandBilling(ratchet_frac=0.8)) == pytest.approx(expected)


def test_a_ratchet_ends_after_eleven_months() -> None:
    peaks = dict.fromkeys(MONTHS, 10.0) | {"2024-01": 100.0}
    assert billed_kw(DemandBilling(ratchet_frac=0.8), peaks) == pytest.approx([100.0] + [80.0] * 11 + [10.0])


def test_a_mean_of_twelve_months_is_of_those_that_are_known() -> None:
    """December: the mean of all of 2024, 484 / 12 kW; in January 2025 that of January 2024 (50) leaves it: 472 / 12."""
    found = billed_kw(DemandBilling(mean_months=12))
    assert found[:4] == pytest.approx([50, 94 / 2, 124 / 3, 185 / 4])
    assert found[-2:] == pytest.approx([484 / 12, 472 / 12])


def test_all_rules_together_bill_the_highest() -> None:
    """January 2025: mean 472 / 12 = 39.33, ratchet 0.7 · 61 = 42.7, floor 41."""
    assert billed_kw(DemandBilling(mean_months=12, ratchet_frac=0.7, floor_kw=41))[-1] == pytest.approx(42.7)
    assert billed_kw(DemandBilling(mean_months=12, ratchet_frac=0.6, floor_kw=41))[-1] == pytest.approx(41)


def test_peaks_from_before_the_run_count_as_those_within_it_do() -> None:
    """A run over the last two months is billed what the year bills for them."""
    billing = DemandBilling(mean_months=12, ratchet_frac=0.8, floor_kw=37)
    past = tuple(MonthPeak(month=month, import_kw=kw) for month, kw in list(PEAKS_KW.items())[:-2])
    last = dict(list(PEAKS_KW.items())[-2:])
    assert billed_kw(billing, last, past_peaks=past) == pytest.approx(billed_kw(billing)[-2:])


def test_in_a_month_that_began_before_the_run_the_charge_is_what_is_added_to_the_bill() -> None:
    """Billed are max(0.8 · 61, 45) = 48.8 kW before; a peak of 50 adds 1.2 kW, one of 48 nothing."""
    fields = {
        "past_peaks": (MonthPeak(month="2024-04", import_kw=61.0),),
        "month_peak": MonthPeak(month="2024-05", import_kw=45.0),
    }
    ratchet = DemandBilling(ratchet_frac=0.8)
    assert billed_kw(ratchet, {"2024-05": 50.0}, **fields) == pytest.approx([1.2])
    assert billed_kw(ratchet, {"2024-05": 48.0}, **fields) == pytest.approx([0.0])


@pytest.mark.parametrize(
    "billing",
    [
        DemandBilling(floor_kw=45),
        DemandBilling(ratchet_frac=0.8),
        DemandBilling(mean_months=12, floor_kw=46),
        DemandBilling(mean_months=4, ratchet_frac=0.9, floor_kw=20),
    ],
)
def test_what_is_free_to_the_ems_raises_no_bill_and_what_is_not_costs_the_charge(billing: DemandBilling) -> None:
    """Up to `free_kw` the month's bill stays; above it each kW adds the charge, in ``mean_months`` parts."""
    month, before = MONTHS[-1], dict(list(PEAKS_KW.items())[:-1])
    free = billing.free_kw(month, before)
    assert free > 0

    def bill_eur(kw: float) -> float:
        return billing.billed_kw(month, kw, before) * CHARGE

    assert bill_eur(free) == pytest.approx(bill_eur(0.0))
    assert bill_eur(free + 12) - bill_eur(free) == pytest.approx(12 * CHARGE / billing.mean_months)


@given(
    st.lists(st.floats(5, 100), min_size=1, max_size=24),
    st.floats(0, 150),
    st.floats(0.3, 1),
    st.sampled_from([0.0, 40.0]),
)
def test_what_a_ratchet_adds_to_later_months_is_what_their_bills_say(
    before: list[float], peak_kw: float, frac: float, floor_kw: float
) -> None:
    """Bills of the 11 months after this one, each with the peak expected of it, with and without this month's."""
    months = [f"{2024 + number // 12}-{number % 12 + 1:02}" for number in range(40)]
    this = len(before)
    known = dict(zip(months, before, strict=False))
    billing = DemandBilling(ratchet_frac=frac, floor_kw=floor_kw)
    free = billing.ratchet_free_kw(months[this], known)
    lately = before[-12:]

    def expected(later: int) -> float:
        return known.get(months[later - 12], sum(lately) / len(lately)) if later >= 12 else sum(lately) / len(lately)

    def bills(with_peak: float) -> float:
        peaks = {**known, months[this]: with_peak}
        return sum(billing.billed_kw(months[j], expected(j), peaks) for j in range(this + 1, this + 12))

    assert len(free) == 11
    added = frac * sum(max(peak_kw - kw, 0.0) for kw in free)
    assert bills(peak_kw) - bills(0.0) == pytest.approx(added, abs=1e-9)
    assert DemandBilling(floor_kw=floor_kw).ratchet_free_kw(months[this], known) == ()
    assert billing.ratchet_free_kw(months[this], {months[this]: 5.0}) == ()


def test_a_peak_costs_the_whole_charge_over_all_bills_in_whose_mean_it_is() -> None:
    months = [f"{year}-{month:02}" for year in (2023, 2024, 2025) for month in range(1, 13)]
    level = dict.fromkeys(months, 40.0)
    billing = DemandBilling(mean_months=12)
    more = sum(billed_kw(billing, level | {"2024-03": 47.0})) - sum(billed_kw(billing, level))
    assert more == pytest.approx(7.0)


def test_the_ems_pays_for_a_peak_above_what_is_billed_already_and_learns_the_months_that_pass() -> None:
    from zoneinfo import ZoneInfo

    from services.ems.month_peak import MonthPeak as Watched

    zone, billing = ZoneInfo("Europe/Rome"), DemandBilling(ratchet_frac=0.8)
    april = MonthPeak(month="2024-04", import_kw=50.0)
    watched = Watched(zone, april, {"2024-03": 10.0})
    in_may = datetime(2024, 5, 3, tzinfo=UTC)
    assert billing.free_kw(watched.month_of(in_may), watched.past_kw) == pytest.approx(40.0)
    assert watched.at(in_may) == 0.0
    again = Watched(zone)
    again.restore(watched.snapshot())
    assert again.past_kw == watched.past_kw


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"demand_charge_eur_per_kw": None}, "demand_billing or past_peaks are given without"),
        ({"past_peaks": [{"month": "2024-04", "import_kw": 1}] * 2}, "the peak of 2024-04 is given twice"),
        ({"demand_billing": {"ratchet_frac": 1.2}}, "less than or equal to 1"),
        ({"demand_billing": {"mean_months": 13}}, "less than or equal to 12"),
    ],
)
def test_a_billing_that_cannot_be_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        tariff(DemandBilling(floor_kw=1), **fields)
