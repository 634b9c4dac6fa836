"""Prices of OMIE's own files: the n-th period of a day costs n €/MWh in Portugal, and 100 + n in Spain.

The columns are year, month, day, period, Portugal, Spain (OMIE, "Modelo de ficheros para la distribución pública de
información", 6.18). Sums over the hours of a day are in €/kWh: in Spain (24 · 100 + 24 · 25 / 2) / 1000 = 2.7.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code
from tests.imports.read_back import energy_kwh, read_back
from tests.imports.refused import refused
from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Holes, Kind

LISBON = ZoneInfo("Europe/Lisbon")


def both(n: int) -> str:
    return f"{n};{100 + n}"


def same(n: int) -> str:
    return f"{n}.5;{n}.5"


def marginalpdbc(day: date, periods: int, prices: Callable[[int], str] = both) -> str:
    rows = [f"{day:%Y;%m;%d};{n};{prices(n)};" for n in range(1, periods + 1)]
    return "\r\n".join(("MARGINALPDBC;", *rows, "*")) + "\r\n"


def read(tmp_path: Path, text: str, **said: object) -> Imported:
    """At a site in Lisbon, an hour behind Madrid, by whose clock the market counts."""
    how = {"kind": Kind.PRICE, "name": "marginalpdbc_20240101.1"} | said
    return read_back(tmp_path, text, LISBON, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("day", "periods", "step_s", "begin", "spain", "portugal"),
    [
        (date(2024, 1, 1), 24, 3600, datetime(2023, 12, 31, 23, tzinfo=UTC), 2.7, 0.3),
        (date(2024, 3, 31), 23, 3600, datetime(2024, 3, 30, 23, tzinfo=UTC), 2.576, 0.276),
        (date(2024, 10, 27), 25, 3600, datetime(2024, 10, 26, 22, tzinfo=UTC), 2.825, 0.325),
        # quarter-hours: 96 · 97 / 2 = 4656, 100 · 101 / 2 = 5050, 92 · 93 / 2 = 4278.
        (date(2025, 10, 1), 96, 900, datetime(2025, 9, 30, 22, tzinfo=UTC), (9600 + 4656) / 4000, 4656 / 4000),
        (date(2025, 10, 26), 100, 900, datetime(2025, 10, 25, 22, tzinfo=UTC), (10_000 + 5050) / 4000, 5050 / 4000),
        (date(2026, 3, 29), 92, 900, datetime(2026, 3, 28, 23, tzinfo=UTC), (9200 + 4278) / 4000, 4278 / 4000),
    ],
)
def test_prices_are_those_of_the_area(
    tmp_path: Path, day: date, periods: int, step_s: int, begin: datetime, spain: float, portugal: float
) -> None:
    for area, total in (("ES", spain), ("pt", portugal)):
        found = read(tmp_path, marginalpdbc(day, periods), area=area)
        grid = found.series["price"]
        assert (found.shape, grid.start, grid.step_s, len(grid.values)) == ("omie", begin, step_s, periods)
        assert energy_kwh(found) == pytest.approx(total)
        assert found.notes.repaired == []


def test_files_below_each_other_are_one(tmp_path: Path) -> None:
    """The last day of hours and the first of quarter-hours: 2.7 + 3.564."""
    text = marginalpdbc(date(2025, 9, 30), 24) + marginalpdbc(date(2025, 10, 1), 96)
    found = read(tmp_path, text, area="ES")
    grid = found.series["price"]
    assert (grid.step_s, len(grid.values)) == (900, 192)
    assert energy_kwh(found) == pytest.approx(2.7 + 3.564)
    assert "steps change within the file" in "; ".join(found.notes.read)


def test_a_last_day_of_quarter_hours_may_end_early(tmp_path: Path) -> None:
    """(9600 + 4656 + 20 · 100 + 20 · 21 / 2) / 4000: 29 hours from midnight on, with neither of the stars."""
    text = marginalpdbc(date(2025, 10, 4), 96) + marginalpdbc(date(2025, 10, 5), 20)
    found = read(tmp_path, text.replace("*\r\n", ""), area="ES")
    assert (found.series["price"].step_s, len(found.series["price"].values)) == (900, 116)
    assert energy_kwh(found) == pytest.approx((9600 + 4656 + 2210) / 4000)


def test_days_in_the_wrong_order_and_twice_are_each_there_once(tmp_path: Path) -> None:
    """2.7 of the first and 2.7 of the second, with decimal commas."""
    first, second = (marginalpdbc(date(2024, 1, d), 24, lambda n: f"{n},00;{100 + n},00") for d in (1, 2))
    found = read(tmp_path, second + first + second, area="ES")
    assert (len(found.series["price"].values), energy_kwh(found)) == (48, pytest.approx(5.4))
    assert "24 rows repeat a time and its value" in "; ".join(found.notes.repaired)


def test_nothing_is_asked_where_both_areas_have_one_price(tmp_path: Path) -> None:
    """(1 + … + 24 + 24 / 2) / 1000 = 0.312."""
    found = read(tmp_path, marginalpdbc(date(2024, 1, 1), 24, same))
    assert energy_kwh(found) == pytest.approx(0.312)
    assert "the prices of Spain and Portugal are the same in all periods" in found.notes.read


def test_prices_may_be_negative(tmp_path: Path) -> None:
    found = read(tmp_path, marginalpdbc(date(2024, 4, 1), 24, lambda n: f"-0.01;{-n}"), area="ES")
    assert energy_kwh(found) == pytest.approx(-0.3)


@pytest.mark.parametrize("price", ["0", "0.00", "-0.01", "0.5"])
def test_a_day_of_zeros_and_of_next_to_nothing_is_read(tmp_path: Path, price: str) -> None:
    found = read(tmp_path, marginalpdbc(date(2024, 4, 1), 24, lambda _: f"{price};{price}"))
    assert found.series["price"].values.tolist() == pytest.approx([float(price) / 1000] * 24)
    assert ("all prices are 0" in found.notes.read) == (float(price) == 0)


DAY = marginalpdbc(date(2024, 1, 1), 24)
REFUSED: dict[str, tuple[str, dict[str, object], Code, tuple[str, ...]]] = {
    "two areas": (DAY, {}, Code.MISSING, ("--area", "ES and PT", "24 of 24", "row 2", "101 and 1 €/MWh")),
    "another area": (DAY, {"area": "FR"}, Code.UNKNOWN, ("--area", "ES, PT", "FR")),
    "a line of another form": (
        DAY.replace("2024;01;01;5;5;105;", "2024;01;01;5;x;105;"),
        {"area": "ES"},
        Code.FORMAT,
        ("row 6", "price of Portugal", "2024;01;01;5;x;105;"),
    ),
    "a period that the day has not": (
        DAY.replace(";24;24;124;", ";25;24;124;"),
        {"area": "ES"},
        Code.FORMAT,
        ("row 25", "which has 24"),
    ),
    "a period that is none": (DAY.replace(";24;24;124;", ";0;24;124;"), {"area": "ES"}, Code.FORMAT, ("row 25",)),
    "a day that there is not": (
        DAY.replace("01;01;5;", "02;30;5;"),
        {"area": "ES"},
        Code.FORMAT,
        ("row 6", "2024-02-30"),
    ),
    "hours of a day of quarter-hours": (
        marginalpdbc(date(2025, 10, 5), 20).removesuffix("*\r\n"),
        {"area": "ES"},
        Code.EMPTY,
        ("period 20 of 2025-10-05", "cut off"),
    ),
    "no prices": ("MARGINALPDBC;\n*\n", {}, Code.EMPTY, ("no prices",)),
    "a load": (DAY, {"kind": Kind.LOAD}, Code.CONFLICT, ("holds price, and no load",)),
    "a unit": (DAY, {"unit": "ct/kWh"}, Code.CONFLICT, ("--unit", "omie")),
    "a missing period": (
        DAY.replace("2024;01;01;5;5;105;\r\n", ""),
        {"area": "ES", "holes": Holes.ERROR},
        Code.MISSING,
        ("1 of 24",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    text, said, code, named = REFUSED[name]
    with refused(code, *named):
        read(tmp_path, text, **said)
