"""The command as a user meets it."""

from pathlib import Path

import pytest

from tests.cli.calling import call
from tests.study.conftest import Told
from twinswarm.study.orders import TIES


def test_the_json_holds_the_table_the_factors_with_their_ranges_and_the_effort(told: Told) -> None:
    study = told.study
    assert study["signs_matched"] == study["signs"] == 3
    assert study["rmse_eur_per_day"] >= 0
    assert [(row["case"], row["storage"]) for row in study["table"]] == [("6", s) for s in ("bess", "v2g", "both")]
    for row in study["table"]:
        assert row["difference"] == pytest.approx(row["ours"] - row["published"])
    for storage in ("bess", "v2g", "both"):
        found = study["psf_case_6"][storage]
        assert found["range"][0] <= found["psf"] <= found["range"][1]
        assert set(found["by_tie_break"]) == set(TIES)
    assert study["optimisations"] == 4 * 96
    assert study["wall_s"] > 0
    assert study["parameters"]["devices"]["bess"]["capacity_kwh"] == 40


def test_with_the_table_stand_the_reference_and_what_is_fitted_and_not_known(told: Told) -> None:
    page = (told.folder / "out" / "report.html").read_text()
    for words in ("Published", "Fitted", "Not known", "smart"):
        assert words in told.stdout
        assert words in page
    assert "Table II" in page


def test_with_the_table_stands_what_becomes_of_it_with_other_loads(told: Told) -> None:
    numbers = {row["name"]: row for row in told.study["robustness"]["numbers"]}
    assert numbers["RMSE [€/day]"]["site"] == told.study["rmse_eur_per_day"]
    for storage in ("bess", "v2g", "both"):
        for name in (f"PSF, case 6, {storage}", f"… above 2 kW, {storage}"):
            assert numbers[name]["least"] < numbers[name]["mean"] < numbers[name]["most"]
            assert numbers[name]["without_noise"] != numbers[name]["site"]
    page = (told.folder / "out" / "report.html").read_text()
    for text in (told.stdout, page):
        assert "With another measured load" in text
        assert "PSF, case 6, both" in text


def test_without_it_the_place_of_the_other_loads_says_so(tmp_path: Path) -> None:
    done = call("study", "--cases", "5", "--processes", "1", "--no-robustness", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = "With another measured load: not looked at (--no-robustness)"
    assert said in done.stdout
    assert said in (tmp_path / "runs" / "study" / "report.html").read_text()


def test_figures_are_files_and_in_the_page(told: Told) -> None:
    names = {path.name for path in (told.folder / "out").iterdir()}
    for figure in ("figure_3_pv_and_load", "figure_4_prices", "figure_5_profiles", "figure_6_costs"):
        assert {f"{figure}.png", f"{figure}.svg"} <= names
    page = (told.folder / "out" / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 4
    assert "http://" not in page
    assert "https://" not in page


def test_cases_that_there_are_not_are_a_fault_of_the_input(tmp_path: Path) -> None:
    done = call("study", "--cases", "6,9", cwd=tmp_path)
    assert done.returncode == 2
    assert "1, 2, 3, 4, 5, 6" in done.stderr


def test_a_target_that_is_not_there_is_a_fault_of_the_input(tmp_path: Path) -> None:
    done = call("calibrate", "fit_g2v", "--target", "missing.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "missing.toml" in done.stderr
