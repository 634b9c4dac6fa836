"""More ways in which portals write times: since 1970, with marks of summer time, with AM and PM."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code
from tests.imports.read_back import energy_kwh, read_back
from tests.imports.refused import refused
from tests.imports.test_unclear_cells import workbook
from tests.imports.written import table
from twinswarm.imports.imported import Imported

BERLIN, LOS_ANGELES = ZoneInfo("Europe/Berlin"), ZoneInfo("America/Los_Angeles")


def read(tmp_path: Path, text: str, zone: ZoneInfo = BERLIN, **said: object) -> Imported:
    return read_back(tmp_path, text, zone, **said)  # type: ignore[arg-type]


def check_refused(tmp_path: Path, text: str, code: Code, *words: str, **said: object) -> None:
    with refused(code, *words):
        read(tmp_path, text, **said)  # type: ignore[arg-type]


NAMED = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


def since_1970(per_second: int, late: int = 0) -> list[list[str]]:
    """A day of quarter-hours from 13 May 2024, 00:00Z, of 1.5 kW: 36 kWh."""
    begin = int(datetime(2024, 5, 13, tzinfo=UTC).timestamp())
    return [[str((begin + 900 * n) * per_second + late), "1.5"] for n in range(96)]


@pytest.mark.parametrize("name", NAMED)
def test_a_time_may_be_a_number_since_1970(name: str, tmp_path: Path) -> None:
    found = read(tmp_path, table("time,kW", since_1970(NAMED[name]), ","))
    assert found.series["load"].start == datetime(2024, 5, 13, tzinfo=UTC)
    assert energy_kwh(found) == 36
    assert f"times are {name} since 1970" in found.notes.read
    assert found.notes.repaired == []


@pytest.mark.parametrize("name", NAMED)
def test_such_a_number_may_have_a_decimal_point(name: str, tmp_path: Path) -> None:
    """As pandas writes a column with a hole in it, and a workbook has all of its numbers."""
    numbers = [[float(time), 1.5] for time, _ in since_1970(NAMED[name])]
    text = table("time,kW", [[f"{time:.1f}", f"{power}"] for time, power in numbers], ",")
    for found in (
        read(tmp_path, text),
        read_back(tmp_path, workbook([["time", "kW"], *numbers]), BERLIN, name="own.xlsx"),
    ):
        assert energy_kwh(found) == 36
        assert found.series["load"].start == datetime(2024, 5, 13, tzinfo=UTC)


def test_parts_of_a_second_are_none_of_the_steps(tmp_path: Path) -> None:
    """As a database writes them, a nanosecond late."""
    assert energy_kwh(read(tmp_path, table("time,kW", since_1970(10**9, late=1), ","))) == 36


def test_numbers_since_1970_are_all_of_one_unit(tmp_path: Path) -> None:
    rows = since_1970(10**9)
    rows[7][0] = rows[7][0].removesuffix("000")
    check_refused(tmp_path, table("time,kW", rows, ","), Code.FORMAT, "row 9", rows[7][0], time_column="time")


def night(marked: str = "summer", step_min: int = 15) -> list[list[str]]:
    """27 October 2024 of Berlin: 1 kW in summer time, 2 kW in standard time; 3 h of the first and 22 h of the second.

    ``marked``: DST behind all times of ``summer`` time, those of it in the ``doubled`` hour, or the ``second`` ones.
    """
    rows = []
    begin = datetime(2024, 10, 26, 22, tzinfo=UTC)
    for n in range(25 * 60 // step_min):
        time = (begin + timedelta(minutes=step_min * n)).astimezone(BERLIN)
        summer, doubled = bool(time.dst()), time.hour == 2
        has = {"summer": summer, "doubled": summer and doubled, "second": doubled and not summer}[marked]
        rows.append([f"{time:%Y-%m-%d %H:%M:%S}{' DST' if has else ''}", "1" if summer else "2"])
    return rows


@pytest.mark.parametrize("marked", ["summer", "doubled"])
@pytest.mark.parametrize("latest_first", [False, True])
def test_the_mark_dst_is_summer_time(marked: str, latest_first: bool, tmp_path: Path) -> None:
    """As FusionSolar writes it: 3 · 1 + 22 · 2 = 47 kWh in 100 quarter-hours."""
    rows = night(marked)
    found = read(tmp_path, table("Time,kW", rows[::-1] if latest_first else rows, ","))
    assert found.series["load"].values.tolist() == [1.0] * 12 + [2.0] * 88
    assert found.series["load"].start == datetime(2024, 10, 26, 22, tzinfo=UTC)
    assert energy_kwh(found) == 47
    assert "without the mark DST are standard time" in "; ".join(found.notes.assumed)
    assert found.notes.repaired == []


def test_the_mark_dst_tells_the_hours_apart_where_one_of_them_is_there(tmp_path: Path) -> None:
    """Without the summer half of the doubled hour it is a hole between 1 and 2 kW: 4 · 1 quarter-hours are missing."""
    rows = [row for row in night() if not (row[0].endswith("DST") and " 02:" in row[0])]
    found = read(tmp_path, table("Time,kW", rows, ","))
    assert found.series["load"].values[8:12].tolist() == pytest.approx([1.2, 1.4, 1.6, 1.8])
    assert "2024-10-27 00:00Z +1 h" in "; ".join(found.notes.repaired)


def test_ends_of_intervals_have_the_mark_dst(tmp_path: Path) -> None:
    """The end of an interval as the clock shows it then: the last of summer time, 02:45 to 03:00, ends at 02:00."""
    begin = datetime(2024, 10, 26, 22, tzinfo=UTC)
    rows = []
    for n in range(100):
        end = (begin + timedelta(minutes=15 * (n + 1))).astimezone(BERLIN)
        rows.append([f"{end:%Y-%m-%d %H:%M:%S}{' DST' if end.dst() else ''}", "1" if n < 12 else "2"])
    found = read(tmp_path, table("End time,kW", rows, ","))
    assert found.series["load"].values.tolist() == [1.0] * 12 + [2.0] * 88
    assert found.series["load"].start == begin


def test_marks_of_the_south_are_of_its_summer(tmp_path: Path) -> None:
    """7 April 2024 of Sydney has 25 hours: 3 of summer time, 1 kW, and 22 of standard time, 2 kW."""
    begin, sydney = datetime(2024, 4, 6, 13, tzinfo=UTC), ZoneInfo("Australia/Sydney")
    times = [(begin + timedelta(hours=n)).astimezone(sydney) for n in range(25)]
    rows = [[f"{time:%Y-%m-%d %H:%M}{' DST' if time.dst() else ''}", "1" if time.dst() else "2"] for time in times]
    found = read(tmp_path, table("Time,kW", rows, ","), sydney)
    assert (found.series["load"].start, energy_kwh(found)) == (begin, 47)
    assert found.series["load"].values.tolist() == [1.0] * 3 + [2.0] * 22


def test_a_mark_behind_the_second_hour_is_asked_about(tmp_path: Path) -> None:
    """As ERCOT writes it, of the repeated hour. Without marks the order of the rows tells the hours apart."""
    text = table("Time,kW", night("second", 60), ",")
    check_refused(tmp_path, text, Code.CONFLICT, "row 5", "2024-10-27 02:00:00 DST", "leave the marks away")
    assert energy_kwh(read(tmp_path, text.replace(" DST", ""))) == 47


@pytest.mark.parametrize("zone", ["UTC", "UTC+01:00", "Asia/Tokyo"])
def test_a_zone_without_summer_time_contradicts_the_mark(zone: str, tmp_path: Path) -> None:
    check_refused(
        tmp_path, table("Time,kW", night(), ","), Code.CONFLICT, "2024-10-27 00:00", "--time-zone", time_zone=zone
    )


def test_winter_has_no_mark_dst(tmp_path: Path) -> None:
    rows = [[f"2024-01-15 {h:02d}:00 DST", "1"] for h in range(24)]
    check_refused(tmp_path, table("Time,kW", rows, ","), Code.CONFLICT, "no summer time then", "2024-01-15 00:00")


def clocks(form: str) -> list[str]:
    """The hours of a day in a form of ``h``, ``m`` and ``half``."""
    return [
        form.format(h=hour % 12 or 12, m="00", half=half, dotted=f"{half[0].lower()}.m.")
        for half in ("AM", "PM")
        for hour in range(12)
    ]


POWERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 20, 5, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7]
"""kWh of the hours of a day, 128 in all: 1 from midnight on, 20 from noon on."""
FORMS = ("{h}:{m} {half}", "{h}:{m}{half}", "{h}:{m} {dotted}", "{h:02d}:{m}:00 {half}")


def of_two_days(*columns: list[str]) -> list[list[str]]:
    """Rows of 5 and 6 March 2024, month first: the date, further cells, and the energy."""
    return [
        [f"3/{day}/2024", *cells, f"{power}"]
        for day in (14, 15)
        for *cells, power in zip(*columns, POWERS, strict=True)
    ]


def check_two_days(found: Imported) -> None:
    """Two days of Los Angeles, in summer time since 10 March: midnight is 07:00Z."""
    grid = found.series["load"]
    assert (grid.start, grid.step_s) == (datetime(2024, 3, 14, 7, tzinfo=UTC), 3600)
    assert grid.values.tolist() == POWERS * 2
    assert energy_kwh(found) == 256
    assert found.notes.repaired == []


@pytest.mark.parametrize("form", FORMS)
def test_a_time_of_day_with_am_and_pm_stands_beside_its_date(form: str, tmp_path: Path) -> None:
    """As SDG&E has it. 12 AM is midnight, 12 PM is noon."""
    text = "Name,A\nUOM,kWh\n" + table("Date,Start Time,Usage kWh", of_two_days(clocks(form)), ",")
    check_two_days(read(tmp_path, text, LOS_ANGELES))


@pytest.mark.parametrize("form", FORMS)
def test_am_and_pm_may_be_glued_to_a_date_and_time(form: str, tmp_path: Path) -> None:
    rows = [[f"{date} {clock}", power] for date, clock, power in of_two_days(clocks(form))]
    check_two_days(read(tmp_path, table("Time,Usage kWh", rows, ","), LOS_ANGELES))


def test_begin_and_end_may_have_am_and_pm(tmp_path: Path) -> None:
    """As PG&E has it, whose intervals end a minute before."""
    begins = clocks("{h}:{m} {half}")
    ends = [begin.replace(":00", ":59") for begin in begins]
    text = table("DATE,START TIME,END TIME,USAGE (kWh)", of_two_days(begins, ends), ",")
    check_two_days(read(tmp_path, text, LOS_ANGELES))


def test_a_span_may_have_am_and_pm(tmp_path: Path) -> None:
    begins = clocks("{h}:{m} {half}")
    spans = [f"{begin} - {end}" for begin, end in zip(begins, [*begins[1:], begins[0]], strict=True)]
    check_two_days(read(tmp_path, table("Date,Hours,kWh", of_two_days(spans), ","), LOS_ANGELES))


@pytest.mark.parametrize("header", ["Date,Time,AM/PM,kWh", "Date,Time,,kWh"])
def test_am_and_pm_may_be_a_column(header: str, tmp_path: Path) -> None:
    rows = of_two_days(clocks("{h}:{m}"), ["AM"] * 12 + ["PM"] * 12)
    check_two_days(read(tmp_path, table(header, rows, ","), LOS_ANGELES))


def test_am_and_pm_may_be_the_column_after_date_and_time(tmp_path: Path) -> None:
    rows = [[f"{r[0]} {r[1]}", *r[2:]] for r in of_two_days(clocks("{h}:{m}"), ["AM"] * 12 + ["PM"] * 12)]
    check_two_days(read(tmp_path, table("Time,Half,kWh", rows, ","), LOS_ANGELES))


def test_heads_of_columns_may_have_am_and_pm(tmp_path: Path) -> None:
    text = table(
        ",".join(("Date", *clocks("{h}:{m} {half}"))), [[f"3/{day}/2024", *map(str, POWERS)] for day in (14, 15)], ","
    )
    check_two_days(read(tmp_path, text, LOS_ANGELES, unit="kWh"))


def test_heads_of_columns_that_end_have_midnight_last(tmp_path: Path) -> None:
    heads = clocks("{h}:{m} {half}")
    text = table(
        ",".join(("Date", *heads[1:], heads[0])), [[f"3/{day}/2024", *map(str, POWERS)] for day in (14, 15)], ","
    )
    check_two_days(read(tmp_path, text, LOS_ANGELES, unit="kWh"))


@pytest.mark.parametrize("clock", ["13:00 AM", "24:00 PM"])
def test_an_hour_that_is_none_of_the_morning_is_refused(clock: str, tmp_path: Path) -> None:
    rows = of_two_days(clocks("{h}:{m} {half}"))
    rows[13][1] = clock
    check_refused(tmp_path, table("Date,Time,kWh", rows, ","), Code.FORMAT, "row 15", clock)


def test_the_dates_of_a_wide_table_may_have_the_name_of_the_month(tmp_path: Path) -> None:
    text = table(
        ",".join(("Date", *(f"{h:02d}:00" for h in range(24)))),
        [[f"{day} March 2024", *map(str, POWERS)] for day in (14, 15)],
        ",",
    )
    check_two_days(read(tmp_path, text, LOS_ANGELES, unit="kWh"))
