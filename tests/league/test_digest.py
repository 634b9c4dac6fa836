"""The table of a league by its SHA-256: stored once, and the same on every machine and in every version of Python.

docs/league.md lists where it was tried. A digest that changes is a day that changes, in its last digit at
least: whoever means that stores the new one, and says so in the changelog.
"""

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

import twinswarm
from schemas.cycle import Course
from schemas.sums import sum_in_order
from twinswarm.league.result import play_league
from twinswarm.simulation.runs import local_course
from twinswarm.study.own_site import course_over

ROOT = Path(__file__).parents[2]
FORENOON = "7903a50453191c2f4926425e986eb8a5c6ee6db01a70889ac796146fe76e7b99"
DAYS = {
    ("fit_g2v", "1d", None): "d2d8d7d06f72b8d5529bc39230192a6f7abaa41356af528b48f844d3d877b9a9",
    ("fit_g2v", "3d", None): "086af7c0ea683534f12ef1fa5fa90cf2a70ca6993b1767e38818f6560879d02b",
    ("carpark", "1d", None): "09c3bc2c83ca9e05c6399f6434452e772e5f09697f610a969a43cb9ab3c9fc3f",
    ("carpark", "3d", date(2018, 5, 14)): "6804133052e1fd54ef34d40e466b176cb8e2e9c1e9b7e55746ddecbbeeedbb09",
}

AS_SINCE_3_12 = """
import builtins, math

def compensated(values, start=0):
    "Floats are added with a correction, as by Python 3.12 and later; all else as ever."
    found = list(values)
    floats = any(type(value) is float for value in found) and all(type(value) in (int, float) for value in found)
    if floats and type(start) in (int, float):
        return math.fsum([start, *found])
    for value in found:
        start = start + value
    return start

builtins.sum = compensated
"""


def digest(site: str, hours: tuple[int, int]) -> str:
    """Of all contestants with a name, on these hours of the site's day."""
    chosen = twinswarm.load_site(site)
    whole = local_course(chosen)
    begin, end = (whole.t0 + timedelta(hours=hour) for hour in hours)
    return str(play_league(chosen, Course(begin, end, whole.step_s), processes=1).to_json()["sha256"])


def test_the_table_of_a_forenoon_is_the_stored_one() -> None:
    assert digest("carpark", (7, 10)) == FORENOON


def test_the_table_hangs_neither_on_how_the_built_in_sum_adds_nor_on_the_processor() -> None:
    code = f"{AS_SINCE_3_12}\nfrom tests.league.test_digest import digest\nprint(digest('carpark', (7, 10)))"
    # Nor on the instructions that numpy and its linear algebra choose on this processor.
    older = {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
        "OPENBLAS_CORETYPE": "Nehalem",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | older,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == FORENOON


def test_a_sum_is_added_from_left_to_right() -> None:
    """By hand: 0.1 is lost beside 1e16, and stays lost; added exactly it would be 0.1."""
    assert sum_in_order([1e16, 0.1, -1e16]) == 0.0
    assert sum_in_order([1e16, -1e16, 0.1]) == 0.1
    assert sum_in_order([]) == 0.0


@pytest.mark.long
@pytest.mark.parametrize("days", DAYS, ids=lambda days: f"{days[0]} {days[1]}")
def test_the_tables_of_whole_days_are_the_stored_ones(days: tuple[str, str, date | None]) -> None:
    site, length, first = days
    chosen = twinswarm.load_site(site)
    found = play_league(chosen, course_over(chosen, length, first))
    assert found.to_json()["sha256"] == DAYS[days]
