"""A day is the same in every time zone: steps and settlement periods are counted from local midnight, not from UTC."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.messages import PlanStatus, TimeMode
from schemas.site import DayProfile, Meter, Site, step_start
from services.analysis.run_result import RunResult
from services.history.reader import RunInfo, recorded_steps
from sites.loader import load_site
from sites.loader.template import write_template
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice

HOURS = tuple(range(24))
PRICE = tuple(0.30 if 17 <= hour < 21 else 0.09 if hour < 6 else 0.18 for hour in HOURS)
LOAD = tuple(9.0 if 8 <= hour < 20 else 4.0 for hour in HOURS)


def site_in(zone: str, step_s: int, folder: Path) -> Site:
    """The template's battery and chargers on a day by the hour; without PV, whose sun is of a place."""
    write_template(folder)
    site = load_site(folder)
    building = site.devices["building"]
    assert isinstance(building, Meter)
    return site.model_copy(
        update={
            "location": site.location.model_copy(update={"time_zone": zone}),
            "date": date(2025, 1, 15),  # clocks change nowhere
            "devices": {name: device for name, device in site.devices.items() if name not in {"pv", "ev2"}},
            "profiles": {"price": DayProfile(values=PRICE), "load": DayProfile(values=LOAD)},
            "time": site.time.model_copy(update={"step_s": step_s}),
        }
    )


def lived(zone: str, step_s: int, folder: Path) -> RunResult:
    site = site_in(zone, step_s, folder / "site")
    order = Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, folder / "history.sqlite")
    return conduct_in_memory(order)


@pytest.fixture(scope="module")
def in_berlin(tmp_path_factory: pytest.TempPathFactory) -> dict[int, RunResult]:
    return {step_s: lived("Europe/Berlin", step_s, tmp_path_factory.mktemp(f"{step_s}")) for step_s in (1800, 3600)}


@pytest.mark.parametrize("step_s", [1800, 3600])
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide", "Pacific/Chatham"])
def test_the_day_is_that_of_berlin_to_the_last_bit(
    zone: str, step_s: int, in_berlin: dict[int, RunResult], tmp_path: Path
) -> None:
    expected, found = in_berlin[step_s], lived(zone, step_s, tmp_path)
    steps = 86_400 // step_s
    assert found.plan_statuses == {PlanStatus.OPTIMAL: steps}
    assert len(found.quarters) == steps
    assert found.cost_eur == expected.cost_eur
    assert found.reference_cost_eur == expected.reference_cost_eur
    assert found.stored_energy_difference_kwh == expected.stored_energy_difference_kwh
    assert [quarter.pcc_kw for quarter in found.quarters] == [quarter.pcc_kw for quarter in expected.quarters]
    assert found.quarters[0].time == datetime(2025, 1, 15, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "time", "start"),
    [
        ("Asia/Kathmandu", "2025-01-15T00:10:00+05:45", "2025-01-15T00:00:00+05:45"),
        ("Asia/Kathmandu", "2025-01-15T13:59:59+05:45", "2025-01-15T13:00:00+05:45"),
        ("Asia/Kolkata", "2025-01-15T23:30:00+05:30", "2025-01-15T23:00:00+05:30"),
        ("Europe/Rome", "2024-10-27T02:30:00+01:00", "2024-10-27T02:00:00+01:00"),  # the hour that comes twice
        ("Europe/Rome", "2024-03-31T03:00:00+02:00", "2024-03-31T03:00:00+02:00"),
    ],
)
def test_a_step_begins_at_a_local_hour(zone: str, time: str, start: str) -> None:
    found = step_start(datetime.fromisoformat(time), timedelta(hours=1), ZoneInfo(zone))
    assert found == datetime.fromisoformat(start)


def test_whole_steps_of_a_run_in_wall_time_are_those_of_the_local_clock() -> None:
    begun, up_to = datetime(2025, 1, 15, 3, 40, tzinfo=UTC), datetime(2025, 1, 15, 9, 10, tzinfo=UTC)
    info = RunInfo("r", "s", "main", TimeMode.WALL, 3600, begun, None, None, up_to, begun, None)
    start, end = recorded_steps(info, ZoneInfo("Asia/Kathmandu"))
    assert (start, end) == (datetime(2025, 1, 15, 4, 15, tzinfo=UTC), datetime(2025, 1, 15, 8, 15, tzinfo=UTC))
