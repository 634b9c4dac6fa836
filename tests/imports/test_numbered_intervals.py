"""Intervals of a day by their numbers, as the heads of columns and in a column: energies of hand calculations.

The n-th interval of a day holds n: a day of 24 hours 1 + 2 + … + 24 = 300, of 25 hours 325, of 23 hours 276.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from tests.imports.read_back import energy_kwh, read_back
from tests.imports.refused import refused
from tests.imports.test_unclear_cells import workbook
from tests.imports.written import table
from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Duplicates, Kind, MissingHour, Reading, Stamp

MADRID, LONDON = ZoneInfo("Europe/Madrid"), ZoneInfo("Europe/London")
MAY, MARCH, OCTOBER = date(2024, 5, 13), date(2024, 3, 30), date(2024, 10, 26)
"""A day in summer, and those before the clock changes."""


def read(tmp_path: Path, content: str | bytes, zone: ZoneInfo = MADRID, **said: object) -> Imported:
    """Energies of intervals: 1, 2, … every day may be a counter as well."""
    return read_back(tmp_path, content, zone, **({"unit": "kWh", "reading": Reading.INTERVAL} | said))  # type: ignore[arg-type]


def days_of(first: date, rows: Sequence[Sequence[object]], heads: Sequence[str], date_head: str = "Fecha") -> str:
    """A row for each day from the first one on."""
    lines = [[f"{first + timedelta(days=n):%d/%m/%Y}", *map(str, row)] for n, row in enumerate(rows)]
    return table(";".join((date_head, *heads)), lines)


def heads(prefix: str, last: int, first: int = 1, digits: int = 1) -> list[str]:
    return [f"{prefix}{n:0{digits}d}" for n in range(first, last + 1)]


def upto(last: int, width: int, fill: object = "") -> list[object]:
    """1, 2, … to the last number, and what stands in the other columns."""
    return [*range(1, last + 1), *[fill] * (width - last)]


HEADS = {
    "bare": heads("", 24),
    "bare, two digits": heads("", 24, digits=2),
    "HH01": heads("HH", 24, digits=2),
    "H1": heads("H", 24),
    "Hora 1": heads("Hora ", 24),
    "HE01": heads("HE", 24, digits=2),
    "from 0": heads("", 23, first=0),
    "with the unit": [f"H{n} (kWh)" for n in range(1, 25)],
}


@pytest.mark.parametrize("named", HEADS.values(), ids=list(HEADS))
def test_a_column_for_each_hour_is_known_by_its_number(tmp_path: Path, named: list[str]) -> None:
    found = read(tmp_path, days_of(MAY, [upto(24, 24)] * 2, named))
    grid = found.series["load"]
    assert (grid.start, grid.step_s) == (datetime(2024, 5, 12, 22, tzinfo=UTC), 3600)
    assert grid.values.tolist() == [*range(1, 25)] * 2
    assert f"{named[0]!r} to {named[-1]!r} are the hours of the day" in "; ".join(found.notes.assumed)
    assert found.notes.repaired == []


@pytest.mark.parametrize(
    ("named", "step_s", "total"),
    [
        (heads("", 96), 900, 4656),  # 96 · 97 / 2
        (heads("Q", 96), 900, 4656),
        (heads("QH", 100), 900, 4656),
        (heads("HH", 48), 1800, 1176),  # 48 · 49 / 2
        (heads("hh", 50, digits=2), 1800, 1176),
    ],
)
def test_the_number_of_columns_says_the_step(tmp_path: Path, named: list[str], step_s: int, total: int) -> None:
    number = 86_400 // step_s
    found = read(tmp_path, days_of(MAY, [upto(number, len(named))] * 2, named))
    assert found.series["load"].step_s == step_s
    assert energy_kwh(found) == pytest.approx(2 * total)


@pytest.mark.parametrize("beyond", ["", 0, "-"])
def test_hours_are_counted_through_when_summer_time_ends(tmp_path: Path, beyond: object) -> None:
    """300 + 325 + 300 kWh. The 25th hour of the other days is empty, or 0."""
    rows = [upto(24, 25, beyond), upto(25, 25), upto(24, 25, beyond)]
    found = read(tmp_path, days_of(OCTOBER, rows, heads("H", 25)))
    grid = found.series["load"]
    assert grid.start == datetime(2024, 10, 25, 22, tzinfo=UTC)
    assert grid.values.tolist() == [*range(1, 25), *range(1, 26), *range(1, 25)]
    assert "counted through where the clock changes, 2024-10-27 has 25" in "; ".join(found.notes.assumed)
    assert (found.notes.repaired == []) == (beyond == "")


@pytest.mark.parametrize("beyond", ["", 0])
def test_hours_are_counted_through_when_summer_time_begins(tmp_path: Path, beyond: object) -> None:
    """300 + 276 + 300 kWh: the last column of the short day is empty, or 0 while the third is not."""
    rows = [upto(24, 25), upto(23, 25, beyond), upto(24, 25)]
    found = read(tmp_path, days_of(MARCH, rows, heads("H", 25)))
    assert found.series["load"].values.tolist() == [*range(1, 25), *range(1, 24), *range(1, 25)]
    assert "2024-03-31 has 23" in "; ".join(found.notes.assumed)


def test_the_third_column_may_be_the_one_that_is_empty(tmp_path: Path) -> None:
    """By the clock there is no hour from 2 to 3: 300 + 297 + 300 kWh."""
    short = [1, 2, "", *range(4, 25), ""]
    found = read(tmp_path, days_of(MARCH, [upto(24, 25), short, upto(24, 25)], heads("H", 25)))
    assert found.series["load"].values.tolist() == [*range(1, 25), 1, 2, *range(4, 25), *range(1, 25)]
    assert found.notes.repaired == []
    assert "counted through" not in "; ".join(found.notes.assumed)


SUN = [0] * 6 + [5] * 12 + [0] * 6


@pytest.mark.parametrize(
    ("day", "kind", "total"),
    # Of the sun nothing says which of the zeros is none, that of the third hour or that of the last: 3 · 60 kWh.
    # Of the load the third hour of the short day is left out: 300 + 297 + 300 kWh.
    [(SUN, Kind.PV, 180), (upto(24, 24), Kind.LOAD, 897)],
)
def test_a_short_day_of_24_values_is_asked_about(tmp_path: Path, day: list[object], kind: Kind, total: int) -> None:
    text = days_of(MARCH, [day] * 3, heads("H", 24))
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, kind=kind)
    assert caught.value.code is Code.CONFLICT and "--missing-hour drop" in str(caught.value)
    found = read(tmp_path, text, kind=kind, missing_hour=MissingHour.DROP)
    assert energy_kwh(found) == total
    assert "1 rows of an hour that summer time leaves out" in "; ".join(found.notes.repaired)


def test_a_long_day_of_24_values_is_one_of_the_clock(tmp_path: Path) -> None:
    """The hour that the clock shows twice is there once, 3 kWh; the other lies between 3 and 4: 903.5 kWh."""
    found = read(tmp_path, days_of(OCTOBER, [upto(24, 24)] * 3, heads("H", 24)))
    assert energy_kwh(found) == pytest.approx(903.5)
    assert "taken for summer time" in "; ".join(found.notes.assumed)


def test_half_hours_are_counted_through_as_well(tmp_path: Path) -> None:
    """Settlement periods 1 to 46 and 1 to 50: 46 · 47 / 2 = 1081 and 50 · 51 / 2 = 1275, beside two days of 1176."""
    for first, last, total in ((MARCH, 46, 1081), (OCTOBER, 50, 1275)):
        rows = [upto(48, 50), upto(last, 50), upto(48, 50)]
        found = read(tmp_path, days_of(first, rows, heads("HH", 50)), LONDON)
        assert energy_kwh(found) == pytest.approx(2 * 1176 + total)
        assert found.notes.repaired == []


def test_a_clock_that_never_changes_has_24_hours_each_day(tmp_path: Path) -> None:
    found = read(tmp_path, days_of(OCTOBER, [upto(24, 25)] * 3, heads("H", 25)), time_zone="UTC+01:00")
    assert energy_kwh(found) == 900
    assert found.series["load"].start == datetime(2024, 10, 25, 23, tzinfo=UTC)


def test_prices_of_numbered_hours(tmp_path: Path) -> None:
    found = read(tmp_path, days_of(MAY, [upto(24, 24)] * 2, heads("H", 24)), kind=Kind.PRICE, unit="€/MWh")
    assert found.series["price"].values.sum() == pytest.approx(0.6)


def test_a_workbook_has_numbers_as_heads(tmp_path: Path) -> None:
    rows = [["CUPS", "Date", *range(1, 25)], *([["ES0021", date(2024, 5, d), *range(1, 25)] for d in (13, 14)])]
    assert energy_kwh(read(tmp_path, workbook(rows), name="own.xlsx")) == 600


def test_other_columns_and_a_sum_below_are_none_of_the_hours(tmp_path: Path) -> None:
    rows = [[f"{d}/05/2024", *map(str, range(1, 25)), "300"] for d in range(13, 17)]
    text = table(";".join(("Fecha", *heads("H", 24), "Total kWh")), [*rows, ["Total", *["4"] * 24, "1200"]])
    found = read(tmp_path, text, unit=None)
    assert energy_kwh(found) == 1200
    assert "1 rows below the table" in "; ".join(found.notes.repaired)


def test_one_of_the_columns_may_be_meant(tmp_path: Path) -> None:
    """Values of 24 meters, one for each day: that of the third is 3."""
    found = read(tmp_path, days_of(MAY, [upto(24, 24)] * 4, heads("", 24)), column="3")
    assert (energy_kwh(found), found.series["load"].step_s) == (12, 86_400)


def test_numbered_columns_beside_a_time_of_day_are_no_hours(tmp_path: Path) -> None:
    """24 sensors, the n-th of n kW in each hour of a day: the third has 24 · 3 kWh."""
    for times, chosen in (
        ([f"13/05/2024;{h:02d}:00" for h in range(24)], {}),
        ([f"13/05/2024;{h}" for h in range(1, 25)], {}),
        ([f"13/05/2024;{h}" for h in range(1, 25)], {"time_column": "Fecha+Hora"}),
    ):
        text = table(";".join(("Fecha;Hora", *heads("S", 24))), [[time, *map(str, upto(24, 24))] for time in times])
        text = text.replace("S", "")
        with pytest.raises(InputError, match="24 columns may be meant"):
            read(tmp_path, text, unit="kW", **chosen)
        assert energy_kwh(read(tmp_path, text, unit="kW", column="3", **chosen)) == 72


def test_a_long_day_that_ends_early_is_counted_through(tmp_path: Path) -> None:
    """300 kWh, and the first 12 hours of the next day: 78 kWh to 10:00Z, with 13 of the 25 cells empty."""
    found = read(tmp_path, days_of(OCTOBER, [upto(24, 25), upto(12, 25)], heads("H", 25)))
    grid = found.series["load"]
    assert (energy_kwh(found), grid.end) == (378, datetime(2024, 10, 27, 10, tzinfo=UTC))
    assert "counted through where the clock changes, 2024-10-27 has 25" in "; ".join(found.notes.assumed)
    assert found.notes.repaired == []


def test_a_long_day_of_24_columns_that_ends_early_is_one_of_the_clock(tmp_path: Path) -> None:
    """12 of them end at noon, 11:00Z; the one that lacks lies between 3 and 4: 300 + 78 + 3.5 kWh."""
    found = read(tmp_path, days_of(OCTOBER, [upto(24, 24), upto(12, 24)], heads("H", 24)))
    assert (energy_kwh(found), found.series["load"].end) == (381.5, datetime(2024, 10, 27, 11, tzinfo=UTC))


def test_a_time_of_day_of_each_day_is_none_of_its_rows(tmp_path: Path) -> None:
    """When the largest value was: two days of 300 kWh."""
    rows = [["23:00", *upto(24, 24)]] * 2
    assert energy_kwh(read(tmp_path, days_of(MAY, rows, ["Peak time", *heads("H", 24)]))) == 600


def test_the_header_of_the_dates_may_name_the_zone(tmp_path: Path) -> None:
    for named in (heads("H", 24), [f"{h:02d}:00" for h in range(24)]):
        found = read(tmp_path, days_of(MAY, [upto(24, 24)] * 2, named, "Fecha (UTC)"))
        assert found.series["load"].start == datetime(2024, 5, 13, tzinfo=UTC)


def test_numbers_may_be_heads_beside_an_empty_one(tmp_path: Path) -> None:
    found = read(tmp_path, days_of(MAY, [upto(24, 24)] * 2, heads("", 24), ""))
    assert energy_kwh(found) == 600


CLOCKS = [f"{h:02d}:00" for h in range(24)]


@pytest.mark.parametrize("named", [heads("H", 24), CLOCKS])
def test_the_column_that_tells_rows_of_one_date_apart_is_named(tmp_path: Path, named: list[str]) -> None:
    """Two meters, of n and of 2 n kWh in the n-th hour: 300 and 600 kWh a day, 1800 kWh together."""
    rows = [
        [f"{day}/05/2024", "Calle 1", meter, *(str(n * factor) for n in range(1, 25))]
        for meter, factor in (("ES01", 1), ("ES02", 2))
        for day in (13, 14)
    ]
    text = table(";".join(("Fecha", "Lugar", "CUPS", *named)), rows)
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert caught.value.code is Code.DUPLICATE
    for part in (f"row 2, column {named[0]}", f"row 4, column {named[0]}", "'CUPS' tells them apart: 'ES01', 'ES02'"):
        assert part in str(caught.value)
    assert energy_kwh(read(tmp_path, text, duplicates=Duplicates.SUM)) == 1800


def test_a_column_beside_clock_times_may_be_meant(tmp_path: Path) -> None:
    """The sums of two days: 300 kWh each, as 12.5 kW of the whole day."""
    text = days_of(MAY, [[*upto(24, 24), 300]] * 2, [*CLOCKS, "Total kWh"])
    found = read(tmp_path, text, unit=None, column="Total kWh")
    assert found.series["load"].values.tolist() == [12.5] * 2


def with_column(head: str, cell: object) -> str:
    """Two days of 300 in all, 24 at most, and a column beside them."""
    return days_of(MAY, [[*upto(24, 24), cell]] * 2, [*heads("H", 24), head])


@pytest.mark.parametrize(
    ("head", "cell", "total"),
    # The sum of the row, which may be rounded, or the largest of its powers.
    [("Total kWh", 300, 600), ("Total kWh", 301, 600), ("Total Wh", 300, 0.6), ("Max kW", 24, 600), ("kWh", "", 600)],
)
def test_a_column_of_sums_says_the_unit(tmp_path: Path, head: str, cell: object, total: float) -> None:
    assert energy_kwh(read(tmp_path, with_column(head, cell), unit=None)) == pytest.approx(total)


@pytest.mark.parametrize(("head", "cell"), [("Total MWh", "0,3"), ("Max kW", 96), ("Lectura kWh", 51200)])
def test_the_unit_of_another_column_is_none_of_the_intervals(tmp_path: Path, head: str, cell: object) -> None:
    """0.3 MWh are the sum of 300 kWh, and of no 300 MWh; 96 kW of quarter-hours are 24 kWh."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, with_column(head, cell), unit=None)
    assert caught.value.code is Code.MISSING
    assert "--unit" in str(caught.value) and head in str(caught.value)


REFUSED: dict[str, tuple[str, dict[str, object], Code, tuple[str, ...]]] = {
    "a 25th hour in May": (
        days_of(MAY, [upto(24, 25), upto(25, 25)], heads("H", 25)),
        {},
        Code.FORMAT,
        ("row 3, column H25", "which has 24"),
    ),
    "no number in a cell": (
        days_of(MAY, [upto(24, 24), ["x", *range(2, 25)]], heads("H", 24)),
        {},
        Code.FORMAT,
        ("row 3, column H1", "'x'"),
    ),
    "no unit": (days_of(MAY, [upto(24, 24)] * 2, heads("H", 24)), {"unit": None}, Code.MISSING, ("--unit", "kWh")),
    "24 meters in rows of hours": (
        table(";".join(("time", *heads("", 24))), [[f"2024-05-13 {h:02d}:00", *["1"] * 24] for h in range(24)]),
        {},
        Code.MISSING,
        ("24 columns may be meant",),
    ),
    "the end of a number": (
        days_of(MAY, [upto(24, 24)] * 2, heads("H", 24)),
        {"stamp": Stamp.END},
        Code.CONFLICT,
        ("--stamp", "1 is the first of the day"),
    ),
    "an hour beside the numbers": (
        days_of(OCTOBER, [[*upto(24, 24), 3]] * 2, [*heads("H", 24), "H3b"]),
        {},
        Code.CONFLICT,
        ("'H3b'", "'H1' to 'H24'", "counted through"),
    ),
    "one of the clock times": (
        days_of(MAY, [upto(24, 24)] * 2, CLOCKS),
        {"column": "3"},
        Code.CONFLICT,
        ("--column", "no effect", "'00:00' to '23:00'"),
    ),
    "no date": (
        days_of(MAY, [upto(24, 24)], heads("H", 24)).replace("13/05/2024", "Monday"),
        {},
        Code.MISSING,
        ("--time-column",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    text, said, code, named = REFUSED[name]
    with refused(code, *named):
        read(tmp_path, text, **said)  # type: ignore[arg-type]


def numbered_rows(first: date, counts: Sequence[int], head: str = "Periodo") -> str:
    """A row for each interval: so many of each day, the n-th with n kWh."""
    rows = [
        [f"{first + timedelta(days=day):%d/%m/%Y}", str(n), str(n)]
        for day, count in enumerate(counts)
        for n in range(1, count + 1)
    ]
    return table(f"Fecha;{head};Consumo kWh", rows)


@pytest.mark.parametrize(
    ("first", "counts", "total"),
    [
        (MAY, (96, 96), 2 * 4656),
        (OCTOBER, (96, 100, 96), 2 * 4656 + 5050),  # 100 · 101 / 2
        (MARCH, (96, 92, 96), 2 * 4656 + 4278),  # 92 · 93 / 2
        (MAY, (48, 48), 2 * 1176),
        # hours that become quarter-hours, as on 1 October 2025; the last day ends early.
        (date(2025, 9, 30), (24, 96, 20), 300 + 4656 + 210),
    ],
)
def test_numbers_in_a_column_may_be_of_shorter_intervals(
    tmp_path: Path, first: date, counts: tuple[int, ...], total: int
) -> None:
    found = read(tmp_path, numbered_rows(first, counts))
    assert energy_kwh(found) == pytest.approx(total)
    assert found.notes.repaired == []
