"""A site of one's own numbers and files.

An office in Vienna, from what its meter operator, the market, PVGIS and the charging back end let it download, to the
comparison of BESS and V2G.
"""

import json
import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from schemas.errors import Code, InputError
from schemas.messages import Fallback
from schemas.site import Bess, Charger, Irradiance, Pv, TimeProfile
from sites.loader import load_site
from tests.imports import shaped
from tests.imports.written import Powers, comma, days, table
from twinswarm.cli.app import app
from twinswarm.imports.new_site import parse_battery, parse_chargers, parse_roof

VIENNA = ZoneInfo("Europe/Vienna")
WEEK = days(date(2024, 5, 13), 7, 15, VIENNA, [0.0])
LOAD = Powers(
    WEEK.start,
    WEEK.step,
    tuple(
        20.0 + (20.0 if t.astimezone(VIENNA).weekday() < 5 and 7 <= t.astimezone(VIENNA).hour < 18 else 0.0)
        for t in WEEK.times
    ),
)
HOURS = days(date(2024, 5, 13), 7, 60, shaped.BERLIN, [0.0])
PRICE = Powers(
    HOURS.start,
    HOURS.step,
    tuple(
        20.0
        if 10 <= t.astimezone(shaped.BERLIN).hour < 16
        else 180.0
        if 17 <= t.astimezone(shaped.BERLIN).hour < 21
        else 90.0
        for t in HOURS.times
    ),
)


def sine_of_sun(time: datetime) -> float:
    """Of the sun's height over Vienna, at the instant of PVGIS: 0.1761 h after the hour of UTC."""
    latitude, day = math.radians(48.2), time.timetuple().tm_yday
    declination = math.radians(23.4) * math.sin((day - 81) / 365 * 2 * math.pi)
    hour = (time.hour + 0.1761 + 16.4 / 15 - 12) / 24 * 2 * math.pi
    return math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(hour)


def raw_files(folder: Path) -> None:
    rows = [
        [
            f"{t.astimezone(VIENNA):%d.%m.%Y %H:%M}",
            f"{(t + LOAD.step).astimezone(VIENNA):%d.%m.%Y %H:%M}",
            comma(e, 3),
            "",
        ]
        for t, e in zip(LOAD.times, LOAD.kwh, strict=True)
    ]
    meter = "Zählpunkt;AT0030000000000000000000012345678\n" + table(
        "Datum von;Datum bis;Energiemenge in kWh;Ersatzwert", rows
    )
    (folder / "lastgang.csv").write_text(meter, encoding="cp1252")
    (folder / "smard.csv").write_text(shaped.smard(PRICE), encoding="utf-8")
    ghi = [700 * max(0.0, sine_of_sun(datetime(2015, 1, 1) + timedelta(hours=n))) for n in range(8760)]
    (folder / "tmy.csv").write_text(shaped.pvgis_tmy(ghi, [12.0] * 8760), encoding="utf-8", newline="")
    sessions = []
    for day in range(5):
        for n in range(3):
            begin = datetime(2024, 5, 13 + day, 6, 15 * n, tzinfo=UTC)
            end, wh = begin + timedelta(hours=8 + n), 9000 + 3000 * n
            sessions.append(
                [
                    f"{day}{n}",
                    f"BOX{n}",
                    "1",
                    f"TAG{n}",
                    f"{begin:%Y-%m-%dT%H:%M:%SZ}",
                    "0",
                    f"{end:%Y-%m-%dT%H:%M:%SZ}",
                    str(wh),
                ]
            )
    head = "transactionId,chargeBoxId,connectorId,idTag,startTimestamp,meterStart,stopTimestamp,meterStop"
    (folder / "ocpp.csv").write_text(table(head, sessions, ","), encoding="utf-8")


def call(*words: object) -> str:
    found = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(found.exception, InputError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("office")
    raw_files(folder)
    call(
        "init",
        folder / "office",
        "--latitude",
        48.2,
        "--longitude",
        16.4,
        "--time-zone",
        "Europe/Vienna",
        "--country",
        "AT",
        "--import-limit",
        120,
        "--pv",
        "40:15:90",
        "--pv",
        "40:15:270",
        "--charger",
        "2x11",
        "--charger",
        "1x22:22",
        "--bess",
        "60:30",
        "--economics",
        "bess_eur_per_kwh=350",
        "--economics",
        "v2g_charger_eur=2500",
        "--load",
        folder / "lastgang.csv",
        "--price",
        folder / "smard.csv",
        "--weather",
        folder / "tmy.csv",
        "--year",
        2024,
        "--sessions",
        folder / "ocpp.csv",
    )
    return folder / "office"


def test_the_site_has_what_the_files_and_options_say(office: Path) -> None:
    site = load_site(office)
    load, price = site.profiles["load"], site.profiles["price"]
    assert isinstance(load, TimeProfile)
    assert isinstance(price, TimeProfile)
    assert (load.start, load.values) == (LOAD.start, LOAD.kw)
    assert price.values == pytest.approx([p / 1000 for p in PRICE.kw])
    plants = [device for device in site.devices.values() if isinstance(device, Pv)]
    assert [plant.source.azimuth_deg for plant in plants if isinstance(plant.source, Irradiance)] == [90, 270]
    chargers = [device for device in site.devices.values() if isinstance(device, Charger)]
    assert [(c.max_charge_kw, c.max_discharge_kw, len(c.sessions)) for c in chargers] == [
        (11, 0, 5),
        (11, 0, 5),
        (22, 22, 5),
    ]
    assert [d.capacity_kwh for d in site.devices.values() if isinstance(d, Bess)] == [60]
    assert (site.date, site.location.country) == (date(2024, 5, 17), "AT")


@pytest.mark.slow
def test_from_raw_files_to_a_year_and_the_size_that_pays(office: Path, tmp_path: Path) -> None:
    """As docs/import.md does it, with some days of the year."""
    lived, sized = tmp_path / "year.json", tmp_path / "size.json"
    days = ("--from", "2024-05-13", "--jobs", 1)
    call("year", office, *days, "--days", 2, "--variants", "bess,v2g", "--out", tmp_path / "year", "--json", lived)
    assert (tmp_path / "year" / "report.html").is_file()
    none, bess, v2g = (row["total"] for row in json.loads(lived.read_text(encoding="utf-8"))["variants"])
    assert none["load_kwh"] == pytest.approx(2 * (24 * 20 + 11 * 20), rel=1e-6)  # LOAD on two working days
    assert min(none["cost_eur"] - bess["cost_eur"], none["cost_eur"] - v2g["cost_eur"]) > 1.0
    varied = ("--bess-kwh", "0,60", "--bess-kw", "30", "--v2g", "0,1", "--typical", 2)
    call("size", office, *days, "--days", 5, *varied, "--out", tmp_path / "size", "--json", sized)
    designs = json.loads(sized.read_text(encoding="utf-8"))["designs"]
    assert sorted(design["investment_eur"] for design in designs) == [0, 2500, 21_000, 23_500]
    assert all((tmp_path / "size" / f"{name}.png").is_file() for name in ("pareto", "tornado"))


@pytest.mark.slow
def test_from_raw_files_to_the_comparison_of_bess_and_v2g(office: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    call("compare", office, "--date", "2024-05-14", "--processes", 2, "--out", tmp_path, "--json", found)
    rows = {row["name"]: row for row in json.loads(found.read_text(encoding="utf-8"))["variants"]}
    assert set(rows) == {"none", "smart charging", "BESS", "V2G", "BESS and V2G"}
    # Prices of a day differ by 0.16 €/kWh, and storage pays.
    assert rows["BESS and V2G"]["savings_eur"] > rows["BESS"]["savings_eur"] > 1.0
    assert (tmp_path / "comparison.png").is_file()


def test_weather_that_cannot_be_leaves_the_site_as_it_was(office: Path, tmp_path: Path) -> None:
    call(
        "init", tmp_path / "own", "--latitude", 48.2, "--longitude", 16.4, "--time-zone", "Europe/Vienna", "--pv", "30"
    )
    before = (tmp_path / "own" / "site.yaml").read_bytes()
    (tmp_path / "tmy.csv").write_text(shaped.pvgis_tmy([300.0] * 8760, [12.0] * 8760), encoding="utf-8", newline="")
    with pytest.raises(InputError) as caught:
        call("import", "weather", tmp_path / "tmy.csv", "--year", 2024, "--site", tmp_path / "own")
    assert "possible at that time" in str(caught.value)
    assert (tmp_path / "own" / "site.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("plant", "idle"),
    [
        (("--pv", 10, "--export-limit", 0), ["pv"]),
        (("--pv", "50:20:90", "--pv", "50:20:270", "--import-limit", 60), ["pv1", "pv2"]),
        (("--pv", 60, "--import-limit", 60), []),
    ],
    ids=["no export", "two roofs", "as much as is allowed"],
)
def test_more_pv_than_the_connection_takes_stands_still_without_an_ems(
    tmp_path: Path, plant: tuple[object, ...], idle: list[str]
) -> None:
    call("init", tmp_path / "own", "--latitude", 45, "--longitude", 7, "--time-zone", "Europe/Rome", *plant)
    devices = load_site(tmp_path / "own").devices
    roofs = {name: device for name, device in devices.items() if isinstance(device, Pv)}
    assert [name for name, roof in roofs.items() if roof.fallback is Fallback.IDLE] == idle


def test_a_faulty_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("time,power\n2024-05-06 00:00,1\n2024-05-06 01:00,1\n", encoding="utf-8")
    place = ("--latitude", 48, "--longitude", 16, "--time-zone", "Europe/Vienna")
    with pytest.raises(InputError) as caught:
        call("init", tmp_path / "new", *place, "--load", tmp_path / "bad.csv", "--price", tmp_path / "gone.csv")
    assert set(caught.value.codes) == {Code.MISSING, Code.NOT_FOUND}
    assert not (tmp_path / "new").exists()


def test_weather_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    """Sun at night: the file can be read, and the site with it is not valid."""
    (tmp_path / "tmy.csv").write_text(shaped.pvgis_tmy([300.0] * 8760, [12.0] * 8760), encoding="utf-8", newline="")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine", encoding="utf-8")
    place = ("--latitude", 48, "--longitude", 16, "--time-zone", "Europe/Vienna", "--pv", "30")
    for name in ("new", "there"):
        with pytest.raises(InputError, match="possible at that time"):
            call("init", tmp_path / name, *place, "--weather", tmp_path / "tmy.csv", "--year", 2024)
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["notes.txt"]


def test_questions_make_a_site_as_options_do(tmp_path: Path) -> None:
    said = "48.2\n16.4\nEurope/Vienna\n80\n30:20 10\n2x11\n\n\n\n\n\n"
    found = CliRunner().invoke(app, ["init", str(tmp_path / "asked"), "--ask"], input=said)
    assert found.exit_code == 0, found.output
    site = load_site(tmp_path / "asked")
    assert sorted(site.devices) == ["building", "ev1", "ev2", "pv1", "pv2"]
    assert site.connection.import_limit_kw == 80


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--pv", "60"), "--latitude"),
        (("--latitude", 48), "--longitude"),
        (("--latitude", 48, "--longitude", 16, "--time-zone", "Austria"), "Europe/Berlin"),
        (("--latitude", 48, "--longitude", 16, "--time-zone", "UTC+01:00"), "Europe/Berlin"),
        (("--latitude", 48, "--longitude", 16, "--time-zone", "UTC", "--pv", "much"), "60:20:180"),
        (("--latitude", 48, "--longitude", 16, "--time-zone", "UTC", "--charger", "0x11"), "4x11"),
        (("--latitude", 48, "--longitude", 16, "--time-zone", "UTC", "--bess", "100"), "100:50"),
        (
            ("--latitude", 48, "--longitude", 16, "--time-zone", "UTC", "--economics", "bess_eur"),
            "bess_eur_per_kwh=350",
        ),
        (("--latitude", 48, "--longitude", 16, "--time-zone", "UTC", "--economics", "bess=1"), "bess_eur_per_kwh"),
        (("--latitude", 48, "--longitude", 16, "--time-zone", "UTC", "--economics", "bess_eur=-1"), "bess_eur"),
    ],
)
def test_what_lacks_or_cannot_be_read_is_named(tmp_path: Path, options: tuple[object, ...], named: str) -> None:
    with pytest.raises(InputError) as caught:
        call("init", tmp_path / "new", *options)
    assert named in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_numbers_of_the_plant_are_read() -> None:
    assert (parse_roof("60").tilt_deg, parse_roof("60:20:135").azimuth_deg) == (30, 135)
    assert (parse_chargers("11").count, parse_chargers("2x22:10").discharge_kw) == (1, 10)
    assert parse_battery("100:50").power_kw == 50


def test_a_standard_profile_has_the_energy_of_its_year(office: Path, tmp_path: Path) -> None:
    """By the local clock: on Corpus Christi, 30 May 2024, g1 (trade on workdays) is as on a Sunday in Austria."""
    call(
        "init",
        tmp_path / "shop",
        "--latitude",
        48,
        "--longitude",
        16,
        "--time-zone",
        "Europe/Vienna",
        "--country",
        "AT",
    )
    call(
        "import",
        "load",
        "--as",
        "bdew",
        "--column",
        "g1",
        "--annual-kwh",
        80_000,
        "--year",
        2024,
        "--site",
        tmp_path / "shop",
    )
    load = load_site(tmp_path / "shop").profiles["load"]
    assert isinstance(load, TimeProfile)
    assert sum(load.values) / 4 == pytest.approx(80_000)
    assert load.start == datetime(2023, 12, 31, 23, tzinfo=UTC)

    def noon(day: int) -> float:
        return load.at(datetime(2024, 5, day, 12, tzinfo=VIENNA), VIENNA)

    assert noon(30) == noon(26) < noon(29) / 4


def test_the_sites_day_is_one_that_all_profiles_cover(tmp_path: Path) -> None:
    """Load of the 13th to the 19th, prices of the 15th on: the 15th."""
    raw_files(tmp_path)
    call("init", tmp_path / "own", "--latitude", 48, "--longitude", 16, "--time-zone", "Europe/Vienna")
    text = (tmp_path / "smard.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "smard.csv").write_text("\n".join([text[0], *text[49:]]) + "\n", encoding="utf-8")
    site = tmp_path / "own" / "site.yaml"
    site.write_text(site.read_text(encoding="utf-8").replace("2024-05-17", "2020-01-01"), encoding="utf-8")
    call("import", "load", tmp_path / "lastgang.csv", "--site", tmp_path / "own")
    assert load_site(site).date == date(2024, 5, 13)
    assert "all profiles cover" in call(
        "import", "price", tmp_path / "smard.csv", "--site", tmp_path / "own", "--area", "Luxemburg"
    )
    assert load_site(site).date == date(2024, 5, 15)
