"""Calendar ageing in the plan: a battery that waits empty ages less, and no target is missed for it."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.calendar_ageing import Cell, life_years
from schemas.messages import SetpointCause
from schemas.site import Bess, CalendarWear, Charger, Site
from services.ems.ageing import FINE, ageing_price, largest_gap_frac
from services.ems.participant import Ems
from services.ems.problem import AgeingPrice, BessUnit, ChargerUnit, Prices, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.calendar_wear import CALENDAR_WEAR
from services.ems.terms.storage import energy_kwh
from tests.ems.random_sites import START
from tests.ems.small_site import BESS_KWH, IdealPlant, begin, cycle, plan_in, site
from twinswarm.cli.plan_words import plan_sentences

BY_HAND = CalendarWear(replacement_eur_per_kwh=100, loss_frac_per_year=((0, 0.01), (0.5, 0.02), (1, 0.04)))
"""100 €/kWh are used up by a loss of 20 %: an hour costs 100 · loss/0.2/8760 for each kWh of capacity."""
EUR_PER_LOSS = 100 / 0.2 / 8760


def test_published_laws_lose_what_their_formulas_say() -> None:
    """By hand, at 25 °C and half full: 1.2571e-5 · 0.60225 · √(a year in s), and 2.8525e-4 · 365^0.75."""
    assert life_years(Cell.LFP, 0.5, 25.0, 1.2571e-5 * 0.60225 * 5615.692) == pytest.approx(1.0, rel=1e-5)
    assert life_years(Cell.NMC, 0.5, 25.0, 2.8525e-4 * 83.5061) == pytest.approx(1.0, rel=1e-3)
    # Twice the loss takes four times as long by √t, and 2^(4/3) times by t^0.75.
    assert life_years(Cell.LFP, 0.9, 25.0, 0.2) == pytest.approx(4 * life_years(Cell.LFP, 0.9, 25.0, 0.1))
    assert life_years(Cell.NMC, 0.9, 25.0, 0.2) == pytest.approx(2 ** (4 / 3) * life_years(Cell.NMC, 0.9, 25.0, 0.1))
    # Arrhenius: from 25 to 35 °C the rate grows by exp(E · (1/298.15 − 1/308.15)), with E of 17126/R and 6976 K.
    warmer = 1 / 298.15 - 1 / 308.15
    for cell, kelvin, power in ((Cell.LFP, 17126 / 8.3144598, 2.0), (Cell.NMC, 6976.0, 1 / 0.75)):
        faster = life_years(cell, 0.7, 25.0, 0.2) / life_years(cell, 0.7, 35.0, 0.2)
        assert faster == pytest.approx(np.exp(kelvin * warmer * power))


@pytest.mark.parametrize("cell", Cell)
def test_the_plans_curve_is_convex_and_near_the_published_one(cell: Cell) -> None:
    wear = CalendarWear(replacement_eur_per_kwh=120, cell=cell)
    price = ageing_price(wear)
    assert price is not None
    slopes = [price.slope(piece) for piece in range(price.pieces)]
    assert slopes == sorted(slopes) and slopes[0] > 0
    planned, stated = ([curve(soc) for soc in FINE] for curve in (price.at, wear.eur_per_kwh_h))
    over = np.array(planned) - np.array(stated)
    # Between points of the grid the chord of a convex curve lies above it.
    assert over.max() < 0.03 * stated[-1]
    assert largest_gap_frac(wear) == pytest.approx({Cell.LFP: 0.146, Cell.NMC: 0.105}[cell], abs=5e-4)


def test_what_cannot_be_a_curve_is_refused() -> None:
    for given_, named in (
        ({}, "either cell or loss_frac_per_year"),
        ({"cell": "lfp", "loss_frac_per_year": ((0, 0.01), (1, 0.02))}, "either cell or loss_frac_per_year"),
        ({"loss_frac_per_year": ((0, 0.01), (0.9, 0.02))}, r"\[0.0, 0.9\]; they have to rise, from 0 to 1"),
        ({"loss_frac_per_year": ((0, 0.01), (1, 0.02)), "temp_c": 30.0}, "temp_c 30.0 is of cell"),
        ({"cell": "lto"}, "lfp"),
    ):
        with pytest.raises(ValidationError, match=named):
            CalendarWear.model_validate({"replacement_eur_per_kwh": 100, **given_})


def flat(hours: int, **units: object) -> Problem:
    return Problem(
        start=START,
        step_s=3600,
        steps=hours,
        load_kw=(5.0,) * hours,
        losses_kw=(0.0,) * hours,
        purchase_eur_per_kwh=(0.3,) * hours,
        sale_eur_per_kwh=(0.1,) * hours,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=5.0,
        prices=Prices(tie_flat_eur_per_kwh=0.0),
        **units,  # type: ignore[arg-type]
    )


def with_car(
    energy_kwh: float, target_kwh: float, power_kw: float, hours: int, ageing: AgeingPrice | None, back_kw: float = 0.0
) -> Problem:
    stay = Stay(
        "car",
        START,
        START + timedelta(hours=hours),
        capacity_kwh=10.0,
        energy_kwh=energy_kwh,
        target_kwh=target_kwh,
        energy_min_kwh=0.0,
        energy_max_kwh=10.0,
        max_charge_kw=power_kw,
        max_discharge_kw=back_kw,
    )
    return flat(hours, chargers=(ChargerUnit("ev", power_kw, back_kw, 0.0, 1.0, 1.0, (stay,), ageing=ageing),))


def solved(problem: Problem) -> Solution:
    solution = Solver().solve(problem)
    assert isinstance(solution, Solution) and solution.proven
    return solution


def test_a_battery_that_waits_at_30_percent_ages_for_half_the_money_of_one_that_rests_at_90() -> None:
    """10 kWh for 10 hours, by hand. At 90 % the loss is 0.036 a year. The other rests at 30 % (0.016) for 8 h and
    charges 3 kW for 2 h: at the ends of its steps are 0.016, 0.024 and 0.036."""
    rests = flat(10, bess=(BessUnit("bess", 10.0, 0.0, 0.0, 1.0, 1.0, 0.0, 9.0, 9.0, ageing=ageing_price(BY_HAND)),))
    waits = solved(with_car(3.0, 9.0, 3.0, 10, ageing_price(BY_HAND)))
    full_eur, late_eur = CALENDAR_WEAR.eur(solved(rests)), CALENDAR_WEAR.eur(waits)
    assert full_eur == pytest.approx(EUR_PER_LOSS * 10 * 10 * 0.036)
    assert late_eur == pytest.approx(EUR_PER_LOSS * 10 * (8 * 0.016 + (0.016 + 0.024) / 2 + (0.024 + 0.036) / 2))
    assert full_eur == pytest.approx(0.2055, abs=5e-5) and late_eur == pytest.approx(0.1016, abs=5e-5)
    assert waits.of("charge")[0].tolist() == pytest.approx([0.0] * 8 + [3.0] * 2, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 6), st.floats(0, 9), st.floats(0.5, 5), st.integers(3, 10), st.sampled_from([*Cell]), st.booleans())
def test_at_a_flat_price_a_car_is_charged_as_late_as_can_be_and_never_misses_its_target(
    energy_kwh: float, more_kwh: float, power_kw: float, hours: int, cell: Cell, gives_back: bool
) -> None:
    target_kwh = min(energy_kwh + more_kwh, 9.5)
    price = ageing_price(CalendarWear(replacement_eur_per_kwh=150, cell=cell))
    back_kw = power_kw if gives_back else 0.0
    plain = solved(with_car(energy_kwh, target_kwh, power_kw, hours, None, back_kw))
    ages = solved(with_car(energy_kwh, target_kwh, power_kw, hours, price, back_kw))
    reached = min(target_kwh, energy_kwh + hours * power_kw)
    assert float(energy_kwh_of(ages)[-1]) == pytest.approx(max(reached, energy_kwh_of(ages)[-1] if gives_back else 0.0))
    assert energy_kwh_of(ages)[-1] >= reached - 1e-6
    assert (energy_kwh_of(ages) <= energy_kwh_of(plain) + 1e-6).all()
    if not gives_back:
        left_h = (reached - energy_kwh) / power_kw
        latest = np.clip(left_h - np.arange(hours)[::-1], 0.0, 1.0) * power_kw
        assert ages.of("charge")[0] == pytest.approx(latest, abs=1e-5)


def energy_kwh_of(solution: Solution) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return energy_kwh(solution)[0]  # type: ignore[return-value]


def test_without_a_price_nothing_stands_in_the_program() -> None:
    """A curve for one store does not change what the others do, and none leaves the solution as it was, bit by bit."""
    plain = solved(with_car(3.0, 9.0, 3.0, 10, None))
    assert CALENDAR_WEAR.eur(plain) is None
    assert not [name for name in plain.values.model.columns_of if name.startswith("calendar_wear")]


def test_a_vehicle_of_which_no_capacity_is_known_ages_without_a_price() -> None:
    problem = with_car(0.0, 6.0, 3.0, 6, ageing_price(BY_HAND))
    (unit,) = problem.chargers
    unknown = replace(problem, chargers=(replace(unit, stays=(replace(unit.stays[0], capacity_kwh=0.0),)),))
    solution = solved(unknown)
    assert CALENDAR_WEAR.eur(solution) == 0.0
    assert float(solution.of("charge").sum()) == pytest.approx(6.0)


def aged(wear: CalendarWear) -> Site:
    """The small site, with calendar wear of BESS and vehicles. The EMS knows its devices by their births."""
    bess = Bess(capacity_kwh=BESS_KWH, max_charge_kw=1, max_discharge_kw=1, calendar_wear=wear)
    chargers = {f"ev{i}": Charger(max_charge_kw=22, calendar_wear=wear) for i in (1, 2)}
    return site().model_copy(update={"devices": {"bess": bess, **chargers}})


def test_the_plan_states_its_price_and_says_why_a_car_waits() -> None:
    """At a flat price, half an hour after it came: with the tie-break alone it would be charged at once or at last."""
    plant = IdealPlant(chargers=2, one_way=True)
    plant.sale, plant.pv = (0.1,) * 96, (0.0,) * 96
    dear = CalendarWear(replacement_eur_per_kwh=400, cell=Cell.NMC)
    ems = Ems(aged(dear))
    begin(ems, plant)
    plans = [plan_in(cycle(ems, plant, step)) for step in range(40)]
    at_ten = plans[38]
    assert at_ten.calendar_wear_eur is not None and at_ten.calendar_wear_eur > 0
    waiting = at_ten.devices["ev1"]
    assert waiting.power_kw[0] == 0 and max(waiting.power_kw) > 1
    assert waiting.cause is SetpointCause.CALENDAR_WEAR
    assert "ev1 rests: it charges later, as it ages less while it is emptier." in plan_sentences(at_ten, ems_site(ems))
    plain = Ems(site())
    begin(plain, plant := IdealPlant(chargers=2))
    assert plan_in(cycle(plain, plant, 0)).calendar_wear_eur is None


def ems_site(ems: Ems) -> Site:
    return ems._site
