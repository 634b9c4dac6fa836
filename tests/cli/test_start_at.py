"""``--start-at``: the machine's time at which several runs of one clock begin."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Code
from services.clock.lateness import WhenLate
from tests.cli.calling import call
from tests.errors import raises
from twinswarm.cli import options

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def given(text: str | None, speed: float | None = 60.0, *, from_now: bool = False) -> datetime | None:
    return options.start_at(text, speed, from_now=from_now, now=NOW)


def test_a_time_with_any_zone_is_taken() -> None:
    assert given(None, None) is None
    assert given("2026-11-29T12:00:30Z") == given("2026-11-29T13:00:30+01:00") == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("text", "others", "code", "says"),
    [
        ("2026-11-29T13:00:00Z", {"speed": None}, Code.CONFLICT, "give --speed a number"),
        ("2026-11-29T13:00:00Z", {"from_now": True}, Code.CONFLICT, "beside --now"),
        ("12:30", {}, Code.FORMAT, "a time with its zone is allowed"),
        ("2026-11-29T13:00:00", {}, Code.FORMAT, "a time with its zone is allowed"),
        ("2026-11-29T12:00:00Z", {}, Code.RANGE, "a time after now, 2026-11-29T12:00:00+00:00"),
        ("2026-11-30T12:00:01Z", {}, Code.RANGE, "within a day"),
    ],
)
def test_a_start_that_cannot_be_says_what_is_allowed(text: str, others: dict[str, Any], code: Code, says: str) -> None:
    with raises(code, "--start-at", text, says):
        given(text, **others)


def test_a_run_beside_others_does_not_slow_down() -> None:
    assert options.when_late(None, None) is WhenLate.SLOW
    assert options.when_late(None, NOW) is WhenLate.GO_ON
    assert options.when_late(WhenLate.STOP, NOW) is WhenLate.STOP
    with raises(Code.CONFLICT, "--when-late", "slow", "--start-at"):
        options.when_late(WhenLate.SLOW, NOW)


def test_the_commands_say_so(tmp_path: Path) -> None:
    done = call("up", "--start-at", "soon", "--speed", "60", "--no-report", cwd=tmp_path)
    assert done.returncode == 2
    assert "--start-at" in done.stderr
