"""Accounts of ghosts by local day and month in wall time, restarted in between; and limits from outside."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import Earnings, GhostBill, Limit, Quantity, Series, ValueSeries
from schemas.participant import Received
from schemas.topics import Channel, Kind
from tests.ghosts import test_in_wall_time as wall
from tests.ghosts.hall import CHEAP, DEAR, IDEAL, hall
from tests.ghosts.test_in_wall_time import HOUR, MINUTES, accounts, beside, fresh, meter, of

LOAD_KW = 10.0


def told_from(begin: datetime, hours: int) -> list[Received]:
    """Prices that change every 12 hours, and readings every ten minutes."""
    buys = tuple(CHEAP if n // 12 % 2 == 0 else DEAR for n in range(hours + 1))
    series = tuple(
        ValueSeries(quantity=quantity, start=begin, step_s=3600, values=values)
        for quantity, values in ((Quantity.PURCHASE_PRICE, buys), (Quantity.SALE_PRICE, (0.0,) * len(buys)))
    )
    readings = [meter(begin + n * MINUTES, LOAD_KW * n / 6) for n in range(6 * hours + 2)]
    return [of(Kind.TARIFF, Channel.SERIES, Series(series=series), begin, "t1"), *readings]


def reborn_in_the_middle(said: list[Received], dead: int) -> list[Earnings]:
    """Accounts of ghosts that are killed at the middle and miss so many readings."""
    half = len(said) // 2
    first, second = fresh(), fresh()
    before = accounts(beside(first, said[:half]))
    second.restore(json.loads(json.dumps(first.snapshot())))
    return [*before, *accounts(beside(second, said[half + dead :]))]


def figures(bill: GhostBill) -> tuple[float, ...]:
    sides = [
        value
        for side in (bill.real, bill.ghosts)
        for value in (side.import_kwh, side.export_kwh, side.energy_eur, side.peak_kw)
    ]
    return bill.hours, bill.estimated_hours, bill.unpriced_hours, bill.earned_eur, *sides


@pytest.mark.parametrize(
    ("begin", "hours"),
    [(datetime(2024, 10, 26, 22, tzinfo=UTC), 25), (datetime(2024, 3, 30, 23, tzinfo=UTC), 23)],
    ids=["autumn", "spring"],
)
def test_a_day_of_the_clock_change_has_its_25_or_23_hours_through_a_restart(begin: datetime, hours: int) -> None:
    said = told_from(begin, hours)
    whole, killed = accounts(beside(fresh(), said))[-1], reborn_in_the_middle(said, dead=3)[-1]
    assert (whole.until, whole.day.hours, whole.day.estimated_hours) == (begin + hours * HOUR, hours, 0.0)
    assert whole.day.real.import_kwh == pytest.approx(LOAD_KW * hours)
    for mine, other in ((killed.day, whole.day), (killed.month, whole.month), (killed.total, whole.total)):
        assert figures(mine) == pytest.approx(figures(other))


def test_a_restart_across_the_end_of_a_month_counts_each_hour_in_its_day_and_month_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two days, the last of May and the first of June; dead for half an hour before and half an hour after midnight."""
    site = hall({"newbess": IDEAL})
    tariff = site.tariff.model_copy(update={"demand_charge_eur_per_kw": 0.5})
    monkeypatch.setattr(wall, "SITE", site.model_copy(update={"tariff": tariff}))
    said = told_from(datetime(2024, 5, 30, 22, tzinfo=UTC), 48)
    middle = len(said) // 2
    first, second = fresh(), fresh()
    before = accounts(beside(first, said[: middle - 3]))
    second.restore(json.loads(json.dumps(first.snapshot())))
    killed = [*before, *accounts(beside(second, said[middle + 3 :]))]
    last_of = {each.date: each for each in killed}
    assert list(last_of) == ["2024-05-31", "2024-06-01"]
    may, june = last_of.values()
    assert (may.day.hours, may.month.hours, june.day.hours, june.month.hours, june.total.hours) == (24, 24, 24, 24, 48)
    assert (may.month.real.demand_eur, june.month.real.demand_eur) == pytest.approx((5.0, 5.0))
    for month in may.month, june.month:
        assert month.earned_demand_eur == pytest.approx(0.5 * (month.real.peak_kw - month.ghosts.peak_kw))
        assert month.ghosts.peak_kw > LOAD_KW + 1
    assert may.month.earned_eur + june.month.earned_eur == pytest.approx(june.total.earned_eur)
    whole = accounts(beside(fresh(), said))[-1]
    assert figures(june.total) == pytest.approx(figures(whole.total))
    assert figures(june.month) == pytest.approx(figures(whole.month))


def test_ghosts_and_real_site_together_keep_a_limit_from_outside() -> None:
    """12 kW less the load of 10 kW from the first hour on."""
    begin = datetime(2024, 5, 16, 22, tzinfo=UTC)
    prices, *readings = told_from(begin, 24)
    limit = Limit(source="grid", import_kw=12.0, export_kw=0.0, valid_from=begin, valid_until=begin + timedelta(days=2))
    accounted = accounts(beside(fresh(), [prices, of(Kind.LIMITER, Channel.LIMIT, limit, begin, "l1"), *readings]))
    assert max(each.ghosts_kw for each in accounted) == pytest.approx(12.0)
    assert min(each.ghosts_kw for each in accounted) >= -1e-9
    assert accounted[-1].day.earned_eur == pytest.approx(4.0)  # 2 kW in twelve hours are more than the 20 kWh


def test_a_load_that_the_plan_did_not_know_of_is_over_the_limit_with_ghosts_and_is_said() -> None:
    """The real site draws 101 kW instead of 10 from the second hour on; 100 kW are its connection."""
    begin = datetime(2024, 5, 16, 22, tzinfo=UTC)
    prices, *readings = told_from(begin, 2)
    peak = [meter(begin + HOUR + n * MINUTES, 10.0 + 101.0 * n / 6, 101.0) for n in range(1, 8)]
    last = accounts(beside(fresh(), [prices, *readings[:7], *peak]))[-1]
    assert last.day.hours == 2.0
    assert last.day.ghosts.over_limit_kwh == pytest.approx(last.ghosts_kw - 100.0)
    assert last.day.ghosts.over_limit_kwh > 0.9
