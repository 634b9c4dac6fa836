"""What an investment is worth, against numbers by hand."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.site import Economics
from twinswarm.size.design import Design
from twinswarm.size.economics import (
    annuity_factor,
    break_even_eur,
    discounted_payback_years,
    net_present_value_eur,
    payback_years,
)
from twinswarm.size.output import break_even_notes, connection_note
from twinswarm.size.sweep import Assessed, Yearly, best_of, pareto, v2g_break_even_eur
from twinswarm.size.typical import typical_days


def test_net_present_value_by_hand() -> None:
    """100 € in each of three years at 10 %: 90.909 + 82.645 + 75.131 = 248.685; less 200: 48.685."""
    assert annuity_factor(0.10, 3) == pytest.approx(2.486852)
    assert net_present_value_eur(200, 100, 0.10, 3) == pytest.approx(48.6852, abs=1e-4)
    assert net_present_value_eur(200, 100, 0.0, 3) == pytest.approx(100.0)


def test_payback_by_hand() -> None:
    """200 at 100 a year: 2 years; at 10 %: 90.91 after one, 173.55 after two, so between two and three."""
    assert payback_years(200, 100) == 2.0
    assert payback_years(200, -1) is None
    assert payback_years(0, 5) == 0.0
    assert payback_years(0, -5) is None, "nothing is paid, and money is lost every year"
    assert discounted_payback_years(200, 100, 0.10) == pytest.approx(2.3413, abs=1e-4)
    assert discounted_payback_years(1001, 100, 0.10) is None, "100 a year for ever is worth 1000"
    assert discounted_payback_years(200, 100, 0.0) == 2.0


def test_break_even_by_hand() -> None:
    """Two chargers that save 100 a year for three years at 10 %, half of them paid by another: 248.685 / 2 / 0.5. With
    4 % upkeep a year: 248.685 / (2 (0.5 + 0.04 · 2.486852)) = 207.42; there the net present value is 0."""
    assert break_even_eur(100, 2, 0.10, 3, 0.5, 0.0) == pytest.approx(248.6852, abs=1e-4)
    price = break_even_eur(100, 2, 0.10, 3, 0.5, 0.04)
    assert price == pytest.approx(207.4195, abs=1e-4)
    assert net_present_value_eur(2 * price * 0.5, 100 - 2 * price * 0.04, 0.10, 3) == pytest.approx(0.0, abs=1e-9)


def assessed(investment_eur: float, energy_eur: float, v2g: int = 0, **prices: float) -> Assessed:
    given = {"lifetime_years": 3, "discount_rate_frac": 0.1} | prices
    base = Yearly(1000.0, 0.0, 0.0, 0.0, 50.0, 0.0)
    design = Design(0.0, 0.0, v2g, 0, 0.0, 100.0)
    return Assessed(design, investment_eur, replace(base, energy_eur=energy_eur), base, Economics.model_validate(given))


def test_a_design_is_worth_what_its_savings_are() -> None:
    """100 € saved a year, 10 % of 300 € upkeep: 70 earned; half of the 300 is paid: 70 · 2.486852 - 150 = 24.08."""
    one = assessed(300, 900, subsidy_frac=0.5, upkeep_frac=0.1)
    assert one.npv_eur == pytest.approx(24.0796, abs=1e-4)
    assert one.payback_years == pytest.approx(150 / 70)


def test_break_even_of_v2g_is_against_the_same_design_without() -> None:
    without, with_ = assessed(0, 950), assessed(400, 850, v2g=4)
    assert v2g_break_even_eur([without, with_], with_, smart=False) == pytest.approx(100 * 2.486852 / 4, abs=1e-4)
    assert v2g_break_even_eur([without], without, smart=False) is None
    assert best_of([without, with_]) is without, "50 a year for nothing is more than 150 a year for 400"


def test_against_smart_chargers_v2g_breaks_even_at_what_it_adds_to_them() -> None:
    """Two smart chargers of 50 € save 180 of the 200 € a year; 20 a year are worth 49.74, so 74.87 each."""
    smart = assessed(100, 820, smart_charger_eur=50)
    smart = replace(smart, design=replace(smart.design, smart=2))
    with_ = assessed(400, 800, v2g=2, smart_charger_eur=50)
    price = v2g_break_even_eur([smart, with_], with_, smart=True)
    assert price == pytest.approx(74.8685, abs=1e-4)
    assert replace(with_, investment_eur=2 * price).npv_eur == pytest.approx(smart.npv_eur)
    assert v2g_break_even_eur([smart, with_], with_, smart=False) is None
    (said,) = break_even_notes([smart, with_])
    assert "an unknown price against ones that charge at once (none)" in said
    assert "75 € against smart ones (2 smart)" in said


def test_a_design_that_its_connection_does_not_carry_is_not_proposed() -> None:
    """50 kW are more than 40 kW of connection, and 40.3 are not, by less than 1 %."""
    base, dear, cheap = assessed(0, 1000), assessed(100, 700), assessed(10, 700)
    small = replace(cheap, design=replace(cheap.design, connection_kw=40.0))
    just = replace(small, yearly=replace(small.yearly, peak_kw=40.3))
    assert (small.fits, just.fits) == (False, True)
    assert best_of([base, dear, small]) is dear and pareto([base, dear, small]) == [base, dear]
    assert best_of([base, dear, just]) is just
    assert best_of([small]) is small, "none fits"
    assert connection_note([base, dear]) is None
    assert "1 of 3 designs" in (connection_note([base, dear, small]) or "")
    assert "The base is one of them, with 50.0 kW at 40 kW" in (connection_note([small]) or "")


def test_the_front_leaves_out_what_costs_more_and_saves_less() -> None:
    none, good, worse, dear = assessed(0, 1000), assessed(100, 900), assessed(150, 920), assessed(300, 800)
    assert pareto([none, good, worse, dear]) == [none, good, dear]


def test_typical_days_stand_for_all_and_the_peak_is_among_them() -> None:
    """Three kinds of days, 5, 3 and 2 of them, and one of its own with the peak."""
    rows = [[0.0, 0.1 * i] for i in range(5)] + [[10.0, 0.1 * i] for i in range(3)] + [[0.0, 20.0], [0.0, 20.2]]
    features = np.array([*rows, [50.0, 50.0]])
    few = typical_days(features, 4, peak=10)
    assert few.days[0] == 10
    assert sorted(few.weight(place) for place in range(4)) == [1, 2, 3, 5]
    assert 2 in few.days and 6 in few.days, "the middle ones of their kinds"
    assert typical_days(np.zeros((7, 2)), 4, peak=3).days == (3,), "days that do not differ are one"
