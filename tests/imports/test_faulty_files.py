"""Files as they should not be: each ends in an error that says what to do, or in a repair that is named and right."""

import codecs
import gzip
import io
import os
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from tests.imports.read_back import energy_kwh, read_back
from tests.imports.refused import refused
from tests.imports.written import Powers, comma, days, table
from twinswarm.imports.imported import Imported
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import Duplicates, Holes, Kind, MissingHour, Options, Reading
from twinswarm.imports.reading import read_file

ROME = ZoneInfo("Europe/Rome")
WEEKS = days(date(2024, 5, 6), 14, 60, ROME, [float(n) for n in range(1, 25)])
"""Two weeks of hours: n kW in the n-th hour of the day, 300 kWh a day."""


def rows(powers: Powers = WEEKS, form: str = "%Y-%m-%d %H:%M") -> list[list[str]]:
    return [[f"{t.astimezone(ROME):{form}}", f"{p:g}"] for t, p in zip(powers.times, powers.kw, strict=True)]


def good(header: str = "time,kW", **how: str) -> str:
    return table(header, rows(**how), ",")


def without(*gone: range) -> str:
    return table("time,kW", [row for n, row in enumerate(rows()) if not any(n in span for span in gone)], ",")


def read(
    tmp_path: Path, content: bytes | str, name: str = "own.csv", kind: Kind = Kind.LOAD, **said: object
) -> Imported:
    return read_back(tmp_path, content, ROME, kind, name, **said)


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def swapped_columns() -> str:
    return table("kW;time", [row[::-1] for row in rows()])


REFUSED: dict[str, tuple[bytes | str, dict[str, object], Code, tuple[str, ...]]] = {
    "nothing": (b"", {}, Code.EMPTY, ("nothing but blanks",)),
    "blanks": (b" \n\r\n\t", {}, Code.EMPTY, ("nothing but blanks",)),
    "a header alone": ("time,kW\n", {}, Code.EMPTY, ("no rows",)),
    "one row": ("time,kW\n2024-05-06 00:00,1\n", {}, Code.EMPTY, ("two times",)),
    "no columns": ("hello\nworld\n", {}, Code.FORMAT, ("has no columns", "--separator")),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), {}, Code.FORMAT, ("own.csv",)),
    "UTF-16 without its mark": (good().encode("utf-16-le"), {}, Code.FORMAT, ("NUL bytes", "--encoding")),
    "another encoding than said": (
        "Zeit;kW ü\n".encode("cp1252"),
        {"encoding": "utf-8"},
        Code.FORMAT,
        ("line 1", "--encoding"),
    ),
    "no unit": (good("time,power"), {}, Code.MISSING, ("names no unit", "--unit", "kW")),
    "a unit of something else": (good("time,m3"), {"unit": "m3"}, Code.UNKNOWN, ("kWh", "received 'm3'")),
    "several columns": (
        table("time,A kW,B kW", [[*row, "3"] for row in rows()], ","),
        {},
        Code.MISSING,
        ("--column", "2 'A kW' ('1')", "3 'B kW' ('3')"),
    ),
    "no such column": (good(), {"column": "kw2"}, Code.UNKNOWN, ("no such column", "2 'kW'")),
    "words among numbers": (
        good().replace(",7\n", ",seven\n"),
        {},
        Code.FORMAT,
        ("row 8, column kW", "14 cells", "'seven'"),
    ),
    "a number of two decimal signs": (
        table("time;kW", [["2024-05-06 00:00", "1.5"], ["2024-05-06 01:00", "2,5"]]),
        {},
        Code.FORMAT,
        ("'1.5'", "'2,5'", "--decimal"),
    ),
    "thousands or decimals": (
        table("time;kW", [["2024-05-06 00:00", "1.250"], ["2024-05-06 01:00", "950"]]),
        {},
        Code.FORMAT,
        ("thousands", "--decimal"),
    ),
    "no times": (
        table("a,kW", [["x", "1"], ["y", "2"]], ","),
        {},
        Code.MISSING,
        ("no column of times", "--time-column"),
    ),
    "a day that there is not": (
        good().replace("2024-05-07 05:00", "2024-02-30 05:00"),
        {},
        Code.FORMAT,
        ("row 31", "'2024-02-30 05:00'"),
    ),
    "an hour that there is not": (
        good().replace("2024-05-07 05:00", "2024-05-07 27:00"),
        {},
        Code.FORMAT,
        ("row 31", "27:00"),
    ),
    "day or month first": (
        table("time,kW", [[f"05/06/2024 {h:02d}:00", "1"] for h in range(24)], ","),
        {},
        Code.FORMAT,
        ("day or month", "--date-order"),
    ),
    "some times with an offset": (
        good().replace("2024-05-07 05:00", "2024-05-07"),
        {"time_zone": "Europe/Nowhere"},
        Code.UNKNOWN,
        ("--time-zone", "Europe/Nowhere"),
    ),
    "a time of another century": (
        good().replace("2024-05-07 05:00", "1924-05-07 05:00"),
        {},
        Code.MISSING,
        ("1924-05-07", "are missing"),
    ),
    "different values of one time": (
        good() + "2024-05-06 03:00,9\n",
        {},
        Code.DUPLICATE,
        ("2024-05-06 01:00Z", "--duplicates"),
    ),
    "holes that are not wanted": (without(range(50, 54)), {"holes": Holes.ERROR}, Code.MISSING, ("4 of 336", "+4 h")),
    "mostly holes": (without(range(20, 200)), {}, Code.MISSING, ("180 of 336", "--holes linear")),
    "no value at all": (
        table("time,kW", [[row[0], "-"] for row in rows()], ","),
        {"column": "kW"},
        Code.EMPTY,
        ("no values",),
    ),
    "the hour that there is not": (
        table("time,kW", [[f"2024-03-31 {h:02d}:00", "1"] for h in range(24)], ","),
        {},
        Code.CONFLICT,
        ("2024-03-31 02:00", "summer time begins", "UTC+01:00", "--missing-hour drop"),
    ),
    "energies that never fall": (
        table("time,kWh", [[row[0], str(n)] for n, row in enumerate(rows())], ","),
        {},
        Code.CONFLICT,
        ("never falls", "--reading"),
    ),
    "readings that fall every day": (
        good("time,Zählerstand kWh"),
        {},
        Code.CONFLICT,
        ("rises and falls", "--reading"),
    ),
    "irregular times of power": (
        table("time,kW", [[f"2024-05-06 {n:02d}:{n * 7 % 60:02d}", "1"] for n in range(24)], ","),
        {},
        Code.INVALID,
        ("off the steps",),
    ),
    "no header and no unit": (table(",".join(rows()[0]), rows()[1:], ","), {}, Code.MISSING, ("column 2", "--unit")),
    "rows of more cells": (
        good() + "2024-05-20 00:00,1,2,3\n",
        {},
        Code.FORMAT,
        ("line 338", "4 cells", "the header has 2"),
    ),
    "prices in the wrong unit": (good("time,€/kWh"), {"kind": Kind.PRICE}, Code.RANGE, ("24 €/kWh", "--unit")),
    "prices of 0 of a column that nobody named": (
        "time,€/kWh\n2024-05-13 00:00,0\n2024-05-13 01:00,0\n",
        {"kind": Kind.PRICE},
        Code.RANGE,
        ("0 alone", "--column"),
    ),
    "prices in pounds": (good("time,GBP/MWh"), {"kind": Kind.PRICE}, Code.INVALID, ("GBP/MWh", "--factor")),
    "watts taken for kilowatts": (good("time,MW").replace(",24\n", ",24000\n"), {}, Code.RANGE, ("beyond a million",)),
    "PV power of the wrong sign": (
        table("time,kW", [[row[0], f"-{row[1]}"] for row in rows()], ","),
        {"kind": Kind.PV},
        Code.RANGE,
        ("--factor -1",),
    ),
    "an archive of two files": (zipped(("a.csv", b"x"), ("b.csv", b"y")), {}, Code.FORMAT, ("2 files", "a.csv, b.csv")),
    "a broken archive": (zipped(("a.csv", good().encode()))[:200], {}, Code.FORMAT, ("cannot be unpacked",)),
    "broken gzip": (gzip.compress(good().encode())[:100], {}, Code.FORMAT, ()),
    "a bomb": (gzip.compress(bytes(300 * 2**20)), {}, Code.RANGE, ("larger than 256 MiB",)),
    "a bomb in an archive": (zipped(("a.csv", bytes(300 * 2**20))), {}, Code.RANGE, ("larger than 256 MiB",)),
    "too many rows": (b"time,kW\n" + b"1,1\n" * 2_100_000, {}, Code.RANGE, ("2100001 lines", "at most 2000000")),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(1000), {}, Code.FORMAT, ("Excel workbook",)),
    "a shape that there is not": (good(), {"shape": "smarrd"}, Code.UNKNOWN, ("--as", "table")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    content, said, code, named = REFUSED[name]
    with refused(code, *named) as caught:
        read(tmp_path, content, **said)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", ["device", "folder", "pipe", "nothing"])
def test_what_is_no_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    places: dict[str, Callable[[], Path]] = {
        "device": lambda: Path("/dev/zero"),
        "folder": lambda: tmp_path,
        "pipe": lambda: os.mkfifo(tmp_path / "pipe") or tmp_path / "pipe",  # type: ignore[func-returns-value]
        "nothing": lambda: tmp_path / "gone.csv",
    }
    with pytest.raises(InputError) as caught:
        read_file(places[name](), Kind.LOAD, ROME, Options())
    assert caught.value.code is (Code.NOT_FOUND if name == "nothing" else Code.UNREADABLE)


def spring() -> str:
    """A file whose clock is standard time, with 1 kW on 31 March."""
    return table("time,kW", [[f"2024-03-{d} {h:02d}:00", "1"] for d in (30, 31) for h in range(24)], ",")


def counter(readings: list[float]) -> str:
    start = datetime(2024, 5, 6, tzinfo=UTC)
    return table(
        "time;Zählerstand kWh",
        [[f"{start + timedelta(hours=n):%d.%m.%Y %H:%M}", comma(r, 1)] for n, r in enumerate(readings)],
    )


TICKS = [1000.0 + 2 * n for n in range(24)]
"""Readings of 2 kW: 46 kWh in 23 hours."""

REPAIRED: dict[str, tuple[bytes | str, dict[str, object], float, str]] = {
    # 14 days of 300 kWh.
    "a byte order mark": (codecs.BOM_UTF8 + good().encode(), {}, 4200, ""),
    "UTF-16": (good().encode("utf-16"), {}, 4200, ""),
    "lines of a Macintosh": (good().replace("\n", "\r"), {}, 4200, ""),
    "gzip without its name": (gzip.compress(good().encode()), {}, 4200, ""),
    "an archive of one file": (zipped(("own.csv", good().encode()), ("__MACOSX/._own.csv", b"x")), {}, 4200, ""),
    "columns the other way round": (swapped_columns(), {}, 4200, ""),
    "the latest first": (table("time,kW", rows()[::-1], ","), {}, 4200, ""),
    "rows without order": (table("time,kW", rows()[7:] + rows()[:7], ","), {}, 4200, "put in order"),
    "midnight as 24:00": (
        table(
            "time,kW",
            [
                [row[0].replace(f"-{d:02d} 00:00", f"-{d - 1:02d} 24:00"), row[1]]
                for n, row in enumerate(rows())
                for d in (6 + n // 24,)
            ],
            ",",
        ),
        {},
        4200,
        "",
    ),
    "a date that has no time at midnight": (good().replace(" 00:00", ""), {}, 4200, ""),
    "a foot with a sum": (good() + ",\nSumme,4200\n", {}, 4200, "1 rows below the table"),
    "a head of an operator": (
        "Netz GmbH\n\nKunde;4711\n" + table("Zeit;kW", rows(form="%d.%m.%Y %H:%M")),
        {},
        4200,
        "",
    ),
    "no header": (table(",".join(rows()[0]), rows()[1:], ","), {"unit": "kW"}, 4200, ""),
    "rows that are there twice": (
        good() + "".join(",".join(row) + "\n" for row in rows()[:48]),
        {},
        4200,
        "48 rows repeat",
    ),
    # The hour of 3 kW is there as 9 and 3.
    "the first of two counts": (
        good() + "2024-05-06 02:00,9\n",
        {"duplicates": Duplicates.FIRST},
        4200,
        "first counts",
    ),
    "the last of two counts": (good() + "2024-05-06 02:00,9\n", {"duplicates": Duplicates.LAST}, 4206, "last counts"),
    "the mean of two": (good() + "2024-05-06 02:00,9\n", {"duplicates": Duplicates.MEAN}, 4203, "mean counts"),
    "the sum of two": (good() + "2024-05-06 02:00,9\n", {"duplicates": Duplicates.SUM}, 4209, "sum counts"),
    # 06:00 and 07:00 of the second day, 7 and 8 kW, lie on a straight line.
    "a short hole": (without(range(30, 32)), {}, 4200, "2 on a straight line"),
    # From 23:00 (24 kW) to 02:00 (3 kW) the line is at 17 and 10 instead of 1 and 2.
    "a short hole at midnight": (without(range(48, 50)), {}, 4224, "2 on a straight line"),
    "a day long hole": (without(range(24, 48)), {}, 4200, "24 as 7 days after"),
    "a hole filled with zero": (without(range(24, 48)), {"holes": Holes.ZERO}, 3900, "24 with 0"),
    # 24 h of the 24 kW before.
    "a hole filled with the value before": (
        without(range(24, 48)),
        {"holes": Holes.PREVIOUS},
        3900 + 576,
        "value before",
    ),
    "a hole at the end": (
        good() + "2024-05-20 00:00,-\n2024-05-20 01:00,\n",
        {},
        4200,
        "2 steps without values at the ends",
    ),
    "seconds beside the step": (
        good().replace("05:00,", "05:00:04,").replace("06:00,", "05:59:58,"),
        {},
        4200,
        "moved there",
    ),
    "apostrophes as thousands separators": (
        table("time;W", [[row[0], f"{float(row[1]) * 1000:,.1f}".replace(",", "'")] for row in rows()]),
        {},
        4200,
        "",
    ),
    "thousands and decimals": (
        table("time;W", [[row[0], f"{float(row[1]) * 1000:,.2f}".translate({44: 46, 46: 44})] for row in rows()]),
        {},
        4200,
        "",
    ),
    # The second day has 24 rows on the clock and 23 hours.
    "the hour that there is not, left out": (spring(), {"missing_hour": MissingHour.DROP}, 47, "1 rows of an hour"),
    "a clock of standard time": (spring(), {"time_zone": "UTC+01:00"}, 48, ""),
    "a counter that begins again": (counter([*TICKS[:12], *[float(2 * n) for n in range(1, 13)]]), {}, 46, "1 resets"),
    "a counter that rolls over": (
        counter([99_980.0 + 2 * n for n in range(10)] + [float(2 * n) for n in range(14)]),
        {},
        46,
        "1 roll-overs",
    ),
    "a counter with a zero": (counter([*TICKS[:5], 0.0, *TICKS[6:]]), {}, 46, "left out"),
    "a counter with a spike": (counter([*TICKS[:5], 90_000.0, *TICKS[6:]]), {}, 46, "left out"),
    # Exchanged for one that stands at 5000.0 less: one step is unknown, and filled on a straight line.
    "a counter that is exchanged": (
        counter([10_000.0 + r for r in TICKS[:12]] + [5000.0 + r for r in TICKS[12:]]),
        {},
        46,
        "fit no reset",
    ),
    # The same, for one that stands 90,000 kWh higher.
    "a counter that leaps": (
        counter([*TICKS[:12], *[90_000.0 + r for r in TICKS[12:]]]),
        {},
        46,
        "leaps of the counter",
    ),
    "a counter that was not read for hours": (
        table(
            "time;Zählerstand kWh",
            [row.split(";") for n, row in enumerate(counter(TICKS).splitlines()[1:]) if not 5 <= n < 9],
        ),
        {},
        46,
        "spread evenly",
    ),
    "PV power that is negative at night": (
        table("time,kW", [[row[0], "-0.5" if row[1] == "1" else row[1]] for row in rows()], ","),
        {"kind": Kind.PV},
        4186,
        "14 negative values of PV power, 7.000 kWh",
    ),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_is_read_with_the_energy_of_a_hand_calculation(name: str, tmp_path: Path) -> None:
    content, said, kwh, repair = REPAIRED[name]
    if "counter" in name:
        said = {"time_zone": "UTC", **said}
    found = read(tmp_path, content, **said)  # type: ignore[arg-type]
    assert energy_kwh(next(iter(found.series.values()))) == pytest.approx(kwh, rel=1e-9), found.notes
    assert repair in "; ".join(found.notes.repaired)
    assert bool(repair) == bool(found.notes.repaired), found.notes.repaired


def test_a_hole_is_filled_by_the_local_clock_of_the_week_before(tmp_path: Path) -> None:
    """The week of 31 March 2024 is an hour shorter: 05:00 is 05:00 of the week before, and not 04:00."""
    weeks = days(date(2024, 3, 25), 10, 60, ROME, [5.0])
    kw = [float(t.astimezone(ROME).hour) for t in weeks.times]
    powers = Powers(weeks.start, weeks.step, tuple(kw))
    at = next(n for n, t in enumerate(powers.times) if t.astimezone(ROME) == datetime(2024, 4, 2, 3, tzinfo=ROME))
    text = table("time,kW", [row for n, row in enumerate(rows(powers)) if not at <= n < at + 6], ",")
    grid = read(tmp_path, text).series["load"]
    assert grid.values[at : at + 6].tolist() == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert grid.filled is not None
    assert int(grid.filled.sum()) == 6


def test_of_an_hour_that_is_there_once_the_other_is_a_hole(tmp_path: Path) -> None:
    """A clock that shows 02:00 once on 27 October 2024: the file has 24 values of a day of 25 hours."""
    text = table("time,kW", [[f"2024-10-27 {h:02d}:00", str(h)] for h in range(24)], ",")
    found = read(tmp_path, text)
    assert found.series["load"].values[:5].tolist() == [0.0, 1.0, 2.0, 2.5, 3.0]
    assert "taken for summer time" in "; ".join(found.notes.assumed)
    assert "on a straight line" in "; ".join(found.notes.repaired)


def test_notes_are_added_up() -> None:
    one, other = Notes(["a"], ["b"], ["c"]), Notes(["d"], [], ["e"])
    one.add(other)
    assert one.to_json() == {"read": ["a", "d"], "assumed": ["b"], "repaired": ["c", "e"]}
    assert Reading.COUNTER.value == "counter"
