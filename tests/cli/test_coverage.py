"""A run outside the dates of the site's profiles is refused when it is composed, in every way of running."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import twinswarm
from schemas.errors import Code, InputError
from sites.loader import load_description, load_site
from tests.cli.calling import call
from twinswarm.simulation.coverage import check_profiles
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference
from twinswarm.study.study import StudyOrder

PARK = "carpark"
SPAN = "holds values from 2018-05-14 00:00 to 2018-05-31 00:00 (series.csv, column load_kw)"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--no-report"),
        ("up", "--no-report"),
        ("up", "--one-process", "--from", "10:00"),
        ("plan",),
        ("clock",),
    ],
)
def test_every_profile_is_named_with_its_file_its_span_and_that_of_the_run(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    command, *options = words
    done = call(command, "--site", PARK, "--date", "2018-06-03", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: 5 faults" in done.stderr
    begin = "10:00" if "--from" in options else "00:00"
    assert f"profiles.load: {SPAN}, and the run is from 2018-06-03 {begin} to 2018-06-04 00:00" in done.stderr
    assert "local times of Europe/Rome; needed by devices.office.profile [range]" in done.stderr
    for name in ("price_nord", "load_week_before", "ghi", "temp_air"):
        assert f"profiles.{name}: holds values from" in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize("command", ["up", "clock"])
def test_a_run_from_now_on_is_refused_as_well(command: str, tmp_path: Path) -> None:
    done = call(command, "--site", PARK, "--speed", "1", "--now", "--for", "1h", cwd=tmp_path)
    assert done.returncode == 2
    assert f"profiles.load: {SPAN}, and the run is from 20" in done.stderr


def test_a_run_without_an_end_needs_profiles_without_one() -> None:
    park, study = load_site(PARK), load_site("fit_g2v")
    inside = datetime(2018, 5, 20, tzinfo=UTC)
    check_profiles(study, inside, None)
    with pytest.raises(InputError, match="has no end; give it a length with --for") as caught:
        check_profiles(park, inside, None)
    assert caught.value.codes == (Code.RANGE,) * 5


def test_the_ends_of_the_profiles_are_the_ends_of_what_can_run() -> None:
    park = load_site(PARK)
    first, last = datetime(2018, 5, 13, 22, tzinfo=UTC), datetime(2018, 5, 30, 22, tzinfo=UTC)
    check_profiles(park, first, last)
    for t0, t_end in ((first - timedelta(seconds=1), last), (first, last + timedelta(seconds=1))):
        with pytest.raises(InputError):
            check_profiles(park, t0, t_end)
    assert course_of(park, length=timedelta(days=15)).t_end == last
    with pytest.raises(InputError, match=r"profiles\.load: "):
        course_of(park, length=timedelta(days=15, hours=1))


def test_a_study_looks_at_the_profiles_of_its_cases_as_well() -> None:
    study = load_description("fit_g2v")
    cloud = load_site(PARK).profiles["ghi"]
    dated = study.model_copy(update={"profiles": study.profiles | {"pv_cloud": cloud}})
    with pytest.raises(InputError, match=r"profiles\.pv_cloud: .* needed by cases\.1\.pv\.pv\.profile"):
        StudyOrder.of(dated, Reference.SMART)


def test_a_day_that_no_profile_by_time_needs_may_be_any(tmp_path: Path) -> None:
    done = call("run", "--date", "2031-07-01", "--for", "1h", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("call_api", [twinswarm.run_day, twinswarm.plan])
def test_the_python_api_refuses_a_day_without_values(call_api: Callable[..., object]) -> None:
    with pytest.raises(InputError) as caught:
        call_api(PARK, date="2018-06-03")
    assert set(caught.value.codes) == {Code.RANGE}
    assert f"profiles.load: {SPAN}, and the run is from 2018-06-03 00:00" in str(caught.value)
