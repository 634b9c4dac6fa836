"""Times that may be read in several ways, steps that change and counters that fall: right energies, or a question."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from tests.imports.read_back import energy_kwh, read_back
from tests.imports.written import comma, table
from twinswarm.imports.imported import Imported, ImportedSessions
from twinswarm.imports.options import DateOrder, Duplicates, Holes, Kind, Options, Reading, Stamp, step_of
from twinswarm.imports.reading import read_file

BERLIN, VIENNA, MADRID = map(ZoneInfo, ("Europe/Berlin", "Europe/Vienna", "Europe/Madrid"))
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)


def read(tmp_path: Path, text: str, zone: ZoneInfo | None = BERLIN, kind: Kind = Kind.LOAD, **said: object) -> Imported:
    return read_back(tmp_path, text, zone, kind, **said)


def sessions(tmp_path: Path, text: str, zone: ZoneInfo = VIENNA, **said: object) -> ImportedSessions:
    file = tmp_path / "own.csv"
    file.write_text(text)
    found = read_file(file, Kind.SESSIONS, zone, Options(**said))  # type: ignore[arg-type]
    assert isinstance(found, ImportedSessions)
    return found


def refused(tmp_path: Path, text: str, *words: str, **said: object) -> InputError:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, **said)  # type: ignore[arg-type]
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    return caught.value


def local(first: date, last: date, step: timedelta) -> list[datetime]:
    """Times of UTC from one local midnight of Berlin to another."""
    begin, end = (datetime(d.year, d.month, d.day, tzinfo=BERLIN).astimezone(UTC) for d in (first, last))
    return [begin + n * step for n in range((end - begin) // step)]


def energies(rows: Iterable[tuple[datetime, float]]) -> str:
    return table("time,kWh", [[time.isoformat(), repr(energy)] for time, energy in rows], ",")


MAY_6, MAY_8, JULY = date(2024, 5, 6), date(2024, 5, 8), date(2024, 7, 1)
YEAR = (date(2024, 1, 1), date(2025, 1, 1))


def hours(first: date, last: date, energy: float = 4.0) -> list[tuple[datetime, float]]:
    return [(time, energy) for time in local(first, last, HOUR)]


def quarters(first: date, last: date, energy: float = 1.0) -> list[tuple[datetime, float]]:
    return [(time, energy) for time in local(first, last, QUARTER)]


NOON = datetime(2024, 5, 7, 10, tzinfo=UTC)
"""12:00 of the second day in Berlin."""


def split(before: list[tuple[datetime, float]], after: list[tuple[datetime, float]]) -> list[tuple[datetime, float]]:
    return [row for row in before if row[0] < NOON] + [row for row in after if row[0] >= NOON]


CHANGING: dict[str, tuple[list[tuple[datetime, float]], float]] = {
    # 48 h of 4 kW, whatever their steps are.
    "within a day": (
        split(hours(MAY_6, MAY_8), quarters(MAY_6, MAY_8)),
        192.0,
    ),
    "within a day, back": (
        split(quarters(MAY_6, MAY_8), hours(MAY_6, MAY_8)),
        192.0,
    ),
    # 8784 h: 4367 of 2 kW in the first half, 4417 of 4 kW in the second (the night of 27 October has an hour more).
    "at the local midnight of July": (
        hours(YEAR[0], JULY, 2.0) + quarters(JULY, YEAR[1]),
        2 * 4367 + 4 * 4417,
    ),
    "at the local midnight of July, back": (
        quarters(YEAR[0], JULY, 0.5) + hours(JULY, YEAR[1]),
        2 * 4367 + 4 * 4417,
    ),
    "a day of hours in a year of quarter-hours": (
        quarters(YEAR[0], date(2024, 5, 16)) + hours(date(2024, 5, 16), date(2024, 5, 17))
        + quarters(date(2024, 5, 17), YEAR[1]),
        4 * 8784,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGING)
def test_steps_that_change_keep_the_energy(name: str, tmp_path: Path) -> None:
    rows, energy = CHANGING[name]
    found = read(tmp_path, energies(rows), reading=Reading.INTERVAL)
    assert energy_kwh(found) == pytest.approx(energy)
    assert found.notes.repaired == []
    assert "steps change within the file" in "; ".join(found.notes.read)


def test_ends_of_steps_that_change_keep_the_energy_and_its_time(tmp_path: Path) -> None:
    """A day of hours of 4 kWh, and one of quarter-hours of 2 kWh: 96 and 192 kWh."""
    rows = [(time + HOUR, 4.0) for time, _ in hours(MAY_6, date(2024, 5, 7))]
    rows += [(time + QUARTER, 2.0) for time, _ in quarters(date(2024, 5, 7), MAY_8)]
    found = read(tmp_path, energies(rows), reading=Reading.INTERVAL, stamp=Stamp.END)
    grid = found.series["load"]
    assert grid.start == hours(MAY_6, MAY_8)[0][0]
    assert grid.values.tolist() == [4.0] * 96 + [8.0] * 96
    assert found.notes.repaired == []


@pytest.mark.parametrize("gone", [{30}, {30, 31, 32}, {10, 20, 30, 31, 32}, {47, 48, 49}, {6, 7, 8, 9, 10, 11}])
def test_a_value_that_is_missing_stays_a_hole_where_steps_change(gone: set[int], tmp_path: Path) -> None:
    """4 kW in 12 hours, then in quarter-hours; what is missing is filled with as much."""
    rows = split(hours(MAY_6, MAY_8), quarters(MAY_6, MAY_8))
    found = read(
        tmp_path,
        energies(row for n, row in enumerate(rows) if n not in gone),
        reading=Reading.INTERVAL,
        holes=Holes.PREVIOUS,
    )
    assert energy_kwh(found) == pytest.approx(192.0)
    assert "were filled" in "; ".join(found.notes.repaired)


def counter(readings: Iterable[float], header: str = "Zählerstand kWh", step: timedelta = HOUR) -> str:
    """From 6 May 2024, 00:00 in Berlin."""
    start = datetime(2024, 5, 5, 22, tzinfo=UTC)
    rows = [[f"{(start + n * step).astimezone(BERLIN):%d.%m.%Y %H:%M}", comma(r, 1)] for n, r in enumerate(readings)]
    return table(f"Zeit;{header}", rows)


DAILY = [float(h * 4 if h < 23 else 94) for _ in range(5) for h in range(24)]
"""Begins again each night: 94 kWh in each of five days."""


@pytest.mark.parametrize("first", [0.0, 1e5])
@pytest.mark.parametrize("gone", [(15,), (15, 16), (15, 16, 30, 31, 32), (1, 2)])
def test_a_counter_that_does_not_answer_counts_on(first: float, gone: tuple[int, ...], tmp_path: Path) -> None:
    """2 kW in 47 hours: 94 kWh."""
    text = counter(0.0 if n in gone else first + 2 * n for n in range(48))
    found = read(tmp_path, text)
    assert energy_kwh(found) == pytest.approx(94.0)
    if first or 1 not in gone:
        assert f"{len(gone)} readings fall below" in "; ".join(found.notes.repaired)


@pytest.mark.parametrize("unit", ["kWh", "Wh"])
def test_a_counter_of_each_day_begins_again_each_night(unit: str, tmp_path: Path) -> None:
    text = counter((r * (1000 if unit == "Wh" else 1) for r in DAILY), f"Tagesertrag {unit}")
    found = read(tmp_path, text, reading=Reading.COUNTER)
    assert energy_kwh(found) == pytest.approx(470.0)
    assert "roll-overs" not in "; ".join(found.notes.repaired)


def test_a_counter_of_each_day_is_asked_about(tmp_path: Path) -> None:
    error = refused(
        tmp_path, counter(DAILY, "Tagesertrag kWh"), "falls but to about 0", "--reading counter", "interval"
    )
    assert error.code is Code.CONFLICT


def test_a_counter_of_a_transformer_rolls_over_before_its_factor(tmp_path: Path) -> None:
    """A unit in each of 47 hours and a half one across the roll-over, each of 40 kWh: 46.5 + 1 units."""
    readings = [99_999.5 - 23 + n for n in range(24)] + [0.5 + n for n in range(24)]
    found = read(tmp_path, counter(readings), factor=40.0)
    assert energy_kwh(found) == pytest.approx(40 * 47.0)
    assert "1 roll-overs" in "; ".join(found.notes.repaired)


def test_a_session_keeps_its_offset_beside_one_without(tmp_path: Path) -> None:
    """08:00Z is 08:00Z; 08:00 of Vienna is 06:00Z."""
    text = "start,end,energy_kwh,charge_point\n" + "".join(
        f"2024-05-06T08:00:00{z},2024-05-06T10:00:00{z},7,{n}\n" for n, z in enumerate(("Z", "Z", ""), 1)
    )
    found = sessions(tmp_path, text, time_zone="Europe/Vienna")
    assert sorted((s.arrival.hour, s.departure.hour) for s in found.sessions) == [(6, 8), (8, 10), (8, 10)]


@pytest.mark.parametrize("clock", ["8:00 a.m.", "08:00:00.000"])
def test_a_point_in_the_clock_says_nothing_of_the_date(clock: str, tmp_path: Path) -> None:
    rows = [
        [f"05/{day:02d}/2024 {clock}", f"05/{day:02d}/2024 {clock.replace('8', '9')}", "7", "a"] for day in range(6, 11)
    ]
    text = table("start,end,energy_kwh,charge_point", rows, ",")
    assert [s.arrival.date() for s in sessions(tmp_path, text).sessions] == [date(2024, 5, d) for d in range(6, 11)]
    with pytest.raises(InputError, match="--date-order dmy or mdy"):
        sessions(tmp_path, table("start,end,energy_kwh,charge_point", rows[:1], ","))


def day_of(form: str, header: str = "time") -> str:
    rows = [[f"{datetime(2024, 5, 16, h):{form}}", str(h % 5)] for h in range(24)]
    return table(f"{header},kW", rows, ",")


def test_a_short_year_may_be_first_or_last(tmp_path: Path) -> None:
    refused(tmp_path, day_of("%y-%m-%d %H:%M"), "'24-05-16 00:00'", "--date-order dmy or ymd")
    found = read(tmp_path, day_of("%y-%m-%d %H:%M"), date_order=DateOrder.YEAR_FIRST)
    assert found.series["load"].start == datetime(2024, 5, 15, 22, tzinfo=UTC)
    # Of several days, one order alone has them follow one another.
    for form in ("%y-%m-%d %H:%M", "%d-%m-%y %H:%M"):
        rows = [[f"{datetime(2024, 5, 16) + n * HOUR:{form}}", "1"] for n in range(48)]
        assert read(tmp_path, table("time,kW", rows, ",")).series["load"].start.date() == date(2024, 5, 15)
    assert read(tmp_path, day_of("%d.%m.%y %H:%M")).series["load"].start.date() == date(2024, 5, 15)


def test_ten_digits_that_are_a_date_and_an_hour(tmp_path: Path) -> None:
    found = read(tmp_path, day_of("%Y%m%d%H"))
    assert (found.series["load"].start, found.series["load"].step_s) == (datetime(2024, 5, 15, 22, tzinfo=UTC), 3600)
    assert "YYYYMMDDHH" in "; ".join(found.notes.read)


@pytest.mark.parametrize(
    ("header", "utc"),
    [
        ("timestamp_utc", 0), ("Zeit (UTC)", 0), ("MTU (UTC)", 0), ("time GMT", 0), ("Date (GMT+1)", -1),
        ("MTU (CET/CEST)", -2), ("time", -2),
    ],
)  # fmt: skip
def test_the_header_says_the_zone(header: str, utc: int, tmp_path: Path) -> None:
    found = read(tmp_path, day_of("%Y-%m-%d %H:%M", header), shape="table")
    assert found.series["load"].start == datetime(2024, 5, 16, tzinfo=UTC) + utc * HOUR
    assert ("times are local ones" in "; ".join(found.notes.assumed)) == (header == "time")


@pytest.mark.parametrize("zone", ["UTC+25:00", "UTC+01:99", "-15"])
def test_an_offset_that_no_clock_has_is_no_zone(zone: str, tmp_path: Path) -> None:
    assert refused(tmp_path, day_of("%Y-%m-%d %H:%M"), "--time-zone", zone, time_zone=zone).code is Code.UNKNOWN


def test_a_table_of_another_sequence_alone_has_no_rows(tmp_path: Path) -> None:
    header = '"MTU (UTC)","Area","Sequence","Day-ahead Price (EUR/MWh)"'
    rows = [[f"{h:02d}/05/2024 00:00 - {h:02d}/05/2024 01:00", "AT", "Sequence Sequence 3", "50"] for h in range(1, 9)]
    assert refused(tmp_path, table(header, rows, ","), "own.csv", "no rows", kind=Kind.PRICE).code is Code.EMPTY


@pytest.mark.parametrize("factor", [0.0, float("nan"), float("inf")])
def test_a_factor_that_makes_nothing_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="--factor"):
        Options(factor=factor)


@pytest.mark.parametrize(
    "said",
    [{"annual_kwh": 80_000.0}, {"area": "AT"}, {"annual_kwh": 1.0, "area": "AT"}],
    ids="+".join,
)
def test_an_option_without_effect_is_refused(said: dict[str, object], tmp_path: Path) -> None:
    names = [f"--{name.replace('_', '-')}" for name in said]
    assert refused(tmp_path, day_of("%Y-%m-%d %H:%M"), *names, "shape table", **said).code is Code.CONFLICT


def test_a_unit_is_not_said_of_what_has_its_own(tmp_path: Path) -> None:
    text = '{"object": "list", "data": [{"start_timestamp": 1715000000000, "marketprice": 50.0}]}'
    refused(tmp_path, text, "--unit", "awattar", "received ct/kWh", kind=Kind.PRICE, unit="ct/kWh")


@pytest.mark.parametrize(("text", "seconds"), [("15min", 900), ("1s", 1), ("1 h", 3600), ("1d", 86_400)])
def test_a_step_is_of_a_second_to_a_day(text: str, seconds: int) -> None:
    assert step_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "abc", "0min", "2d", "1.5h", "-1h"])
def test_another_step_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InputError, match="--step"):
        step_of(text)


def test_different_values_of_a_time_are_named_with_their_rows(tmp_path: Path) -> None:
    """Row 4 is 02:00 of Berlin, 00:00Z; the row after the 24 hours is row 26."""
    text = day_of("%Y-%m-%d %H:%M") + "2024-05-16 02:00,9\n"
    rows = "row 4, column kW has '2', row 26, column kW has '9'"
    refused(tmp_path, text, "2024-05-16 02:00 (2024-05-16 00:00Z)", rows, "--duplicates")


def test_a_sum_with_a_date_is_no_row(tmp_path: Path) -> None:
    text = table("Zeit;kW", [[f"16.05.2024 {h:02d}:00", "4,0"] for h in range(24)]) + "Summe 16.05.2024;96,0\n"
    found = read(tmp_path, text)
    assert energy_kwh(found) == pytest.approx(96.0)
    assert "Summe 16.05.2024" in "; ".join(found.notes.repaired)


def test_registers_of_one_time_are_told_apart_by_their_column(tmp_path: Path) -> None:
    rows = [
        [f"2024-05-16 {h:02d}:00", register, value]
        for h in range(24)
        for register, value in (("1-1:1.29.0", "5"), ("1-1:2.29.0", "1"))
    ]
    error = refused(tmp_path, table("time,register,kW", rows, ","), "'register'", "'1-1:1.29.0', '1-1:2.29.0'")
    assert "sum" not in str(error)


def test_a_span_that_does_not_end_is_named_with_its_row(tmp_path: Path) -> None:
    rows = [[f"2024-05-16 {h:02d}:00 - 2024-05-16 {h + 1:02d}:00", "1"] for h in range(23)]
    rows[21][0] = "2024-05-16 21:00 - offen"
    refused(tmp_path, table("time,kW", rows, ","), "own.csv", "row 23", "offen")


def test_one_time_of_seconds_is_named_with_its_file(tmp_path: Path) -> None:
    refused(tmp_path, "t,kW\n1715000000,1\n", "own.csv", "two times")


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("twice", [False, True])
def test_a_file_that_is_there_again_has_no_more_hours(copies: int, twice: bool, tmp_path: Path) -> None:
    """27 October 2024 has 25 hours; without the second 02:00 it is a hole between 2 and 3 kW."""
    day = [*range(3), *([2] if twice else []), *range(3, 24)]
    rows = [[f"2024-10-27 {h:02d}:00", str(h)] for h in day]
    found = read(tmp_path, table("time,kW", rows * copies, ","), duplicates=Duplicates.ERROR)
    assert found.series["load"].values[:5].tolist() == [0.0, 1.0, 2.0, 2.0 if twice else 2.5, 3.0]
    assert ("taken for summer time" in "; ".join(found.notes.assumed)) != twice


def hour_numbers(first: date, last: date, numbers: int) -> str:
    """Each hour of Madrid with its energy; ``numbers`` is that of the first hour of a day."""
    rows: list[list[str]] = []
    for time in local(first, last, HOUR):
        day = f"{time.astimezone(MADRID):%d/%m/%Y}"
        number = int(rows[-1][1]) + 1 if rows and rows[-1][0] == day else numbers
        rows.append([day, str(number), f"{len(rows) % 7},5"])
    return table("Fecha;Hora;Consumo kWh", rows)


@pytest.mark.parametrize("said", [{}, {"time_column": "Fecha+Hora"}], ids=["found", "said"])
@pytest.mark.parametrize("numbers", [0, 1])
@pytest.mark.parametrize(("first", "count"), [(date(2024, 3, 30), 71), (date(2024, 10, 26), 73), (MAY_6, 72)])
def test_numbers_of_hours_are_hours_of_the_local_day(
    first: date, count: int, numbers: int, said: dict[str, object], tmp_path: Path
) -> None:
    """Three days, of which the second is an hour shorter, longer, or neither; n mod 7 + 0.5 kWh in the n-th hour."""
    found = read(tmp_path, hour_numbers(first, first + timedelta(days=3), numbers), MADRID, **said)  # type: ignore[arg-type]
    grid = found.series["load"]
    assert grid.start == local(first, first + timedelta(days=1), HOUR)[0]
    assert grid.values.tolist() == [n % 7 + 0.5 for n in range(count)]
    assert found.notes.repaired == []


def test_a_number_that_is_no_hour_of_its_day_is_named(tmp_path: Path) -> None:
    text = hour_numbers(MAY_6, MAY_8, 1).replace("07/05/2024;24;", "07/05/2024;25;")
    refused(tmp_path, text, "own.csv", "row 49", "'25'", "which has 24")
