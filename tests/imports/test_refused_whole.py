"""An import or a new site that is refused leaves everything as it was, to the last file."""

from pathlib import Path

import pytest

from schemas.errors import Code, InputError
from schemas.fallbacks import fallback_faults
from schemas.site import Charger
from sites.loader import load_site
from sites.loader.template import write_template
from tests.imports import shaped
from tests.imports.test_init import call
from tests.imports.written import table

PLACE = ("--latitude", 48.2, "--longitude", 16.4, "--time-zone", "Europe/Vienna")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sessions(folder: Path, kwh: float) -> Path:
    file = folder / f"sessions{kwh:g}.csv"
    text = table("start;end;energy_kwh;charge_point", [["2024-05-17T06:00Z", "2024-05-17T12:00Z", f"{kwh:g}", "CP1"]])
    file.write_text(text, encoding="utf-8")
    return file


def test_sessions_with_which_the_site_would_not_be_valid_leave_those_before_them(tmp_path: Path) -> None:
    """20,000 kWh, where Wh were meant: no vehicle has such a battery. The right ones can be imported afterwards."""
    write_template(tmp_path / "own")
    call("import", "sessions", sessions(tmp_path, 10), "--site", tmp_path / "own")
    before = snapshot(tmp_path / "own")
    with pytest.raises(InputError):
        call("import", "sessions", sessions(tmp_path, 20_000), "--site", tmp_path / "own")
    assert snapshot(tmp_path / "own") == before
    call("import", "sessions", sessions(tmp_path, 12), "--site", tmp_path / "own")


def test_weather_that_cannot_be_leaves_the_weather_before_it(tmp_path: Path) -> None:
    call("init", tmp_path / "own", *PLACE, "--pv", 30)
    for name, irradiance in (("good", 0.0), ("bad", 300.0)):
        text = shaped.pvgis_tmy([irradiance] * 8760, [12.0] * 8760)
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    options = ("--year", 2024, "--site", tmp_path / "own")
    call("import", "weather", tmp_path / "good.csv", *options)
    before = snapshot(tmp_path / "own")
    with pytest.raises(InputError, match="possible at that time"):
        call("import", "weather", tmp_path / "bad.csv", *options)
    assert snapshot(tmp_path / "own") == before


def test_a_table_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    write_template(tmp_path / "own")
    hours = [[f"2024-05-17T{hour:02}:00Z", "5"] for hour in range(24)]
    for unit in ("kW", "ct/kWh"):
        (tmp_path / f"{unit[:2]}.csv").write_text(table(f"time;{unit}", hours), encoding="utf-8")
    call("import", "load", tmp_path / "kW.csv", "--site", tmp_path / "own")
    before = snapshot(tmp_path / "own")
    with pytest.raises(InputError) as caught:
        call("import", "price", tmp_path / "ct.csv", "--site", tmp_path / "own", "--name", "load")
    assert caught.value.code is Code.EXISTS and "holds the load of an earlier import" in str(caught.value)
    assert snapshot(tmp_path / "own") == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--pv", "0"), "devices.pv.rated_kw"),
        (("--pv", "60:100:400"), "devices.pv.source.azimuth_deg"),
        (("--charger", "2x0"), "devices.ev1.max_charge_kw"),
        (("--bess", "0:0"), "devices.bess.capacity_kwh"),
        (("--import-limit", "inf"), "connection.import_limit_kw"),
        (("--spread", "inf"), "tariff.spread_eur_per_kwh"),
        (("--country", "at"), "location.country"),
    ],
)
def test_a_new_site_that_would_not_be_valid_is_not_written(
    tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    with pytest.raises(InputError) as caught:
        call("init", tmp_path / "new", *PLACE, *options)
    assert f"init: {named}: " in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["1", "1e3", "no", "2024-05-17", "my-site"])
def test_a_site_may_be_named_as_any_folder(tmp_path: Path, name: str) -> None:
    call("init", tmp_path / name, *PLACE)
    assert load_site(tmp_path / name).site == name


@pytest.mark.parametrize(
    ("chargers", "limit_kw", "fallback_kw"),
    # The made-up building draws 38 kW at most. (100 − 38) / 10 and (60 − 38) / 6; less than 6 A is nothing.
    [(("10x22",), 100, 6.2), (("4x11", "2x22:22"), 60, 0.0), (("4x11",), 100, None)],
)
def test_without_an_ems_the_connection_of_a_new_site_carries_all_chargers(
    tmp_path: Path, chargers: tuple[str, ...], limit_kw: float, fallback_kw: float | None
) -> None:
    given = [word for each in chargers for word in ("--charger", each)]
    call("init", tmp_path / "new", *PLACE, "--import-limit", limit_kw, *given)
    site = load_site(tmp_path / "new")
    assert fallback_faults(site) == []
    for device in site.devices.values():
        if isinstance(device, Charger) and fallback_kw is not None:
            assert device.nameplate.draws_on(device.reverts_to) == pytest.approx(fallback_kw)
