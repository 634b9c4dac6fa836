"""Days on which a run may begin: those of which all times can be said in messages."""

import json
from datetime import date

import pytest
from pydantic import ValidationError

from schemas.errors import Code
from schemas.site import Site
from tests.errors import raises
from tests.twins import builders
from twinswarm.simulation.runs import parse_date


@pytest.mark.parametrize("text", ["1800-01-01", "1971-12-31", "2250-01-01", "9999-12-31", "0001-01-01"])
def test_a_day_of_which_times_cannot_be_said_is_refused(text: str) -> None:
    with raises(Code.RANGE, "--from: a day from 1972-01-01 to 2249-12-31 is allowed", text):
        parse_date(text, "--from")
    described = builders.site({"load": {"kind": "meter", "profile": "base"}}).model_dump(mode="json")
    with pytest.raises(ValidationError, match="is not between 1972-01-01 and 2249-12-31"):
        Site.model_validate_json(json.dumps(described | {"date": text}))


@pytest.mark.parametrize("day", [date(1972, 1, 1), date(2249, 12, 31)])
def test_the_first_and_the_last_day_are_taken(day: date) -> None:
    assert parse_date(day.isoformat()) == day
