"""`twinswarm year`: its table, its JSON, its errors; the same on a Dask engine."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from schemas.errors import Code, RunFailedError
from tests.cli.calling import COMMAND, plain_environment
from tests.errors import raises
from twinswarm.cli import main
from twinswarm.simulation.variants import Reference
from twinswarm.year.engine import dask_workers
from twinswarm.year.order import year_order

if TYPE_CHECKING:
    from distributed import LocalCluster

PROFILES = {"price": {"type": "day", "values": [0.1, 0.3, 0.2, 0.25]}, "base": {"type": "day", "values": [20.0]}}
SITE: dict[str, Any] = {
    "site": "small",
    "date": "2024-05-17",
    "location": {"latitude_deg": 45.0, "longitude_deg": 8.0},
    "connection": {"import_limit_kw": 100, "export_limit_kw": 100},
    "tariff": {"sale": "price", "spread_eur_per_kwh": 0.02, "demand_charge_eur_per_kw": 0.1},
    "devices": {
        "bess": {"kind": "bess", "capacity_kwh": 20, "max_charge_kw": 10, "max_discharge_kw": 10},
        "load": {"kind": "meter", "profile": "base"},
    },
    "profiles": PROFILES,
    "time": {"step_s": 3600},
}


def written(folder: Path, **changes: Any) -> str:
    """JSON is YAML."""
    file = folder / "site.yaml"
    file.write_text(json.dumps(SITE | changes, default=str), encoding="utf-8")
    return str(file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ends_with(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    assert end.value.code == code


def year(site: str, *options: str) -> dict[str, Any]:
    ends_with(0, "year", site, "--json", "year.json", *options)
    found: dict[str, Any] = json.loads(Path("year.json").read_text(encoding="utf-8"))
    return found


def test_by_month_and_as_a_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """20 kW at 0.12, 0.32, 0.22 and 0.27 €/kWh for 6 h each: 111.60 €/day; 20 kW cost 2 € in each month."""
    found = year(written(folder), "--from", "2024-01-30", "--days", "4", "--jobs", "1")
    none, bess = found["variants"]
    assert (found["days"], none["name"], bess["name"]) == (4, "none", "BESS")
    assert none["total"]["cost_eur"] == pytest.approx(4 * 111.6)
    assert none["total"]["demand_eur"] == pytest.approx(4.0)
    assert {month: totals["days"] for month, totals in none["months"].items()} == {"2024-01": 2, "2024-02": 2}
    assert none["months"]["2024-02"]["total_eur"] == pytest.approx(2 * 111.6 + 2)
    assert none["total"]["psf"] is None and none["total"]["co2_import_kg"] is None
    months = bess["months"].values()
    assert bess["total"]["savings_eur"] == pytest.approx(sum(totals["savings_eur"] for totals in months), abs=1e-9)
    total = bess["total"]
    cells = total["bess_charged_kwh"] * 0.95 + total["bess_discharged_kwh"] / 0.95
    assert total["bess_cycles"] == pytest.approx(cells / 2 / 20)
    assert total["savings_eur"] > 1, "it discharges at 0.32 what it charged at 0.12"
    text = capsys.readouterr().out
    assert "2024-02" in text and "BESS" in text
    page = (folder / "runs" / "year-small" / "report.html").read_text(encoding="utf-8")
    for said in ("450.40", "2024-01", "Savings and highest import by month", "Duration curves", "@page"):
        assert said in page, said
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    assert {file.name for file in (folder / "runs" / "year-small").glob("*.png")} == {
        *("months.png", "duration.png", "maps.png")
    }


def test_a_variant_that_the_connection_does_not_carry_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 kW in six hours on a connection of 22 kW: the BESS takes the 2 kW, without it nobody does."""
    profiles = PROFILES | {"base": {"type": "day", "values": [20.0, 20.0, 24.0, 20.0]}}
    site = written(folder, profiles=profiles, connection={"import_limit_kw": 22, "export_limit_kw": 100})
    none, bess = year(site, "--days", "1", "--jobs", "1")["variants"]
    assert (none["total"]["import_peak_kw"], none["total"]["import_above_limit_h"]) == (24.0, 6.0)
    assert (bess["total"]["import_above_limit_h"], bess["total"]["export_above_limit_h"]) == (0.0, 0.0)
    said = "More import than its 22 kW: none up to 24.0 kW, in 6.00 h."
    text = " ".join(capsys.readouterr().out.split())
    page = (folder / "runs" / "year-small" / "report.html").read_text(encoding="utf-8")
    assert said in text and said in page and "above\n22 kW\nh" in page
    year(written(folder), "--days", "1", "--jobs", "1")
    assert "does not carry" not in capsys.readouterr().out


def test_a_quarter_of_an_hour_above_the_limit_is_not_rounded_to_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [20.0] * 40 + [24.0] + [20.0] * 55
    connection = {"import_limit_kw": 22, "export_limit_kw": 100}
    profiles = PROFILES | {"base": {"type": "day", "values": base}}
    year(written(folder, profiles=profiles, connection=connection, time={"step_s": 900}), "--days", "1", "--jobs", "1")
    text = capsys.readouterr().out
    assert "none up to 24.0 kW, in 0.25 h" in " ".join(text.split())
    assert any("│ none" in line and " 0.25 │" in line for line in text.splitlines())


def test_the_report_is_written_though_nobody_reads_the_tables(folder: Path) -> None:
    command = [*COMMAND, "year", written(folder), "--days", "1", "--jobs", "1"]
    with subprocess.Popen(command, env=plain_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (1, b"")
    assert (folder / "runs" / "year-small" / "report.html").is_file()


def test_a_leap_year_has_366_days(folder: Path) -> None:
    from sites.loader import load_site

    site = load_site(written(folder))
    assert year_order(site, Reference.UNCONTROLLED, None, None).days == 366
    order = year_order(load_site(written(folder, date="2023-05-17")), Reference.UNCONTROLLED, None, None)
    assert order.days == 365
    hours = {
        (end - start).total_seconds() / 3600 for start, end in zip(order.midnights, order.midnights[1:], strict=False)
    }
    assert hours == {23.0, 24.0, 25.0}


def test_a_profile_that_ends_is_named_with_the_days_that_are_covered(folder: Path) -> None:
    start = "2024-03-01T12:00:00+01:00"
    profiles = PROFILES | {"base": {"type": "time", "start": start, "step_s": 3600, "values": [1.0] * 24 * 4}}
    site = written(folder, profiles=profiles)
    from sites.loader import load_site

    with raises(Code.RANGE, "2024-03-05 12:00") as caught:
        year_order(load_site(site), Reference.UNCONTROLLED, None, None)
    assert "3 whole days: --from 2024-03-02 --days 3" in str(caught.value)
    assert len(year(site, "--from", "2024-03-02", "--days", "3", "--jobs", "1")["variants"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--variants", "bess,roof"), "none, bess"),
        (("--variants", "bess,smart"), "smart needs a controllable charger"),
        (("--days", "0"), "from 1 to"),
        (("--from", "May"), "2024-05-17"),
        (("--dask", "nowhere"), "--dask"),
    ],
)
def test_what_cannot_be_is_said(
    folder: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(2, "year", written(folder), *options)
    assert said in capsys.readouterr().err


def test_two_at_once_do_not_write_the_same_days(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    (folder / "runs" / "year-small").mkdir(parents=True)
    other = sqlite3.connect(folder / "runs" / "year-small" / "year.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    ends_with(2, "year", written(folder), "--days", "1")
    other.close()
    assert "another process" in capsys.readouterr().err


def test_an_empty_car_park_without_bess_saves_nothing_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    charger = {"kind": "charger", "max_charge_kw": 11, "max_discharge_kw": 11, "fallback": "idle"}
    gone = {"vehicle": "a", "arrival": "2024-01-05T08:00:00Z", "departure": "2024-01-05T12:00:00Z", "capacity_kwh": 40}
    sessions = [gone | {"arrival_soc_frac": 0.5, "target_soc_frac": 0.6}]
    devices = {"empty": charger, "once": charger | {"sessions": sessions}, "load": SITE["devices"]["load"]}
    found = year(written(folder, devices=devices), "--from", "2024-02-28", "--days", "3", "--jobs", "1")
    assert [variant["name"] for variant in found["variants"]] == ["none", "smart charging", "V2G"]
    for variant in found["variants"]:
        assert variant["total"]["savings_eur"] == pytest.approx(0.0, abs=1e-9)
        assert variant["total"]["bess_cycles"] is None and variant["total"]["stored_kwh"] == 0
        assert set(variant["months"]) == {"2024-02", "2024-03"}, "29 February is a day"
    text = capsys.readouterr().out
    assert "empty has no charging sessions." in text
    assert "once has charging sessions from 2024-01-05 to 2024-01-05 only." in text


@pytest.fixture
def engine() -> Iterator["LocalCluster"]:
    """A Dask scheduler with two workers, each a process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, worker_dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_dask_engine_that_is_gone_is_an_error_in_a_line(engine: "LocalCluster") -> None:
    address = engine.scheduler_address
    with pytest.raises(RunFailedError, match="is gone"), dask_workers(address) as executor:
        waits = executor.submit(time.sleep, 60)
        engine.close()
        waits.result()


def test_dask_workers_that_end_again_and_again_are_an_error_in_a_line(engine: "LocalCluster") -> None:
    address = engine.scheduler_address
    with (
        pytest.raises(RunFailedError, match="workers end while they live through days"),
        dask_workers(address) as executor,
    ):
        executor.submit(os._exit, 1).result()
    engine.wait_for_workers(2, timeout=60)  # a cluster that is closed while it starts one stumbles


@pytest.mark.parametrize("address", ["garbage", "", "http://127.0.0.1:1", "tcp://127.0.0.1:port", "tcp://:8786"])
def test_what_is_no_address_of_a_scheduler_is_said_at_once(address: str) -> None:
    with raises(Code.FORMAT, "tcp://host:port is allowed"), dask_workers(address):
        pass


@pytest.mark.slow
def test_a_dask_engine_gives_the_same_year_to_the_last_bit(folder: Path, engine: "LocalCluster") -> None:
    site = written(folder)
    options = ("--from", "2024-03-25", "--days", "15")
    here = year(site, *options, "--jobs", "1", "--out", "here")
    assert year(site, *options, "--dask", engine.scheduler_address, "--out", "there") == here
    assert len(here["variants"]) == 2
