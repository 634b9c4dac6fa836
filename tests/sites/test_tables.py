"""Tables as others write them: how they are written can be said, what is found is named, and bounds hold."""

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import InputError
from schemas.site import DayProfile, Site, TimeProfile
from sites.loader import load_site
from sites.loader.csv_table import MAX_ROWS
from sites.loader.template import write_template

LOAD = "load: {type: day, file: profiles.csv, column: load_kw}"
PRICE = "price: {type: day, file: profiles.csv, column: price_eur_per_kwh}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_template(tmp_path)
    return tmp_path


def with_load(folder: Path, content: bytes, reference: str, name: str = "own.csv") -> Path:
    """The site with its load from a file of this content."""
    (folder / name).write_bytes(content)
    site = folder / "site.yaml"
    text = site.read_text(encoding="utf-8")
    assert LOAD in text
    site.write_text(text.replace(LOAD, f"load: {{{reference}, file: {name}}}"), encoding="utf-8")
    return site


def fault(site: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_site(site)
    (found,) = caught.value.faults
    return str(found)


def load(site: Site) -> DayProfile | TimeProfile:
    return site.profiles["load"]


EXPORT = "Zähler;Halle 7\nZeit;Leistung [kW]\n" + "".join(
    f"2024-05-17T{hour:02d}:00:00+02:00;{hour},25\n" for hour in range(24)
)
"""As a meter's operator writes it, but for the times: one line above the header, semicolons, commas, latin-1."""


def test_an_export_is_read_when_the_site_says_how_it_is_written(folder: Path) -> None:
    said = "type: time, column: 'Leistung [kW]', time_column: Zeit, separator: ';', decimal: ',', encoding: latin-1"
    site = with_load(folder, EXPORT.encode("latin-1"), f"{said}, skip_lines: 1")
    assert load(load_site(site)).values == tuple(hour + 0.25 for hour in range(24))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "own.csv: line 1: is not utf-8 text: byte 0xE4 at byte 1, which is 'ä' in latin-1; say encoding: latin-1"),
        ("encoding: latin-1", "line 1: columns are separated by semicolons, of which the header has 1, and not by"),
        ("encoding: latin-1", 'say separator: ";" beside file'),
        ("encoding: latin-1, separator: ';'", "has no such column; it has Zähler, Halle 7 (received 'Leistung [kW]')"),
        (
            "encoding: latin-1, separator: ';', skip_lines: 1",
            'own.csv: line 3, column Leistung [kW]: has a decimal comma; say decimal: "," beside file',
        ),
        ("encoding: latin-1, separator: ';', skip_lines: 1", "[and 23 more cells of this column]"),
        ("encoding: ebcdic", "profiles.load.encoding: Input should be 'utf-8', 'latin-1', 'cp1252' or 'utf-16'"),
        ("decimal: ','", "separator and decimal are both a comma"),
    ],
)
def test_what_is_found_is_named_with_how_to_say_it(said: str, told: str, folder: Path) -> None:
    reference = "type: time, column: 'Leistung [kW]', time_column: Zeit" + (f", {said}" if said else "")
    site = with_load(folder, EXPORT.encode("latin-1"), reference)
    with pytest.raises(InputError) as caught:
        load_site(site)
    assert [str(found) for found in caught.value.faults if told in str(found)], caught.value


def test_a_header_further_down_is_found(folder: Path) -> None:
    rows = "".join(f"{hour},{hour}.5,ok\n" for hour in range(24))
    site = with_load(folder, f"Halle 7\nhour,kw,state\n{rows}".encode(), "type: day, column: kw")
    assert "line 2: has 3 cells, and so have all rows, where line 1 has 1" in fault(site)
    assert "say skip_lines: 1 beside file" in fault(site)


def test_local_times_are_named_as_such(folder: Path) -> None:
    site = with_load(folder, b"time,kw\n2024-05-17 00:00,1\n2024-05-17 01:00,1\n", "type: time, column: kw")
    told = fault(site)
    assert "line 2, column time: is not a time with its zone: a local time without its offset; write it" in told
    assert "[and 1 more cells of this column]" in told


def test_utf_16_is_found_and_read(folder: Path) -> None:
    content = ("kw\n" + "2.5\n" * 24).encode("utf-16")
    site = with_load(folder, content, "type: day, column: kw")
    assert "is UTF-16 by its first two bytes; say encoding: utf-16 beside file" in fault(site)
    site.write_text(site.read_text().replace("column: kw", "column: kw, encoding: utf-16"))
    assert load(load_site(site)).values == (2.5,) * 24


def test_a_price_in_eur_per_mwh_is_refused(folder: Path) -> None:
    rows = "".join(f"{40 + hour}.5\n" for hour in range(24))
    (folder / "own.csv").write_text(f"price\n{rows}")
    site = folder / "site.yaml"
    site.write_text(site.read_text().replace(PRICE, "price: {type: day, file: own.csv, column: price}"))
    told = fault(site)
    assert "site.yaml: line " in told
    assert "tariff.sale: prices of the profile lie between 40.5 and 63.5 €/kWh, and at most ±5 are allowed" in told
    assert "if they are in €/MWh, divide them by 1000 (received 'price')" in told


def test_one_fault_of_a_line_that_many_devices_share_is_told_once(folder: Path) -> None:
    site = folder / "site.yaml"
    text = site.read_text()
    shared = "".join(f"  x{n}: {{<<: *shared, node: EV1}}\n" for n in range(5))
    device = "  x: &shared\n    kind: charger\n    node: EV1\n    max_charge_kw: -3\n"
    site.write_text(text.replace("devices:  ", f"devices:\n{device}{shared}  # ", 1))
    told = fault(site)
    line = text[: text.index("devices:  ")].count("\n") + 5
    assert f"site.yaml: line {line}: devices.x.max_charge_kw: Input should be greater than 0" in told
    assert "[the same in 6 places, also devices.x0.max_charge_kw, devices.x1.max_charge_kw, devices.x2" in told


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (
            lambda: b"kw\n" + b"1\n" * 10_000_000,
            "own.csv",
            f"own.csv: line {MAX_ROWS + 2}: has more than {MAX_ROWS} rows",
        ),
        (lambda: b"a" * (65 * 2**20), "own.csv", "own.csv: is larger than 64 MiB, the most that is read"),
        (lambda: gzip.compress(b"1\n" * 40_000_000, 1), "own.csv.gz", "is larger than 64 MiB when it is unpacked"),
        (lambda: gzip.compress(b"1\n" * 5000)[:-20], "own.csv.gz", "is not a gzip file"),
        (lambda: b"kw" + b"," * 4_000_010 + b"\n1\n", "own.csv", "line 1: has more than 400000 rows or 4000000 cells"),
        (lambda: b"kw\n" + b"9" * 5000 + b"\n", "own.csv", "own.csv: line 2: has a cell of more than 1000 characters"),
        (lambda: b"kw\n\x00\x00\n", "own.csv", "own.csv: line 2: holds NUL bytes"),
        (lambda: b'kw\n"1\n', "own.csv", "is not CSV: unexpected end of data"),
        (lambda: b"", "own.csv", "own.csv: needs a header and one row at least; it has 0 such lines"),
    ],
)
def test_a_bomb_ends_in_a_fault(content: Callable[[], bytes], name: str, told: str, folder: Path) -> None:
    site = with_load(folder, content(), "type: day, column: kw", name)
    tracemalloc.start()
    try:
        assert told in fault(site)
        assert tracemalloc.get_traced_memory()[1] < 400e6
    finally:
        tracemalloc.stop()


def test_a_device_that_never_ends_and_a_pipe_are_no_profiles(folder: Path) -> None:
    site = with_load(folder, b"kw\n1\n", "type: day, column: kw")
    for name in ("/dev/zero", "pipe"):
        if name == "pipe":
            os.mkfifo(folder / name)
        site.write_text(site.read_text().replace("file: own.csv", f"file: {name}"))
        assert "is not a regular file [for profiles.load of" in fault(site)
        site.write_text(site.read_text().replace(f"file: {name}", "file: own.csv"))
