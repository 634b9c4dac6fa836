"""More ways in which portals write times: since 1970, with marks of summer time, with AM and PM."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from tests.imports.read_back import energy_kwh, read_back
from tests.imports.written import table
from twinswarm.imports.imported import Imported

BERLIN, LOS_ANGELES = ZoneInfo("Europe/Berlin"), ZoneInfo("America/Los_Angeles")


def read(tmp_path: Path, text: str, zone: ZoneInfo = BERLIN, **said: object) -> Imported:
    return read_back(tmp_path, text, zone, **said)  # type: ignore[arg-type]


def refused(tmp_path: Path, text: str, code: Code, *words: str, **said: object) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, **said)  # type: ignore[arg-type]
    assert caught.value.code is code, str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


NAMED = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


def since_1970(per_second: int, late: int = 0) -> list[list[str]]:
    """A day of quarter-hours from 13 May 2024, 00:00Z, of 1.5 kW: 36 kWh."""
    begin = int(datetime(2024, 5, 13, tzinfo=UTC).timestamp())
    return [[str((begin + 900 * n) * per_second + late), "1.5"] for n in range(96)]


@pytest.mark.parametrize("name", NAMED)
def test_a_time_may_be_a_number_since_1970(name: str, tmp_path: Path) -> None:
    found = read(tmp_path, table("time,kW", since_1970(NAMED[name]), ","))
    assert found.series["load"].start == datetime(2024, 5, 13, tzinfo=UTC)
    assert energy_kwh(found) == 36
    assert f"times are {name} since 1970" in found.notes.read
    assert found.notes.repaired == []


def test_parts_of_a_second_are_none_of_the_steps(tmp_path: Path) -> None:
    """As a database writes them, a nanosecond late."""
    assert energy_kwh(read(tmp_path, table("time,kW", since_1970(10**9, late=1), ","))) == 36


def test_numbers_since_1970_are_all_of_one_unit(tmp_path: Path) -> None:
    rows = since_1970(10**9)
    rows[7][0] = rows[7][0].removesuffix("000")
    refused(tmp_path, table("time,kW", rows, ","), Code.FORMAT, "row 9", rows[7][0], time_column="time")
