"""init, check and schema."""

import json
from pathlib import Path

import pytest

from schemas.site import Charger, Site
from sites.loader import load_site
from tests.cli.calling import call
from twinswarm.cli import main


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_new_site_is_valid_and_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "mysite"
    assert _run("init", str(site)) == 0
    assert str(site / "site.yaml") in capsys.readouterr().out.splitlines()
    assert _run("check", str(site)) == 0
    assert "is valid" in capsys.readouterr().out
    done = call("run", "--site", "mysite", "--for", "1h", "--reference", "no-cars", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yaml").write_text("mine", encoding="utf-8")
    assert _run("init", str(tmp_path)) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["site.yaml"]


def test_the_schemas_are_json_schemas_of_messages_and_site(tmp_path: Path) -> None:
    assert _run("schema", str(tmp_path / "out")) == 0
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert {"birth", "setpoint", "telemetry.charger", "site"} <= names
    assert json.loads((tmp_path / "out" / "asyncapi.json").read_text(encoding="utf-8"))["asyncapi"] == "3.0.0"
    for name in names - {"asyncapi"}:
        schema = json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))
        assert schema["$schema"].startswith("https://json-schema.org/")


def test_check_tells_faults_of_all_files_and_sums_up_the_valid_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = tmp_path / "faulty.yaml"
    assert _run("init", str(tmp_path / "mysite")) == 0
    text = (tmp_path / "mysite" / "site.yaml").read_text(encoding="utf-8")
    faulty.write_text(text.replace("latitude_deg:", "latitude_deg: 95 #"), encoding="utf-8")
    capsys.readouterr()
    assert _run("check", "fit_g2v", str(faulty), str(tmp_path / "none.yaml"), "--json", "-") == 2
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["valid"] is False
    assert [site["valid"] for site in found["sites"]] == [True, False, False]
    assert found["sites"][0]["cases"] == ["1", "2", "3", "4", "5", "6"]
    assert found["sites"][0]["devices"]["bess"]["capacity_kwh"] == 40
    assert any("latitude_deg" in fault["where"] for fault in found["sites"][1]["faults"])
    assert str(faulty) in told.err
    assert "none.yaml" in told.err


def test_the_summary_of_a_site_names_devices_profiles_and_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("check", "fit_g2v", "carpark") == 0
    told = capsys.readouterr().out
    for part in ("fit-g2v is valid", "carpark is valid", "40 kWh", "price_volatile", "2018-05-14T00:00", "18 charging"):
        assert part in told


def test_the_resolved_site_is_one_variant_and_needs_no_file_any_more(tmp_path: Path) -> None:
    options = ("--case", "3", "--storage", "bess", "--reference", "uncontrolled")
    done = call("site", "resolve", "fit_g2v", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "site.json").write_text(done.stdout)
    site = load_site(tmp_path / "site.json")
    assert "cases" not in json.loads(done.stdout)
    assert (site.tariff.sale, site.tariff.spread_eur_per_kwh) == ("price_volatile", 0.06)
    chargers = [device for device in site.devices.values() if isinstance(device, Charger)]
    assert {(device.max_discharge_kw, device.controllable) for device in chargers} == {(0.0, False)}
    assert site == Site.model_validate_json(done.stdout)


def test_a_case_that_is_none_and_a_file_that_cannot_be_written_are_wrong_input(tmp_path: Path) -> None:
    done = call("site", "resolve", "--case", "7", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--case: the site fit-g2v has the cases 1, 2, 3, 4, 5, 6 (received '7')" in done.stderr
    done = call("site", "resolve", "-o", "no/site.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "--out: cannot be written: No such file or directory (received 'no/site.json')" in done.stderr


def test_services_take_no_variant_of_their_own(tmp_path: Path) -> None:
    for service in (("twin", "ev1"), ("network",), ("ems",), ("forecast",), ("tariff",), ("recorder",), ("clock",)):
        done = call(*service, "--case", "3", cwd=tmp_path)
        assert done.returncode == 2, service
        assert "No such option: --case" in done.stderr, service
