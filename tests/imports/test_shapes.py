"""Known shapes are recognised, and read to the values that were written."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from schemas.site import IntervalLabel
from tests.imports import shaped
from tests.imports.read_back import read_back
from tests.imports.refused import refused
from tests.imports.written import Powers, comma, days, table, wide
from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Holes, Kind, Options, Reading
from twinswarm.imports.reading import read_file

BERLIN = ZoneInfo("Europe/Berlin")
PRICES = days(date(2024, 10, 26), 2, 60, BERLIN, [80.5, -12.34, 0.0, 63.21, 120.0])
"""€/MWh of the 49 hours around the end of summer time."""
LOAD = days(date(2024, 10, 25), 4, 15, ZoneInfo("Europe/Rome"), [12.0, 40.0, 3.2, 8.8, 20.4])


def read(tmp_path: Path, text: str, kind: Kind, name: str = "own.csv", **said: object) -> Imported:
    return read_back(tmp_path, text, BERLIN, kind, name, **said)


MARKETS: tuple[tuple[Callable[[Powers], str], str, dict[str, object]], ...] = (
    (shaped.entsoe_utc, "entsoe", {}),
    (shaped.entsoe_local, "entsoe", {}),
    (shaped.smard, "smard", {"area": "Luxemburg"}),
    (shaped.smard_english, "smard", {}),
    (shaped.energy_charts, "energy-charts-table", {}),
    (shaped.energy_charts_json, "energy-charts", {}),
    (shaped.awattar, "awattar", {}),
    (shaped.tibber, "tibber", {}),
    (shaped.entsoe_xml, "entsoe-xml", {}),
)


def written_as(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("written", "shape", "said"), MARKETS, ids=written_as)
def test_prices_are_those_of_the_market(
    tmp_path: Path, written: Callable[[Powers], str], shape: str, said: dict[str, object]
) -> None:
    found = read(tmp_path, written(PRICES), Kind.PRICE, **said)
    grid = found.series["price"]
    assert found.shape == shape
    assert (grid.start, grid.step_s) == (PRICES.start, 3600)
    assert grid.values.tolist() == pytest.approx([p / 1000 for p in PRICES.kw])
    assert found.notes.repaired == []


@pytest.mark.parametrize(("written", "shape", "said"), MARKETS, ids=written_as)
@pytest.mark.parametrize("price", [0.0, 0.25])
def test_a_day_of_no_prices_is_one_of_the_market_too(
    tmp_path: Path, written: Callable[[Powers], str], shape: str, said: dict[str, object], price: float
) -> None:
    """0.25 €/MWh are 0.00025 €/kWh."""
    text = written(days(date(2024, 5, 13), 1, 60, BERLIN, [price]))
    found = read(tmp_path, text, Kind.PRICE, **said)
    assert found.series["price"].values.tolist() == pytest.approx([price / 1000] * 24)


def german(powers: Powers) -> str:
    """Quarter-hours with OBIS code and status, as a German meter operator sends them."""
    rows = []
    for t, e in zip(powers.times, powers.kwh, strict=True):
        local = t.astimezone(BERLIN)
        rows.append(
            [f"{local:%d.%m.%Y}", f"{local:%H:%M}", f"{(t + powers.step).astimezone(BERLIN):%H:%M}", comma(e, 3), "W"]
        )
    head = "Messlokation;DE0001234567890123456789012345678\nOBIS;1-1:1.29.0\n\n"
    return head + table("Datum;von;bis;Wirkarbeit in kWh;Status", rows)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (german(LOAD), "german-meter"),
        (wide(LOAD, ZoneInfo("Europe/Rome")), "italian-meter"),
        (shaped.green_button(LOAD), "green-button"),
    ],
    ids=["german", "italian", "green button"],
)
def test_load_curves_are_those_of_the_meter(tmp_path: Path, text: str, shape: str) -> None:
    found = read(tmp_path, text, Kind.LOAD)
    grid = found.series["load"]
    assert found.shape == shape
    assert (grid.start, grid.step_s) == (LOAD.start, 900)
    assert grid.values.tolist() == pytest.approx(LOAD.kw)
    assert found.notes.repaired == []


SUN = [
    (max(0.0, 600 * math.sin((h % 24 - 5) * math.pi / 14)), 80.0 if 5 < h % 24 < 19 else 0.0, 10.0 + h % 24, 500.0)
    for h in range(72)
]


def test_hourly_irradiance_is_of_its_instants(tmp_path: Path) -> None:
    found = read(tmp_path, shaped.pvgis_hourly(datetime(2023, 6, 1), SUN), Kind.WEATHER)
    assert found.shape == "pvgis"
    assert found.interval_label is IntervalLabel.INSTANT
    assert {name: grid.start for name, grid in found.series.items()} == dict.fromkeys(
        ("ghi", "temp_air"), datetime(2023, 6, 1, 0, 10, tzinfo=UTC)
    )
    assert found.series["ghi"].values.tolist() == pytest.approx([b + d for b, d, _, _ in SUN], abs=0.02)
    assert found.series["temp_air"].values[5] == 15.0


def test_the_direct_irradiance_of_pvgis_is_the_beam_by_the_height_of_the_sun(tmp_path: Path) -> None:
    """300 W/m² on the plane at 30° are 600 at right angles; below 3° beam counts as diffuse, so that the sum stays."""
    rows = [(0.0, 0.0, 8.0, 0.0), (5.0, 20.0, 9.0, 0.0), (300.0, 80.0, 12.0, 0.0), (0.0, 0.0, 8.0, 0.0)]
    text = shaped.pvgis_hourly(datetime(2023, 6, 1), rows, sun_deg=[0.0, 2.0, 30.0, 0.0])
    series = read(tmp_path, text, Kind.WEATHER).series
    assert series["dni"].values.tolist() == pytest.approx([0.0, 0.0, 600.0, 0.0])
    assert series["dhi"].values.tolist() == pytest.approx([0.0, 25.0, 80.0, 0.0])
    assert series["ghi"].values.tolist() == pytest.approx([0.0, 25.0, 380.0, 0.0])


def test_pv_power_of_pvgis_is_of_whole_hours(tmp_path: Path) -> None:
    found = read(tmp_path, shaped.pvgis_hourly(datetime(2023, 6, 1), SUN, slope=30), Kind.PV, factor=20.0)
    grid = found.series["pv"]
    assert (grid.start, grid.values[0]) == (datetime(2023, 6, 1, tzinfo=UTC), 10.0)


def test_irradiance_in_an_inclined_plane_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, shaped.pvgis_hourly(datetime(2023, 6, 1), SUN, slope=30), Kind.WEATHER)
    assert "slope 0" in str(caught.value)


def test_a_typical_year_stands_for_the_year_that_is_said(tmp_path: Path) -> None:
    ghi = [float(n % 24) for n in range(8760)]
    text = shaped.pvgis_tmy(ghi, [5.0] * 8760)
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, Kind.WEATHER)
    assert "--year" in str(caught.value)
    found = read(tmp_path, text, Kind.WEATHER, year=2024)
    assert found.shape == "pvgis-tmy"
    assert found.time_offset_s == pytest.approx(0.1761 * 3600, abs=0.05)
    grid = found.series["ghi"]
    # A leap year, and a day before and after.
    assert (grid.start, len(grid.values)) == (datetime(2023, 12, 31, tzinfo=UTC), (366 + 2) * 24)
    assert grid.values.tolist() == [float(n % 24) for n in range((366 + 2) * 24)]
    assert set(found.series) == {"ghi", "dni", "dhi", "temp_air"}


def test_a_hole_of_a_feeds_answer_is_filled_and_named(tmp_path: Path) -> None:
    text = shaped.energy_charts_json(PRICES).replace("63.21", "null", 1)
    found = read(tmp_path, text, Kind.PRICE, holes=Holes.LINEAR)
    assert found.series["price"].values[3] == pytest.approx((0.0 + 120.0) / 2 / 1000)
    assert "1 of 49 values are missing" in found.notes.repaired[0]


@pytest.mark.parametrize(
    ("text", "kind", "said", "code", "named"),
    [
        (
            shaped.smard(PRICES).replace("-\n", "1,00\n"),
            Kind.PRICE,
            {},
            Code.MISSING,
            ("2 columns may be meant", "DE/AT/LU"),
        ),
        (shaped.smard(PRICES), Kind.PRICE, {"area": "Norwegen"}, Code.UNKNOWN, ("--area",)),
        (
            shaped.entsoe_utc(PRICES) + shaped.entsoe_utc(PRICES).replace("FR", "DE-LU").partition("\n")[2],
            Kind.PRICE,
            {},
            Code.MISSING,
            ("--area", "BZN|DE-LU, BZN|FR"),
        ),
        (shaped.awattar(PRICES)[:-9], Kind.PRICE, {}, Code.FORMAT, ("no JSON",)),
        (shaped.awattar(PRICES), Kind.LOAD, {}, Code.CONFLICT, ("holds price, and no load",)),
        (
            shaped.entsoe_xml(PRICES).replace("<price.amount>", "<amount>"),
            Kind.PRICE,
            {},
            Code.FORMAT,
            ("no price document",),
        ),
        (shaped.green_button(LOAD)[:-20], Kind.LOAD, {}, Code.FORMAT, ("no XML",)),
        (shaped.green_button(LOAD).replace(">72<", ">169<"), Kind.LOAD, {}, Code.INVALID, ("uom 72", "169")),
        (
            '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><feed xmlns="http://naesb.org/espi">&c;</feed>',
            Kind.LOAD,
            {},
            Code.FORMAT,
            ("DTD",),
        ),
        (shaped.pvgis_tmy([1.0] * 100, [1.0] * 100), Kind.WEATHER, {"year": 2024}, Code.FORMAT, ("pvlib",)),
        (
            shaped.pvgis_hourly(datetime(2023, 6, 1), SUN).replace("20230601:0510", "20230601:0610"),
            Kind.WEATHER,
            {},
            Code.INVALID,
            ("every hour",),
        ),
        (shaped.smard(PRICES), Kind.PRICE, {"shape": "green-button"}, Code.CONFLICT, ("--as", "no price")),
    ],
)
def test_faults_of_known_shapes_say_what_to_do(
    tmp_path: Path, text: str, kind: Kind, said: dict[str, object], code: Code, named: tuple[str, ...]
) -> None:
    with refused(code, *named):
        read(tmp_path, text, kind, **said)


def test_a_workbook_is_read_as_a_table(tmp_path: Path) -> None:
    """Dates as dates and numbers as numbers, below a title, on the second sheet."""
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["nothing here"])
    sheet = book.create_sheet("Lastgang")
    sheet.append(["Lastgang 2024"])
    sheet.append([])
    sheet.append(["Zeit", "Verbrauch (kWh)"])
    for t, e in zip(LOAD.times, LOAD.kwh, strict=True):
        sheet.append([t.astimezone(BERLIN).replace(tzinfo=None), e])
    book.save(tmp_path / "own.xlsx")
    options = Options(sheet="Lastgang", reading=Reading.INTERVAL)
    found = read_file(tmp_path / "own.xlsx", Kind.LOAD, BERLIN, options)
    assert isinstance(found, Imported)
    assert found.series["load"].values.tolist() == pytest.approx(LOAD.kw)
    assert found.series["load"].start == LOAD.start
    with pytest.raises(InputError) as caught:
        read_file(tmp_path / "own.xlsx", Kind.LOAD, BERLIN, Options(sheet="Blatt 9"))
    assert "Sheet, Lastgang" in str(caught.value)


def test_a_workbook_whose_last_cell_lies_far_off_is_refused(tmp_path: Path) -> None:
    """Two cells of a few bytes; the sheet around them has 17 thousand million."""
    from openpyxl import Workbook

    book = Workbook()
    book.active["A1"], book.active["XFD1048576"] = "time", 3
    book.save(tmp_path / "far.xlsx")
    with pytest.raises(InputError) as caught:
        read_file(tmp_path / "far.xlsx", Kind.LOAD, BERLIN, Options())
    assert "row 1048576 and column 16384" in str(caught.value)


def test_a_spreadsheets_numbers_of_days_are_times(tmp_path: Path) -> None:
    epoch = datetime(1899, 12, 30)
    rows = [
        [f"{(t.replace(tzinfo=None) - epoch) / timedelta(days=1):.9f}", f"{p}"]
        for t, p in zip(LOAD.times, LOAD.kw, strict=True)
    ]
    found = read(tmp_path, table("Zeit;kW", rows), Kind.LOAD, time_zone="UTC", time_column="1")
    assert found.series["load"].values.tolist() == pytest.approx(LOAD.kw)
    assert found.series["load"].start == LOAD.start
