"""Prices that are built from components: amounts by hand, days of the calendar, clock changes, faults."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from schemas.errors import InputError
from schemas.messages import Phase, Quantity, Series, TimeMode
from schemas.participant import Turn
from schemas.site import DayProfile, PriceRule, Site, Tariff, next_midnight
from services.forecast.prices import BuiltPrice, priced_quarters
from services.forecast.tariff import Tariff as TariffService
from sites.loader import load_site
from sites.loader.template import write_template
from tests.cli.calling import call

BERLIN = ZoneInfo("Europe/Berlin")
TARIFF = """
purchase_price:
  market: price
  components:
    - {name: supplier, eur_per_kwh: 0.015}
    - {name: grid fee, eur_per_kwh: 0.031, when: {hours: ["23:00-06:00"]}}
    - {name: grid fee, eur_per_kwh: 0.079, when: {hours: ["06:00-17:00", "21:00-23:00"]}}
    - name: grid fee
      eur_per_kwh: 0.118
      when: {hours: ["17:00-21:00"], days: [workday], months: [1, 2, 3, 10, 11, 12]}
    - {name: grid fee, eur_per_kwh: 0.079, when: {hours: ["17:00-21:00"], days: [weekend, holiday]}}
  taxes:
    - {name: electricity tax, frac: 0.05}
    - {name: VAT, frac: 0.19}
sale_price:
  market: price
  components:
    - {name: discount, market_frac: -0.2}
    - {name: premium, eur_per_kwh: 0.02, when: {market_from_eur_per_kwh: 0}}
  least_eur_per_kwh: -0.01
"""
MARKET = 0.08


def site(folder: Path, tariff: str = TARIFF, country: str = "DE", market: float = MARKET) -> Path:
    """A constant market price in Berlin, under this tariff."""
    write_template(folder)
    file = folder / "site.yaml"
    described = yaml.safe_load(file.read_text())
    described["location"] |= {"time_zone": "Europe/Berlin"} | ({"country": country} if country else {})
    described["tariff"] = yaml.safe_load(tariff)
    described["profiles"]["price"] = {"type": "day", "values": [market]}
    file.write_text(yaml.safe_dump(described, sort_keys=False))
    return file


def purchase(found: Site, local: str) -> float:
    """[€/kWh] at a local time."""
    at = datetime.fromisoformat(local).replace(tzinfo=BERLIN).astimezone(UTC)
    (quarter,) = priced_quarters(found, at, at + timedelta(minutes=15))
    return quarter.purchase_eur_per_kwh


def by_hand(grid_fee: float) -> float:
    return (MARKET + 0.015 + grid_fee) * 1.05 * 1.19


@pytest.mark.parametrize(
    ("local", "grid_fee"),
    [
        ("2024-11-05T18:00", 0.118),  # a Tuesday in winter
        ("2024-11-05T16:45", 0.079),
        ("2024-11-05T20:45", 0.118),
        ("2024-11-05T21:00", 0.079),
        ("2024-11-05T23:00", 0.031),
        ("2024-11-06T05:45", 0.031),
        ("2024-11-06T06:00", 0.079),
        ("2024-11-09T18:00", 0.079),  # a Saturday
        ("2024-10-03T18:00", 0.079),  # Day of German Unity, a Thursday
        ("2024-07-02T18:00", 0.0),  # a Tuesday in summer has no component at that time
    ],
)
def test_a_price_is_what_a_calculation_by_hand_gives(local: str, grid_fee: float, tmp_path: Path) -> None:
    assert purchase(load_site(site(tmp_path)), local) == pytest.approx(by_hand(grid_fee), abs=1e-15)


@pytest.mark.parametrize(
    ("market", "sale"),
    [(0.1, 0.1), (0.0, 0.02), (-0.01, -0.008), (-0.1, -0.01)],  # 0.8 × market + premium from 0 on, at least -0.01
)
def test_the_sale_price_has_rules_of_its_own(market: float, sale: float, tmp_path: Path) -> None:
    found = load_site(site(tmp_path, market=market))
    start = datetime(2024, 7, 1, 22, tzinfo=UTC)
    for quarter in priced_quarters(found, start, start + timedelta(days=1)):
        assert quarter.sale_eur_per_kwh == pytest.approx(sale, abs=1e-15)
        assert sum(part.eur_per_kwh for part in quarter.sale) == quarter.sale_eur_per_kwh


@pytest.mark.parametrize(("day", "quarters"), [("2024-03-31", 92), ("2024-10-27", 100), ("2024-11-05", 96)])
@pytest.mark.parametrize("step_s", [900, 3600])
def test_what_is_published_is_the_mean_of_what_a_kwh_costs(
    day: str, quarters: int, step_s: int, tmp_path: Path
) -> None:
    file = site(tmp_path)
    file.write_text(file.read_text().replace("23:00", "22:45") + f"time: {{step_s: {step_s}}}\n")
    found = load_site(file)
    midnight = datetime.fromisoformat(day).replace(tzinfo=BERLIN).astimezone(UTC)
    end = next_midnight(midnight, BERLIN)
    priced = priced_quarters(found, midnight, end)
    assert len(priced) == quarters
    turn = Turn(phase=Phase.ROLLCALL, t=midnight, t0=midnight, t_end=end, step_s=step_s, mode=TimeMode.LOCKSTEP)
    (message,) = TariffService(found).act(turn, [])
    assert isinstance(message.body, Series)
    for series in message.body.series:
        each = [
            q.purchase_eur_per_kwh if series.quantity is Quantity.PURCHASE_PRICE else q.sale_eur_per_kwh for q in priced
        ]
        width = step_s // 900
        means = [sum(each[i : i + width]) / width for i in range(0, quarters, width)]
        assert series.values[: quarters // width] == pytest.approx(means, abs=1e-15)


def test_without_a_component_for_holidays_they_are_days_of_the_week_and_no_country_is_asked_for(tmp_path: Path) -> None:
    tariff = TARIFF.replace("weekend, holiday", "weekend")
    found = load_site(site(tmp_path, tariff, country=""))
    assert purchase(found, "2024-10-03T18:00") == pytest.approx(by_hand(0.118), abs=1e-15)


def test_a_component_is_known_by_the_days_that_it_names() -> None:
    rule = PriceRule.model_validate(
        {"components": [{"name": "a", "eur_per_kwh": 0.1, "when": {"days": ["sunday", "holiday"]}}]}
    )
    price = BuiltPrice(rule, None, frozenset({date(2024, 12, 25)}))

    def at(day: int) -> float:
        return price.at(datetime(2024, 12, day, 11, tzinfo=UTC), BERLIN)

    assert (at(25), at(26), at(29)) == (0.1, 0.0, 0.1)


def test_a_built_price_changes_with_the_quarter_hour_and_with_its_market() -> None:
    rule = PriceRule.model_validate({"market": "m"})
    minutes = DayProfile(values=tuple(float(i) for i in range(24 * 60)))
    time = datetime(2024, 12, 25, 11, 7, 30, tzinfo=UTC)
    assert BuiltPrice(rule, minutes, frozenset()).next_change(time, BERLIN) == time.replace(minute=8, second=0)
    assert BuiltPrice(rule, None, frozenset()).next_change(time, BERLIN) == time.replace(minute=15, second=0)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("23:00-06:00", "23:10-06:00", "purchase_price.components.1.when.hours: '23:10-06:00' is not HH:MM-HH:MM in"),
        ("23:00-06:00", "06:00-06:00", "'06:00-06:00' is no time of day"),
        ("23:00-06:00", "24:00-06:00", "'24:00-06:00' is no time of day"),
        ("23:00-06:00", "23:00-24:30", "'23:00-24:30' is no time of day"),
        ("days: [workday]", "days: [labour]", "components.3.when.days.0: Input should be 'monday', 'tuesday'"),
        ("months: [1, 2", "months: [0, 2", "components.3.when.months.0: Input should be greater than or equal to 1"),
        ("{name: supplier, eur_per_kwh: 0.015}", "{name: supplier}", "exactly one of eur_per_kwh and market_frac"),
        ("eur_per_kwh: 0.015", "eur_per_kwh: 15", "eur_per_kwh: Input should be less than or equal to 5"),
        ("frac: 0.19", "frac: 19", "taxes.1.frac: Input should be less than or equal to 2"),
        ("name: VAT", "name: grid fee", "a component and a tax are both named 'grid fee'"),
        ("  market: price\n  components:\n    - {name: disc", "  components:\n    - {name: disc", "'discount' needs a"),
        ("market: price", "market: prices", "tariff.purchase_price.market: there is no such profile"),
        ("sale_price:", "sale: price\nsale_price:", "exactly one of sale and sale_price is to be given"),
    ],
)
def test_a_faulty_price_is_named_where_it_stands(old: str, new: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        load_site(site(tmp_path, TARIFF.replace(old, new)))
    assert fault in str(raised.value)


def test_a_price_that_differs_on_holidays_needs_a_country_and_years_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tariff.purchase_price: differs on holidays, and location says no country"):
        load_site(site(tmp_path, country=""))
    done = call("prices", str(site(tmp_path / "known")), "--date", "2099-01-01", cwd=tmp_path)
    assert done.returncode == 2
    assert "tariff: knows the holidays of 2014 to 2054, and the run is in 2099" in done.stderr


def test_neither_a_profile_nor_a_rule_is_no_price() -> None:
    with pytest.raises(ValueError, match="exactly one of sale and sale_price"):
        Tariff(spread_eur_per_kwh=0.1)
    with pytest.raises(ValueError, match="there is no price"):
        PriceRule()


def test_the_command_lists_draws_and_writes_every_part(tmp_path: Path) -> None:
    file = site(tmp_path)
    done = call("prices", str(file), "--date", "2024-11-05", "--json", "-", "--plot", "prices.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    quarters = json.loads(done.stdout)["quarters"]
    assert len(quarters) == 96
    evening = quarters[4 * 18]
    assert evening["time"] == "2024-11-05T17:00:00+00:00"
    assert evening["purchase"]["grid fee"] == 0.118
    assert evening["purchase_eur_per_kwh"] == pytest.approx(by_hand(0.118), abs=1e-15)
    assert (tmp_path / "prices.png").read_bytes().startswith(b"\x89PNG")
    table = call("prices", str(file), "--date", "2024-11-05", cwd=tmp_path).stdout
    assert "05.11. 17:00 to 21:00" in table
    refused = call("prices", str(file), "--plot", "no/prices.png", cwd=tmp_path)
    assert (refused.returncode, "--plot: cannot be written" in refused.stderr) == (2, True)
