"""Files as meters, markets, charging back ends and accidents leave them: each ends in faults a person can act on."""

import codecs
import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.errors import Code, Fault, InputError
from sites.loader import load_site
from sites.loader.template import write_template

LOAD = "load: {type: day, file: profiles.csv, column: load_kw}"
COUNT = 200
"""Rows of a file: more than anybody wants to read faults of."""
BEGIN = datetime(2023, 2, 27, 23, tzinfo=UTC)
TIMES = [BEGIN + timedelta(minutes=15 * n) for n in range(COUNT)]
METER = "Zählpunkt;AT00\nDatum;von;bis;Arbeit [kWh]\n" + "".join(
    f"{t:%d.%m.%Y};{t:%H:%M};{t + timedelta(minutes=15):%H:%M};{n % 7},5\n" for n, t in enumerate(TIMES)
)
TIME = "type: time, column: kw"
DAY = "type: day, column: kw"


class Kind(NamedTuple):
    """A kind of file: its bytes, how the site names it, the code of the fault, what the fault names."""

    content: bytes | Callable[[Path], None]
    said: str
    code: Code
    named: tuple[str, ...]
    name: str = "own.csv"


def table(stamp: Callable[[datetime], str], header: str = "time,kw", cell: str = "2.5", sep: str = ",") -> bytes:
    return (header + "\n" + "".join(f"{stamp(t)}{sep}{cell}\n" for t in TIMES)).encode()


def iso(t: datetime) -> str:
    return t.isoformat()


def swapped(rows: bytes, one: int, other: int) -> bytes:
    lines = rows.splitlines(keepends=True)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


GOOD = table(iso)
HOURS = b"kw\n" + b"1.5\n" * 24
KINDS = {
    "latin-1": Kind(METER.encode("latin-1"), DAY, Code.FORMAT, ("line 1", "0xE4", "'ä' in latin-1", "encoding: lat")),
    "all that it is": Kind(
        METER.encode("latin-1"), DAY, Code.FORMAT,
        ('written with separator: ";", decimal: ",", encoding: latin-1, skip_lines: 1',),
    ),
    "cp1252": Kind(b"price \x80,kw\n1,2\n", DAY, Code.FORMAT, ("line 1", "0x80", "'€' in cp1252", "encoding: cp1252")),
    "latin-1 far down": Kind(
        GOOD + b"# f\xfcr 3\n", TIME, Code.FORMAT, (f"line {COUNT + 2}", "'ü' in latin-1")
    ),
    "utf-16": Kind(GOOD.decode().encode("utf-16"), TIME, Code.FORMAT, ("UTF-16", "encoding: utf-16")),
    "utf-16 big end first": Kind(
        codecs.BOM_UTF16_BE + GOOD.decode().encode("utf-16-be"), TIME, Code.FORMAT, ("UTF-16", "encoding: utf-16")
    ),
    "utf-16 without its mark": Kind(
        GOOD.decode().encode("utf-16-le"), TIME, Code.FORMAT, ("NUL bytes", "UTF-16 without its mark", "as UTF-8")
    ),
    "utf-16 that is none": Kind(GOOD, f"{TIME}, encoding: utf-16", Code.FORMAT, ("own.csv",)),
    "semicolons": Kind(GOOD.replace(b",", b";"), TIME, Code.FORMAT, ("line 1", "semicolons", 'separator: ";"')),
    "tabs": Kind(GOOD.replace(b",", b"\t"), TIME, Code.FORMAT, ("line 1", "tabs", 'separator: "\\t"')),
    "bars": Kind(GOOD.replace(b",", b"|"), TIME, Code.FORMAT, ("line 1", "bars", 'separator: "|"')),
    "decimal comma": Kind(
        table(iso, "time;kw", "2,5", ";"), f"{TIME}, separator: ';'", Code.FORMAT,
        ("line 2, column kw", 'decimal: ","', f"and {COUNT - 1} more cells", "received '2,5'"),
    ),
    "decimal comma among commas": Kind(
        table(iso, cell="2,5"), TIME, Code.FORMAT, ("line 2: has 3 cells, and so have all rows", "with points")
    ),
    "lines above the header": Kind(
        b"meter 7\nmade 2023\n" + GOOD, TIME, Code.FORMAT, ("line 3: has 2 cells", "written with skip_lines: 2"),
    ),
    "no header": Kind(HOURS.replace(b"kw\n", b""), DAY, Code.UNKNOWN, ("it has 1.5", "received 'kw'")),
    "local times": Kind(
        table(lambda t: f"{t:%Y-%m-%d %H:%M}"), TIME, Code.FORMAT,
        ("line 2, column time", "local time without its offset", f"and {COUNT - 1} more", "2018-05-14T00:15:00+02:00"),
    ),
    "day first": Kind(
        table(lambda t: f"{t:%d.%m.%Y %H:%M:%S}"), TIME, Code.FORMAT, ("year first", f"and {COUNT - 1} more")
    ),
    "month first": Kind(table(lambda t: f"{t:%m/%d/%Y %I:%M %p}"), TIME, Code.FORMAT, ("not written year first",)),
    "spans": Kind(
        table(lambda t: f"{t:%d.%m.%Y %H:%M} - {t + timedelta(hours=1):%d.%m.%Y %H:%M}"), TIME, Code.FORMAT,
        ("two times", "keep the begin alone", f"and {COUNT - 1} more"),
    ),
    "date and time apart": Kind(
        METER.encode(),
        "type: time, column: 'Arbeit [kWh]', time_column: Datum, separator: ';', decimal: ',', skip_lines: 1",
        Code.FORMAT, ("line 3, column Datum", "a date without the time of day", "join it"),
    ),
    "seconds since 1970": Kind(table(lambda t: f"{t.timestamp():.0f}"), TIME, Code.FORMAT, ("seconds since 1970",)),
    "spreadsheet's days": Kind(table(lambda t: "44985.25"), TIME, Code.FORMAT, ("spreadsheet's number of days",)),
    "no column of times": Kind(
        table(iso, "Zeit,kw"), TIME, Code.MISSING, ("time_column: is not given", "no column time; it has Zeit, kw")
    ),
    "misspelled column": Kind(table(iso, "time,kW_net"), TIME, Code.UNKNOWN, ("it has time, kW_net", "received 'kw'")),
    "the hour that is twice": Kind(
        table(lambda t: f"{t.replace(minute=0) if t == TIMES[9] else t:%Y-%m-%dT%H:%M}+01:00"), TIME, Code.FORMAT,
        ("line 11, column time",),
    ),
    "a gap": Kind(GOOD.replace(f"{iso(TIMES[5])},2.5\n".encode(), b""), TIME, Code.FORMAT, ("1800 s", "step is 900 s")),
    "disorder": Kind(swapped(GOOD, 20, 21), TIME, Code.FORMAT, ("line 22", "is not after")),
    "empty cells": Kind(table(iso, cell=""), TIME, Code.FORMAT, ("is empty", f"and {COUNT - 1} more cells")),
    "words for numbers": Kind(table(iso, cell="n/a"), TIME, Code.FORMAT, ("finite", f"and {COUNT - 1} more", "'n/a'")),
    "too many values for a day": Kind(
        GOOD, DAY, Code.CONFLICT, (f"{COUNT} values do not divide a day", "of type time, with their time_column")
    ),
    "column twice": Kind(GOOD.replace(b"time,kw", b"kw,kw"), DAY, Code.DUPLICATE, ("line 1", "2 columns", "'kw'")),
    "an open quotation mark": Kind(GOOD + b'"', TIME, Code.FORMAT, (f"line {COUNT + 2}", "is not CSV")),
    "a spreadsheet": Kind(b"PK\x03\x04\x14\0\x06\0" + bytes(64), DAY, Code.FORMAT, ("line 1", "no text")),
    "gzip without its name": Kind(gzip.compress(GOOD), TIME, Code.FORMAT, ("own.csv", "line 1", "byte 0x8B")),
    "its name alone": Kind(GOOD, TIME, Code.FORMAT, ("is not a gzip file",), "own.csv.gz"),
    "half a gzip file": Kind(gzip.compress(os.urandom(4000))[:2000], TIME, Code.FORMAT, ("not a gzip",), "own.csv.gz"),
    "a bomb in gzip": Kind(
        gzip.compress(bytes(70 * 2**20), 1), TIME, Code.RANGE,
        ("larger than 64 MiB when it is unpacked",), "own.csv.gz",
    ),
    "too many rows": Kind(b"kw\n" + b"1\n" * 400_001, DAY, Code.RANGE, ("line 400002", "more than 400000 rows")),
    "a folder": Kind(lambda at: at.mkdir(), DAY, Code.UNREADABLE, ("is not a regular file",)),
    "a pipe": Kind(os.mkfifo, DAY, Code.UNREADABLE, ("is not a regular file",)),
    "a device": Kind(lambda at: at.symlink_to("/dev/zero"), DAY, Code.UNREADABLE, ("is not a regular file",)),
    "a circle of links": Kind(lambda at: at.symlink_to(at), DAY, Code.UNREADABLE, ("own.csv", "cannot be read")),
    "a hole of a terabyte": Kind(
        lambda at: (at.touch(), os.truncate(at, 2**40))[1], DAY, Code.RANGE, ("larger than 64 MiB",)
    ),
    "not there": Kind(lambda at: None, DAY, Code.NOT_FOUND, ("own.csv", "cannot be read: No such file")),
    "nothing": Kind(b"", DAY, Code.EMPTY, ("needs a header and one row",)),
}  # fmt: skip


def site_of(folder: Path, kind: Kind) -> Path:
    write_template(folder)
    if isinstance(kind.content, bytes):
        (folder / kind.name).write_bytes(kind.content)
    else:
        kind.content(folder / kind.name)
    file = folder / "site.yaml"
    text = file.read_text(encoding="utf-8")
    assert LOAD in text
    file.write_text(text.replace(LOAD, f"load: {{{kind.said}, file: {kind.name}}}"), encoding="utf-8")
    return file


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_foreign_file_ends_in_few_faults_that_name_what_was_found(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_site(site_of(tmp_path, kind))
    faults = caught.value.faults
    assert len(faults) <= 3, "the same fault is reported once"
    named = [fault for fault in faults if fault.code is kind.code and all(part in str(fault) for part in kind.named)]
    assert named, "\n".join(map(str, faults))
    assert "profiles.load" in str(named[0])
    assert _received_is_there(faults)


def _received_is_there(faults: tuple[Fault, ...]) -> bool:
    """What is missing was not received."""
    return all(fault.received is None for fault in faults if fault.code in {Code.MISSING, Code.NOT_FOUND, Code.EMPTY})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (METER.encode("latin-1"), "type: time, column: 'Arbeit [kWh]', time_column: Datum"),
        (METER.encode(), "type: time, column: 'Arbeit [kWh]', time_column: Datum"),
        (METER.encode("utf-16"), "type: time, column: 'Arbeit [kWh]', time_column: Datum"),
        (table(iso, "time\tkw", "2,5", "\t"), TIME),
        (b"by hand\n" + table(iso, "time;kw", "-1.234,5", ";"), TIME),
    ],
)
def test_what_is_said_to_be_written_is_right(content: bytes, said: str, tmp_path: Path) -> None:
    """Whoever writes what the first fault says gets to the faults of cells, or has none."""
    file = site_of(tmp_path, Kind(content, said, Code.FORMAT, ()))
    with pytest.raises(InputError) as caught:
        load_site(file)
    advice = str(caught.value).split("seems to be written with ")[1].split(" [for profiles.load")[0]
    file.write_text(file.read_text().replace(said, f"{said}, {advice}"))
    try:
        load_site(file)
    except InputError as error:
        assert all(", column " in fault.where for fault in error.faults), error


def test_a_name_with_an_underscore_is_answered_in_words(tmp_path: Path) -> None:
    write_template(tmp_path)
    file = tmp_path / "site.yaml"
    file.write_text(file.read_text().replace("site: my-site", "site: my_site"))
    with pytest.raises(InputError) as caught:
        load_site(file)
    (fault,) = caught.value.faults
    assert "small letters a-z, digits and hyphens, 31 at most (received 'my_site')" in str(fault)
    assert "^" not in str(fault)
    assert "[a-z0-9" not in str(fault)
