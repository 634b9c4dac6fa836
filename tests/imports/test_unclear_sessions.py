"""Tables of sessions and of interval readings that may be meant in several ways: the right one, or the question."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from tests.imports import shaped
from tests.imports.test_sessions import acn, read
from tests.imports.written import days, table
from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Kind, Options, Reading
from twinswarm.imports.reading import read_file

STAY = ["2024-05-13T08:00Z", "2024-05-13T12:00Z"]


def stays(header: str, *values: list[str]) -> str:
    rows = [[f"2024-05-{13 + n}T08:00Z", f"2024-05-{13 + n}T12:00Z", *row] for n, row in enumerate(values)]
    return table(f"start;end;{header}", rows)


def kwh(text: str, tmp_path: Path, **said: object) -> float:
    return sum(session.energy_kwh for session in read(tmp_path, text, **said).sessions)


def test_am_and_pm_may_stand_in_columns_behind_begin_and_end(tmp_path: Path) -> None:
    """Of Vienna in winter, UTC+1: 00:15 to 13:15, and 14:00 to 17:00."""
    rows = [
        ["3/14/2024 12:15", "AM", "3/14/2024 1:15", "PM", "10"],
        ["3/15/2024 2:00", "PM", "3/15/2024 5:00", "PM", "5"],
    ]
    found = read(tmp_path, table("Start;AM/PM;End;AM/PM;kWh", rows))
    begin = datetime(2024, 3, 13, 23, 15, tzinfo=UTC)
    assert [(s.arrival, s.departure, s.energy_kwh) for s in found.sessions] == [
        (begin, begin + timedelta(hours=13), 10),
        (datetime(2024, 3, 15, 13, tzinfo=UTC), datetime(2024, 3, 15, 16, tzinfo=UTC), 5),
    ]
    assert found.notes.repaired == []


def test_of_several_energies_the_one_that_is_said_counts(tmp_path: Path) -> None:
    text = stays("Energy requested (kWh);Energy delivered (kWh)", ["30", "10"], ["30", "12"])
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert caught.value.code is Code.CONFLICT
    assert all(part in str(caught.value) for part in ("Energy requested", "Energy delivered", "--column"))
    assert kwh(text, tmp_path, column="Energy delivered (kWh)") == 22


def test_a_reading_of_the_meter_is_no_energy(tmp_path: Path) -> None:
    """1020.5 less 1000.5 kWh."""
    assert kwh(stays("meterStart (kWh);meterStop (kWh)", ["1000.5", "1020.5"]), tmp_path) == 20


def test_sessions_that_are_left_out_are_said_with_their_energy(tmp_path: Path) -> None:
    longer = [*STAY, "30", "CP1"]
    rows = [
        longer,
        [STAY[0], "2024-05-13T09:00Z", "10", "CP1"],
        ["2024-05-14T08:00Z", "2024-05-14T09:00Z", "-5", "CP1"],
    ]
    found = read(tmp_path, table("start;end;kWh;charge_point", rows))
    said = "; ".join(found.notes.repaired)
    assert sum(session.energy_kwh for session in found.sessions) == 30
    assert "1 sessions with 10.0 kWh begin with a longer one" in said and "1 sessions have a negative energy" in said


def test_an_energy_that_no_vehicle_takes_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, stays("kWh", ["10"], ["1e300"]))
    assert "row 3, column kWh: a session has at most 100000 kWh; another --unit?" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"kWhDelivered": 8.0', '"kWhDelivered": Infinity', 1),
        lambda text: text.replace('"kWhDelivered": 8.0', '"kWhDelivered": 1e308', 1),
        lambda text: re.sub(r'"userInputs": \[.*?\]', '"userInputs": ["x"]', text, count=1),
        lambda text: text.replace(" 2024 ", " 99999999999 ", 1),
        lambda text: text.replace('"spaceID": "CA-0"', '"space": 1', 1).replace('"stationID": "2-39-1-0"', '"s": 1', 1),
    ],
    ids=["infinite", "huge", "inputs", "year", "station"],
)
def test_an_item_of_acn_data_that_cannot_be_read_is_named(tmp_path: Path, change: Callable[[str], str]) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, change(acn()))
    assert "item 0 of _items: needs connectionTime" in str(caught.value)


# ---- Green Button

POWERS = days(date(2024, 5, 13), 1, 60, ZoneInfo("UTC"), [4.0])


def green_button(tmp_path: Path, *changes: tuple[str, str], kind: Kind = Kind.LOAD, **said: object) -> Imported:
    text = shaped.green_button(POWERS)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "own.xml").write_text(text, encoding="utf-8")
    found = read_file(tmp_path / "own.xml", kind, UTC, Options(**said))  # type: ignore[arg-type]
    assert isinstance(found, Imported)
    return found


def counted(text: str) -> str:
    """The readings as those of a counter that begins at 10,000 kWh, in tens of Wh."""
    energies = [int(value) for value in re.findall(r"<value>(\d+)</value>", text)]
    totals = iter(accumulate(energies, initial=1_000_000))
    next(totals)
    return re.sub(r"<value>\d+</value>", lambda _: f"<value>{next(totals)}</value>", text)


@pytest.mark.parametrize("behaviour", ["3", "1"])
def test_readings_of_a_green_button_counter_are_its_differences(tmp_path: Path, behaviour: str) -> None:
    """24 readings of the ends of hours of 4 kWh: the first hour is before the first reading."""
    text = counted(shaped.green_button(POWERS)).replace("Behaviour>4<", f"Behaviour>{behaviour}<", 1)
    (tmp_path / "own.xml").write_text(text, encoding="utf-8")
    found = read_file(tmp_path / "own.xml", Kind.LOAD, UTC, Options())
    assert isinstance(found, Imported)
    grid = found.series["load"]
    assert float(grid.values.sum()) * grid.step_s / 3600 == pytest.approx(23 * 4.0)
    assert "readings of a counter" in "; ".join(found.notes.read)


def test_what_is_said_of_the_readings_goes_before_what_the_file_says(tmp_path: Path) -> None:
    grid = green_button(tmp_path, ("Behaviour>4<", "Behaviour>3<"), reading=Reading.INTERVAL).series["load"]
    assert float(grid.values.sum()) == pytest.approx(96.0)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("Direction>1<", "Direction>19<"), "was fed in"),
        (("<entry>", '<entry><ReadingType xmlns="http://naesb.org/espi"><flowDirection>19</flowDirection><uom>72</uom>'
          "</ReadingType></entry><entry>"), "several types, flowDirection 1 and 19"),
        (("Multiplier>1<", "Multiplier>x<"), "powerOfTenMultiplier is a power of ten"),
        (("Multiplier>1<", "Multiplier>999<"), "powerOfTenMultiplier is a power of ten"),
        (("<start>", "<start>9999999"), "reading 1: start and duration are seconds"),
        (("<value>", "<value>a"), "reading 1: start and duration are seconds"),
    ],
)  # fmt: skip
def test_green_button_of_what_is_no_load_is_refused(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    with pytest.raises(InputError, match=named):
        green_button(tmp_path, change)


def test_what_was_fed_in_is_pv_power(tmp_path: Path) -> None:
    grid = green_button(tmp_path, ("Direction>1<", "Direction>19<"), kind=Kind.PV).series["pv"]
    assert float(grid.values.sum()) == pytest.approx(96.0)


@pytest.mark.parametrize(
    ("start", "end", "utc"),
    [
        ("Start (GMT+1)", "Ende (GMT+1)", -1), ("UTCTransactionStart", "UTCTransactionStop", 0),
        ("startUtc", "endUtc", 0), ("start_utc", "end_utc", 0), ("Start UTC-03:00", "End UTC-03:00", 3),
        ("Start (CET/CEST)", "End (CET/CEST)", -2), ("Start", "End", -2),
    ],
)  # fmt: skip
def test_the_header_says_the_zone_of_a_session(start: str, end: str, utc: int, tmp_path: Path) -> None:
    text = table(f"{start};{end};kWh", [["2024-05-13 08:00", "2024-05-13 12:00", "10"]])
    found = read(tmp_path, text)
    (session,) = found.sessions
    assert session.arrival == datetime(2024, 5, 13, 8, tzinfo=UTC) + timedelta(hours=utc)
    assert session.departure - session.arrival == timedelta(hours=4)
    assert ("times are local ones" in "; ".join(found.notes.assumed)) == (start == "Start")


def test_standard_time_by_its_name_is_asked_about_in_sessions_too(tmp_path: Path) -> None:
    text = table("Beginn (MEZ);Ende (MEZ);kWh", [["2024-05-13 08:00", "2024-05-13 12:00", "10"]])
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert caught.value.code is Code.CONFLICT
    assert "--time-zone" in str(caught.value)
