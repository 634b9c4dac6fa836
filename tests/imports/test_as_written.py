"""Files as portals, meters and chargers write them, in which nothing is unclear: they are read without an option."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from tests.imports.read_back import energy_kwh
from tests.imports.test_unclear_cells import BERLIN, HOURS, QUARTERS, read, workbook
from tests.imports.written import days, table
from twinswarm.imports.imported import ImportedSessions
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.reading import read_file

QUARTER_KWH = [["06.05.2024", clock, "0,25"] for clock in QUARTERS]
ABOVE = {
    "a period": "Zählpunkt;DE0001\nZeitraum;06.05.2024 - 07.05.2024\n\n",
    "a period on two lines": "Von;06.05.2024\nBis;07.05.2024\n",
    "a factor": "Kunde;A\nWandlerfaktor;40\n",
}


@pytest.mark.parametrize("above", ABOVE.values(), ids=list(ABOVE))
def test_lines_above_the_header_may_have_dates_and_numbers(tmp_path: Path, above: str) -> None:
    assert energy_kwh(read(tmp_path, above + table("Datum;Uhrzeit;Wert [kWh]", QUARTER_KWH))) == pytest.approx(24)


def test_rows_above_the_header_of_a_workbook_may_have_dates(tmp_path: Path) -> None:
    rows = [["Zeitraum", "2024-05-06"], [], ["Zeit", "kWh"], *([f"2024-05-06 {clock}", 0.25] for clock in QUARTERS)]
    assert energy_kwh(read(tmp_path, workbook(rows), "own.xlsx")) == 24


def test_a_column_of_marks_needs_no_name(tmp_path: Path) -> None:
    rows = [[*row, "W"] for row in QUARTER_KWH]
    assert energy_kwh(read(tmp_path, table("Datum;Uhrzeit;Wert [kWh]", rows))) == pytest.approx(24)


def test_the_day_of_a_revision_is_not_that_of_a_value(tmp_path: Path) -> None:
    """As Smart Meter Texas has it, whose begins are times of day."""
    rows = [
        ["1044", "2024-05-06", "2024-05-08 06:12", begin, end, "0.25"] for begin, end in pairwise([*QUARTERS, "00:00"])
    ]
    header = "ESIID,USAGE_DATE,REVISION_DATE,USAGE_START_TIME,USAGE_END_TIME,USAGE_KWH"
    found = read(tmp_path, table(header, rows, ","))
    assert energy_kwh(found) == 24
    assert found.series["load"].start.astimezone(BERLIN).hour == 0


@pytest.mark.parametrize("header", ["Van;Tot", "Fra;Til", "Från;Till", "Du;Au", "Od;Do", "Začátek;Konec"])
def test_begin_and_end_are_known_in_more_languages(tmp_path: Path, header: str) -> None:
    rows = [[f"2024-05-06 {n:02d}:00", f"2024-05-06 {n + 1:02d}:00", "1"] for n in range(22)]
    found = read(tmp_path, table(f"{header};kWh", rows))
    assert found.series["load"].start.astimezone(BERLIN).hour == 0
    only_end = read(tmp_path, table(f"{header.partition(';')[2]};kWh", [row[1:] for row in rows]))
    assert only_end.series["load"].start.astimezone(BERLIN).hour == 0


def test_energies_of_days_that_rise_and_fall_are_no_counter(tmp_path: Path) -> None:
    rows = [[f"2024-05-{n + 1:02d}", f"{20 + 35 * (n % 2)}"] for n in range(30)]
    assert energy_kwh(read(tmp_path, table("Date,Energy (kWh)", rows, ","), kind=Kind.PV)) == pytest.approx(
        15 * (20 + 55)
    )


@pytest.mark.parametrize("clock", ["{}", "{}:00"])
def test_a_number_of_the_meter_beside_the_days_of_a_wide_table_is_no_date(tmp_path: Path, clock: str) -> None:
    head = ";".join(clock.format(quarter) for quarter in QUARTERS)
    text = f"MPAN;Date;{head}\n" + "".join(
        f"1200012345678;{d:02d}/05/2024;{';'.join(['0.25'] * 96)}\n" for d in (13, 14)
    )
    assert energy_kwh(read(tmp_path, text, unit="kWh")) == 48


def test_what_home_assistant_says_of_a_silent_sensor_is_no_value(tmp_path: Path) -> None:
    rows = [[f"2024-05-06 {clock}", "unavailable" if n == 7 else "1"] for n, clock in enumerate(HOURS)]
    found = read(tmp_path, table("time,kW", rows, ","))
    assert energy_kwh(found) == 24 and "1 cells of 'kW' hold no value ('unavailable')" in "; ".join(found.notes.read)


def test_german_standard_time_in_a_header_is_asked_about(tmp_path: Path) -> None:
    """A week with the end of summer time; of a clock that shows that hour twice there is nothing to ask."""
    standard = ZoneInfo("Etc/GMT-1")
    powers = days(date(2024, 10, 23), 7, 60, standard, [1.0])
    rows = [[f"{t.astimezone(standard):%d.%m.%Y %H:%M}", "1"] for t in powers.times]
    with pytest.raises(InputError) as caught:
        read(tmp_path, table("Uhrzeit (MEZ);kW", rows))
    assert caught.value.code is Code.CONFLICT and "--time-zone UTC+01:00" in str(caught.value)
    assert energy_kwh(read(tmp_path, table("Uhrzeit (MEZ);kW", rows), time_zone="UTC+01:00")) == 7 * 24
    local = days(date(2024, 10, 23), 7, 60, BERLIN, [1.0])
    rows = [[f"{t.astimezone(BERLIN):%d.%m.%Y %H:%M}", "1"] for t in local.times]
    assert energy_kwh(read(tmp_path, table("Uhrzeit (MEZ);kW", rows))) == 7 * 24 + 1


@pytest.mark.parametrize(
    "header",
    [
        "Created;Finished;Charged Energy (kWh);CO2/kWh (gCO2eq)",
        "Started at;Ended at;kWh;Tarif (ct/kWh)",
        "Session start;Session end;kWh;price/kWh",
        "Plugged in;Unplugged;kWh;cost",
        "Ladebeginn;Ladeende;kWh;Kosten",
        "Début;Fin;kWh;cost",
        "Fecha inicio;Fecha fin;kWh;cost",
    ],
)
def test_sessions_of_more_chargers_have_begin_end_and_energy(tmp_path: Path, header: str) -> None:
    rows = [[f"2024-05-{n:02d} 08:00", f"2024-05-{n:02d} 12:00", "10", "0.3"] for n in (6, 7)]
    (tmp_path / "own.csv").write_text(table(header, rows), encoding="utf-8")
    found = read_file(tmp_path / "own.csv", Kind.SESSIONS, BERLIN, Options())
    assert isinstance(found, ImportedSessions)
    assert [session.energy_kwh for session in found.sessions] == [10, 10]
    assert found.sessions[0].departure - found.sessions[0].arrival == timedelta(hours=4)


def test_begin_and_end_of_sessions_can_be_said(tmp_path: Path) -> None:
    rows = [["2024-05-06 08:00", "2024-05-06 12:00", "10"]]
    (tmp_path / "own.csv").write_text(table("dal;al;kWh", rows), encoding="utf-8")
    with pytest.raises(InputError, match="--time-column BEGIN"):
        read_file(tmp_path / "own.csv", Kind.SESSIONS, BERLIN, Options())
    found = read_file(tmp_path / "own.csv", Kind.SESSIONS, BERLIN, Options(time_column="dal+al"))
    assert isinstance(found, ImportedSessions)
    assert found.sessions[0].departure == datetime(2024, 5, 6, 12, tzinfo=BERLIN)
    with pytest.raises(InputError, match="begin and end, with a plus"):
        read_file(tmp_path / "own.csv", Kind.SESSIONS, BERLIN, Options(time_column="dal"))


def test_a_vehicle_stays_until_it_is_unplugged(tmp_path: Path) -> None:
    text = table(
        "Plug in;Charging end;Plug out;kWh", [["2024-05-06 08:00", "2024-05-06 10:00", "2024-05-06 12:00", "9"]]
    )
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    found = read_file(tmp_path / "own.csv", Kind.SESSIONS, BERLIN, Options())
    assert isinstance(found, ImportedSessions)
    assert found.sessions[0].departure == datetime(2024, 5, 6, 12, tzinfo=BERLIN)


def test_the_first_value_may_be_missing(tmp_path: Path) -> None:
    """It is a row of the data all the same, no header."""
    rows = [[f"2024-05-{day} {clock}", "1"] for day in ("06", "07") for clock in HOURS]
    rows[0][1] = ""
    found = read(tmp_path, table("Zeit;kW", rows))
    assert energy_kwh(found) == 47 and "1 steps without values at the ends" in "; ".join(found.notes.repaired)
