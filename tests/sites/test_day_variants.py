"""Days that differ from the typical one: weekdays, weekends, and the holidays of the site's country."""

import json
import sys
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import InputError
from schemas.site import DayProfile, Site
from sites.loader import load_site
from sites.loader.template import write_template

LOAD = "load: {type: day, file: profiles.csv, column: load_kw}"
ROME = ZoneInfo("Europe/Rome")
VARIANTS = "variants: {weekend: free, friday: short, holiday: feast}"


def site(folder: Path, variants: str = VARIANTS, country: str = "IT") -> Path:
    """The load: 10 kW at work, 5 on Fridays, 2 at weekends, 1 on holidays."""
    write_template(folder)
    rows = "".join("10,5,2,1\n" for _ in range(24))
    (folder / "load.csv").write_text(f"work,short,free,feast\n{rows}")
    file = folder / "site.yaml"
    text = file.read_text().replace(LOAD, f"load: {{type: day, file: load.csv, column: work, {variants}}}")
    if country:
        text = text.replace("  time_zone: Europe/Rome", f"  time_zone: Europe/Rome\n  country: {country}", 1)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("day", "kw"),
    [
        (date(2024, 5, 16), 10.0),  # a Thursday
        (date(2024, 5, 17), 5.0),  # a Friday
        (date(2024, 5, 18), 2.0),
        (date(2024, 5, 19), 2.0),
        (date(2024, 4, 25), 1.0),  # Liberation Day, a Thursday
        (date(2024, 8, 15), 1.0),  # Assumption, a Thursday
        (date(2024, 4, 1), 1.0),  # Easter Monday
        (date(2025, 4, 21), 1.0),  # Easter Monday
        (date(2024, 4, 2), 10.0),
        (date(2024, 6, 2), 1.0),  # Republic Day, a Sunday: before the weekend
        (date(2024, 10, 27), 2.0),  # the Sunday of 25 hours
    ],
)
def test_a_day_has_the_load_of_its_kind_from_midnight_to_midnight(day: date, kw: float, tmp_path: Path) -> None:
    profile = load_site(site(tmp_path)).profiles["load"]
    for hour, minute in ((0, 0), (2, 30), (23, 59)):
        assert profile.at(datetime(day.year, day.month, day.day, hour, minute, tzinfo=ROME), ROME) == kw


def test_a_day_that_differs_changes_at_midnight_and_no_change_is_missed(tmp_path: Path) -> None:
    profile = load_site(site(tmp_path)).profiles["load"]
    evening = datetime(2024, 5, 17, 23, 10, tzinfo=ROME)
    assert profile.next_change(evening, ROME) == datetime(2024, 5, 18, tzinfo=ROME)


def test_a_resolved_site_knows_its_holidays_and_needs_no_library(tmp_path: Path) -> None:
    resolved = load_site(site(tmp_path))
    again = Site.model_validate_json(resolved.model_dump_json())
    assert again == resolved
    profile = again.profiles["load"]
    assert isinstance(profile, DayProfile)
    assert (profile.holidays[0].year, profile.holidays[-1].year) == (2014, 2054)
    (tmp_path / "site.json").write_text(resolved.model_dump_json())
    assert load_site(tmp_path / "site.json") == resolved


def test_holidays_of_a_subdivision_differ_from_those_of_its_country(tmp_path: Path) -> None:
    file = site(tmp_path, country="DE\n  subdivision: BY")
    profile = load_site(file).profiles["load"]
    assert isinstance(profile, DayProfile)
    assert date(2024, 1, 6) in profile.holidays, "Epiphany"
    file.write_text(file.read_text().replace("subdivision: BY", "subdivision: BE"))
    other = load_site(file).profiles["load"]
    assert isinstance(other, DayProfile)
    assert date(2024, 1, 6) not in other.holidays


@pytest.mark.parametrize(
    ("variants", "country", "told"),
    [
        ("variants: {sonntag: free}", "IT", "profiles.load.variants.sonntag: Input should be 'monday', 'tuesday'"),
        (
            "variants: {sunday: fre}",
            "IT",
            "profiles.load.variants.sunday: load.csv has no such column; did you mean 'free",
        ),
        (VARIANTS, "", "profiles.load.variants: differs on holidays, and location says no country; say there country"),
        (VARIANTS, "XX", "location.country: the library holidays knows none of this country"),
        (VARIANTS, "Italy", "location.country: String should match pattern"),
        (VARIANTS, "DE\n  subdivision: QQ", "location.subdivision: is no subdivision of DE; there are BB, BE"),
    ],
)
def test_a_wrong_variant_is_named_with_its_line(variants: str, country: str, told: str, tmp_path: Path) -> None:
    file = site(tmp_path, variants, country)
    with pytest.raises(InputError) as caught:
        load_site(file)
    (fault,) = caught.value.faults
    assert f"{file}: line " in fault.where
    assert told in str(fault)


def test_without_the_library_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(InputError, match="pip install holidays") as caught:
        load_site(site(tmp_path))
    assert caught.value.codes == ("not-installed",)
    (tmp_path / "other").mkdir()
    assert load_site(site(tmp_path / "other", "variants: {weekend: free}")).profiles["load"].values[0] == 10.0


def test_a_variant_of_other_steps_is_refused() -> None:
    data = {"type": "day", "values": [1.0] * 24, "variants": {"sunday": [1.0] * 48}}
    with pytest.raises(ValueError, match="the variant sunday has 48 values and the typical day 24"):
        DayProfile.model_validate_json(json.dumps(data), strict=True)
