"""Cells that may be read in several ways: numbers that look like times, decimal signs, units, headers, workbooks."""

import gzip
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from tests.imports.read_back import energy_kwh, read_back
from tests.imports.refused import refused
from tests.imports.written import table
from twinswarm.imports.imported import Imported, ImportedSessions
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.reading import read_file

BERLIN = ZoneInfo("Europe/Berlin")
QUARTERS = [f"{n // 4:02d}:{n % 4 * 15:02d}" for n in range(96)]
HOURS = [f"{n:02d}:00" for n in range(24)]


def read(
    tmp_path: Path, content: bytes | str, name: str = "own.csv", kind: Kind = Kind.LOAD, **said: object
) -> Imported:
    return read_back(tmp_path, content, BERLIN, kind, name, **said)


def day(header: str, *cells: str, clocks: Sequence[str] = QUARTERS, separator: str = ";", form: str = "iso") -> str:
    """6 May 2024: the time and further cells in each row."""
    date = "2024-05-06" if form == "iso" else "06.05.2024"
    return table(header, [[f"{date} {clock}", *cells] for clock in clocks], separator)


def workbook(*sheets: Sequence[Sequence[object]]) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for n, rows in enumerate(sheets, 1):
        page = book.create_sheet(f"S{n}")
        for row in rows:
            page.append(list(row))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def in_cells(*values: object) -> list[list[object]]:
    """A sheet with the values in the quarter-hours of a day, over and over."""
    return [["Zeit", "Last kW"], *([f"2024-05-06 {c}", values[n % len(values)]] for n, c in enumerate(QUARTERS))]


def wide(*, date: str = "Giorno", head: str = "", last: str = "", days: Sequence[str] = ("13/05/2024",)) -> str:
    """0,25 in each quarter-hour of the days."""
    return (
        f"{date};{head}{';'.join(QUARTERS)}\n"
        + "".join(f"{one};{'kW;' if head else ''}{';'.join(['0,25'] * 96)}\n" for one in days)
        + last
    )


PGE = "Name,A\n\n" + table(
    "TYPE,DATE,START TIME,END TIME,USAGE,UNITS,COST,NOTES",
    [["Electric usage", "2024-05-06", f"{n:02d}:00", f"{n:02d}:59", "0.25", "kWh", "$0.10", ""] for n in range(24)],
    ",",
)
GERMAN = "Messlokation;DE000123\nOBIS;1-1:1.29.0\nWandlerfaktor;1,0\n" + day("Zeit von;Verbrauch kWh", "0.250")
SPACED = "time,kW\n\n" + "\n\n".join(f"2024-05-06 {c},1.5" for c in HOURS) + "\n"

READ: dict[str, tuple[bytes | str, dict[str, object], float]] = {
    # two digits behind a point. 24 h of 0.25 kW are 6 kWh; 24 readings of 0.25 kWh as well.
    "0.25 is no time of day": (day("time,kW", "0.25", separator=","), {}, 6),
    "12.34 is no time of day": (day("date,import kWh,temperature", "0.5", "12.34", separator=","), {}, 48),
    "an American meter": (PGE, {}, 6),
    "prices with points": (
        day("time,EUR/MWh", "40.25", clocks=HOURS, separator=","),
        {"kind": Kind.PRICE},
        24 * 0.04025,
    ),
    "times of day with points": (
        table("Datum;Uhrzeit;kW", [["06.05.2024", c.replace(":", "."), "1,5"] for c in QUARTERS]),
        {},
        36,
    ),
    # 95 quarter-hours of 250 Wh.
    "a counter of eight digits": (
        table("Zeit;Zählerstand Wh", [[f"2024-05-06 {c}", f"{20_240_101 + 250 * n}"] for n, c in enumerate(QUARTERS)]),
        {},
        23.75,
    ),
    # what is empty beside the header is no cell.
    "a separator at the end of rows": (day("Zeit,kW", "1.25", "", separator=","), {}, 30),
    "a separator at the end of all lines": (day("Zeit,kW,", "1.25", "", separator=","), {}, 30),
    "decimal commas in quotation marks": (day("Zeit,kW", '"1,25"', separator=","), {}, 30),
    # 96 × 0.25 kWh.
    "a German meter with points": (GERMAN, {}, 24),
    "a German meter with commas": (GERMAN.replace("0.250", "0,250"), {}, 24),
    # 24 h of 0.25 kW are 6 kWh, 96 × 0.25 kWh are 24.
    "an Italian table of kW": (wide(head="Unità;"), {}, 6),
    "an Italian table of no unit": (wide(), {}, 24),
    "a wide table with a sum": (
        wide(days=[f"{d}/05/2024" for d in range(13, 17)], last=f"Totale;{';' * 95}24\n;{';'.join(['24,0'] * 96)}\n"),
        {},
        96,
    ),
    "a wide table with the unit above": ("Curva di carico in kW\n\n" + wide(), {}, 6),
    "a wide table below a contract": ("Potenza impegnata 6 kW\n\n" + wide(), {}, 24),
    # 24 h of 1.5 kW are 36 kWh, 96 × 1.5 kWh are 144; the header counts before the line above it.
    "a line with the unit": ("Meter Number,0612\nUOM,kWh\n\n" + day("Zeit,Usage", "1.5", separator=","), {}, 144),
    "a padded line with the unit": ('"Name","A W"\n"UOM","kW",\n' + day("Zeit,Usage", "1.5", separator=","), {}, 36),
    "a line and a header with the unit": ("UOM,kWh\n" + day("Zeit,Usage kW", "1.5", separator=","), {}, 36),
    "a row of a workbook with the unit": (workbook([["UOM", "kW"], [], ["Zeit", "Last"], *in_cells(1.5)[1:]]), {}, 36),
    "a wide workbook with the unit above": (
        workbook([["Curva"], ["in kW"], [], ["Giorno", *QUARTERS], ["13/05/2024", *[0.25] * 96]]),
        {},
        6,
    ),
    # all members of gzip.
    "gzip of two members": (
        gzip.compress(day("time;kW", "1").encode()) + gzip.compress(b"2024-05-07 00:00;1\n" * 1),
        {},
        24.25,
    ),
    "a line break in the header": (day('"Zeit";"Leistung\n[kW]"', "1,5"), {}, 36),
    "a line break in the header of a workbook": (
        workbook([["Zeit", "Leistung\n[kW]"], *in_cells(1.5)[1:]]),
        {},
        36,
    ),
    "quotation marks amid texts": (day("Zeit;kW;Rohr", "1,5", '5" Rohr'), {}, 36),
    "a line of units": (day("Zeit;Last\n;kW", "1,5"), {}, 36),
    "a line of units in a workbook": (workbook([["Zeit", "Last"], [None, "kW"], *in_cells(1.5)[1:]]), {}, 36),
    # 24 h of 0.125 kW are 3 kWh, of 1.125 kW 27.
    "text cells with commas": (workbook(in_cells("0,125")), {}, 3),
    "text cells with commas, as is said": (workbook(in_cells("1,125")), {"decimal": ","}, 27),
    "numbers among text cells": (workbook(in_cells("0,5", 1.125)), {}, 19.5),
    "numbers of a workbook": (workbook(in_cells(1.125)), {"decimal": ","}, 27),
    "the second sheet": (workbook([["Kunde", "A"], ["Ort", "B"]], in_cells(0.5)), {"sheet": "S2"}, 12),
    "a unit in each cell": (day("Zeit;Leistung", "500 W"), {}, 12),
    "dollars at a rate": (
        day("time;$/kWh", "$0.25", clocks=HOURS),
        {"kind": Kind.PRICE, "column": "2", "unit": "€/kWh", "factor": 2.0},
        12,
    ),
    "lines between the rows": (SPACED, {}, 36),
    "kg of CO2": (day("time;kgCO2/kWh", "0.25", clocks=HOURS), {"kind": Kind.CO2}, 6000),
}


@pytest.mark.parametrize("name", READ)
def test_is_read_to_the_energy_of_a_hand_calculation(name: str, tmp_path: Path) -> None:
    content, said, expected = READ[name]
    file = "own.csv.GZ" if "gzip" in name else "own.xlsx" if content[:2] == b"PK" else "own.csv"
    assert energy_kwh(read(tmp_path, content, file, **said)) == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


MIXED = table("Zeit,kW", [[f"2024-05-06 {c}", "1,5" if n % 5 else "2"] for n, c in enumerate(HOURS)], ",")
FEW = table("Zeit,kW", [[f"2024-05-06 {c}", "2" if n % 5 else "1,5"] for n, c in enumerate(HOURS)], ",")
WIDE_CELL = "time,kW\n2024-05-06 00:00," + "1" * 140_000 + "\n"

REFUSED: dict[str, tuple[bytes | str, dict[str, object], Code, tuple[str, ...]]] = {
    "decimal commas between commas": (
        day("Zeit,kW", "1,25", separator=","),
        {},
        Code.FORMAT,
        ("line 2 has 3 cells", "header has 2", "decimal comma"),
    ),
    "decimal commas and an empty column": (day("Zeit,kW,", "1,25,", separator=","), {}, Code.FORMAT, ("line 2 has 3",)),
    "decimal commas and integers": (MIXED, {}, Code.FORMAT, ("line 3 has 3 cells", "decimal comma")),
    "few decimal commas": (FEW, {}, Code.FORMAT, ("line 2 has 3 cells", "decimal comma")),
    "text cells with a comma and three digits": (workbook(in_cells("1,125")), {}, Code.FORMAT, ("--decimal",)),
    "a point that groups nothing": (
        table(
            "Zeit;kW", [[f"2024-05-06 {c}", v] for c, v in zip(HOURS, ["1.234,5", "0.250", "12.5"] * 8, strict=True)]
        ),
        {},
        Code.FORMAT,
        ("row 3, column kW", "'0.250'", "'12.5'"),
    ),
    "another unit in a cell": (
        day("Zeit;Leistung kW", "1,0").replace("05:00;1,0", "05:00;500 W"),
        {},
        Code.CONFLICT,
        ("row 22, column Leistung kW", "is in W", "in kW", "'500 W'"),
    ),
    "cells of two units": (
        day("Zeit;Leistung", "1,0 kW").replace("05:00;1,0 kW", "05:00;500 W"),
        {"unit": "kW"},
        Code.CONFLICT,
        ("row 22", "--unit"),
    ),
    "another currency in a cell": (
        day("time;€/kWh", "$0.25", clocks=HOURS),
        {"kind": Kind.PRICE, "column": "2"},
        Code.CONFLICT,
        ("is in $", "in €"),
    ),
    "kW/h": (day("Zeit;kW/h", "1"), {}, Code.INVALID, ("kW/h", "--unit")),
    "two columns of times": (
        table("logged;measured;kW", [[f"2024-05-07 {c}", f"2024-05-06 {c}", "1"] for c in HOURS]),
        {},
        Code.MISSING,
        ("2 columns of times", "--time-column", "'measured'"),
    ),
    "gzip that is cut off": (
        gzip.compress(day("time;kW", "1").encode())[:-9],
        {},
        Code.FORMAT,
        ("cannot be unpacked",),
    ),
    "weather of any table": (day("time;°C", "1"), {"kind": Kind.WEATHER}, Code.UNKNOWN, ("pvgis and pvgis-tmy",)),
    "weather of a table with a unit": (day("t;x", "1"), {"kind": Kind.WEATHER, "unit": "W"}, Code.UNKNOWN, ("pvgis",)),
    "an information sheet first": (
        workbook([["Kunde", "A"], ["Ort", "B"]], in_cells(0.5)),
        {},
        Code.EMPTY,
        ("'S1'", "--sheet", "S2"),
    ),
    "a wide table without dates": (wide(date="Tag", days=("1", "2")), {"unit": "kW"}, Code.MISSING, ("--time-column",)),
    "a wide table without that column": (wide(), {"time_column": "Tag"}, Code.UNKNOWN, ("--time-column", "'Giorno'")),
    "a wide table by its first column": (wide(days=("x",)), {"time_column": "1"}, Code.FORMAT, ("row 2", "'x'")),
    "a wide table with a false number": (
        wide(days=("13/05/2024", "14/05/2024")).replace("14/05/2024;0,25", "14/05/2024;x"),
        {},
        Code.FORMAT,
        ("row 3, column 00:00", "'x'"),
    ),
    "a wide table with a false date": (
        wide(days=("13/05/2024", "31/02/2024", "14/05/2024")),
        {},
        Code.FORMAT,
        ("row 3", "'31/02/2024'"),
    ),
    "a wide table with a day without date": (wide(days=("13/05/2024", "", "14/05/2024")), {}, Code.FORMAT, ("row 3",)),
    "a cell without end": (WIDE_CELL, {}, Code.FORMAT, ("line 2", "131072")),
    "lines above another header": (
        "a,b,c\n" + day("time,kW", "1", separator=",").partition("\n")[2],
        {"skip_lines": 1},
        Code.MISSING,
        ("--unit",),
    ),
    "two separators": (day("time;kW", "1"), {"separator": "||"}, Code.INVALID, ("--separator", "'||'")),
    "the name of a separator": (day("time;kW", "1"), {"separator": "semicolon"}, Code.INVALID, ("--separator",)),
    "no separator": (day("time;kW", "1"), {"separator": ""}, Code.INVALID, ("--separator",)),
    "a line break that separates": (day("time;kW", "1"), {"separator": "\n"}, Code.INVALID, ("--separator",)),
    "the name of a decimal sign": (day("time;kW", "1"), {"decimal": "comma"}, Code.UNKNOWN, ("--decimal", "'comma'")),
    "another decimal sign": (day("time;kW", "1"), {"decimal": "x"}, Code.UNKNOWN, ("--decimal",)),
    "a digit that is no number": (day("time;kW", "1"), {"column": "²"}, Code.UNKNOWN, ("--column",)),
    "an encoding that reads nothing": (day("time;kW", "1"), {"encoding": "undefined"}, Code.UNKNOWN, ("--encoding",)),
    "an encoding with a NUL": (day("time;kW", "1"), {"encoding": "a\0b"}, Code.UNKNOWN, ("--encoding",)),
    "a fault among empty lines": (
        SPACED.replace("20:00,1.5", "20:00,x"),
        {},
        Code.FORMAT,
        ("row 43, column kW", "'x'"),
    ),
    "a quotation mark without end": (
        "Netz GmbH\n\n" + day("time;kW", "1").replace("05:00;1", '05:00;"1'),
        {},
        Code.FORMAT,
        ("line 24", "quotation mark"),
    ),
    "a page of HTML": ("<html><table><tr><td>1</td></tr>\n</table></html>\n", {}, Code.FORMAT, ("HTML", "CSV or xlsx")),
    "an archive of nothing": (b"PK\x05\x06" + bytes(18), {}, Code.EMPTY, ("without files",)),
    "a CO2 unit of the header": (day("time;t/kWh", "1"), {"kind": Kind.CO2}, Code.UNKNOWN, ("the header 't/kWh'",)),
    "values without times": ("kW\n" + "1.5\n" * 8760, {}, Code.FORMAT, ("their times beside them",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    content, said, code, named = REFUSED[name]
    with refused(code, *named):
        read(tmp_path, content, **said)  # type: ignore[arg-type]


@pytest.mark.parametrize("cut", [200, 2000, -30])
def test_a_damaged_workbook_is_refused(tmp_path: Path, cut: int) -> None:
    whole = workbook(in_cells(1.5))
    with zipfile.ZipFile(io.BytesIO(whole)) as book:
        at = book.getinfo("xl/worksheets/sheet1.xml").header_offset + 60
    for content in (whole[:cut], whole[:at] + bytes(400) + whole[at + 400 :]):
        with pytest.raises(InputError):
            read(tmp_path, content, "own.xlsx")


@pytest.mark.parametrize(
    "header",
    "end_time EndTime Endzeit Intervallende Zeit_bis DatumBis valid_to interval_end_local fecha_fin".split(),  # noqa: SIM905
)
def test_an_end_is_known_by_its_header(tmp_path: Path, header: str) -> None:
    found = read(tmp_path, day(f"{header};kW", "1", clocks=HOURS[1:20]))
    assert f"times are the end of their interval, by {header!r}" in found.notes.read


@pytest.mark.parametrize("header", ["end_time;start_time;kW", "EndTime;StartTime;kW", "bis;von;kW"])
def test_of_begin_and_end_the_begin_is_the_time(tmp_path: Path, header: str) -> None:
    rows = [[f"2024-05-06 {n + 1:02d}:00", f"2024-05-06 {n:02d}:00", "1"] for n in range(20)]
    found = read(tmp_path, table(header, rows))
    assert found.series["load"].start.astimezone(BERLIN).hour == 0
    assert "times are the start of their interval" in "; ".join(found.notes.read)


def test_a_time_that_is_the_same_in_all_rows_is_none_of_values(tmp_path: Path) -> None:
    rows = [["2024-05-07 12:00", f"2024-05-06 {c}", "1"] for c in HOURS]
    assert energy_kwh(read(tmp_path, table("exported;measured;kW", rows))) == 24


def test_a_comma_between_commas_is_no_cell_of_a_session(tmp_path: Path) -> None:
    rows = [["2024-05-06 08:00", "2024-05-06 12:00", "5,5", "CP1"]] * 3
    file = tmp_path / "own.csv"
    file.write_text(table("start,end,energy_kwh,charge_point", rows, ","), encoding="utf-8")
    with pytest.raises(InputError, match="line 2 has 5 cells where the header has 4"):
        read_file(file, Kind.SESSIONS, BERLIN, Options())


def test_shapes_are_recognised_in_workbooks(tmp_path: Path) -> None:
    """Meter readings in Wh: 12,000 and 3000 Wh."""
    head = ["transactionId", "chargeBoxId", "idTag", "start_timestamp", "meterStart", "stop_timestamp", "meterStop"]
    rows = [
        [1, "CB1", "A", "2024-05-06 08:00", 1000, "2024-05-06 12:00", 13_000],
        [2, "CB1", "B", "2024-05-06 13:00", 13_000, "2024-05-06 15:00", 16_000],
    ]
    file = tmp_path / "own.xlsx"
    file.write_bytes(workbook([head, *rows]))
    found = read_file(file, Kind.SESSIONS, BERLIN, Options())
    assert isinstance(found, ImportedSessions)
    assert found.shape == "ocpp-transactions"
    assert [session.energy_kwh for session in found.sessions] == [12, 3]
    meter = workbook([["Messlokation", "DE0001"], *in_cells(1.5)])
    assert read(tmp_path, meter, "meter.xlsx").shape == "german-meter"
