"""Both days on which the clocks change: 92 and 100 quarter-hours, no hole, and no hour that counts twice."""

import itertools
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from broker.memory import MemoryBroker, MemoryTransport
from runtime.wall import WallLoop
from schemas.messages import Body, Plan, Run, Setpoint, Stamp, TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, client_id, everything
from schemas.wire import decode, encode
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.system.days import order_of
from twinswarm.simulation.compose import maker
from twinswarm.simulation.pipeline import conduct_in_memory


def on(day: date) -> Site:
    return load_site("fit_g2v").model_copy(update={"date": day})


@pytest.mark.parametrize(("day", "quarters"), [(date(2024, 3, 31), 92), (date(2024, 10, 27), 100)])
def test_a_day_on_which_the_clocks_change_is_planned_commanded_and_settled_whole(
    day: date, quarters: int, tmp_path: Path
) -> None:
    order = order_of(tmp_path, site=on(day))
    result = conduct_in_memory(order)
    assert result.complete
    assert result.energy_residual_kwh_max is not None
    assert result.energy_residual_kwh_max <= 1e-9
    assert order.course.t_end - order.course.t0 == timedelta(minutes=15) * quarters
    with closing(SqliteHistory(order.history)) as history:
        starts = [plan.start for _, plan in history.plans(result.run)]
    assert len(starts) == quarters
    assert {later - earlier for earlier, later in itertools.pairwise(starts)} == {timedelta(minutes=15)}


QUARTER = timedelta(minutes=15)
TICK = timedelta(seconds=10)
WHOLE_DAY = [pytest.mark.long, pytest.mark.timeout(900)]
MEMBERS = ("bess", "tariff", "forecast", "ems")


def live_from(begin: datetime, quarters: int, site: Site) -> list[Body]:
    """All that was published in so many quarter-hours in wall time, along a clock that is set."""
    broker = MemoryBroker()
    ear = MemoryTransport(broker, "ear")
    ear.connect([everything(site.site)])
    stamp = Stamp(ts=begin, run="20261101T120000.000000Z-0001", boot="clock", seq=1)
    run = Run(mode=TimeMode.WALL, step_s=900, t0=begin, wall0=begin, speed=1.0)
    ear.publish(str(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)), encode(stamp, run), retain=True)
    loops = []
    for device in MEMBERS:
        transport = MemoryTransport(broker, client_id(site.site, device))
        boot = f"boot-{device}"
        loop = WallLoop(maker(site, device)(), transport, new_boot=lambda boot=boot: boot, zone=site.zone)
        loop.start(begin)
        loops.append((loop, transport))
    heard: list[Body] = []
    now = begin
    while now < begin + quarters * QUARTER:
        for loop, transport in loops * 2:  # what one of them sends is answered at the same instant
            while (delivery := transport.receive(0.0)) is not None:
                loop.handle(delivery, now)
            loop.run_due(now)
        while (delivery := ear.receive(0.0)) is not None:
            ear.acknowledge(delivery)
            heard.append(decode(Topic.parse(delivery.topic), delivery.payload)[1])
        now += TICK
    return heard


@pytest.mark.parametrize(
    ("day", "first", "quarters"),
    [
        (date(2024, 3, 31), 2, 8),
        (date(2024, 10, 27), 4, 12),
        pytest.param(date(2024, 3, 31), 0, 92, marks=WHOLE_DAY),
        pytest.param(date(2024, 10, 27), 0, 100, marks=WHOLE_DAY),
    ],
)
def test_in_wall_time_too_each_quarter_hour_has_one_plan_and_a_set_point(day: date, first: int, quarters: int) -> None:
    """The clocks change at 1:00 UTC, in the midst of the shorter ones."""
    site = on(day)
    site = site.model_copy(update={"ems": site.ems.model_copy(update={"replan_least_s": 0.0})})
    midnight = datetime(day.year, day.month, day.day, tzinfo=site.zone).astimezone(UTC)
    begin = midnight + first * QUARTER
    heard = live_from(begin, quarters, site)
    starts = [plan.start for plan in heard if isinstance(plan, Plan)]
    assert starts == [begin + place * QUARTER for place in range(quarters)]
    valid = [(each.valid_from, each.valid_until) for each in heard if isinstance(each, Setpoint)]
    assert valid[-1][1] >= begin + quarters * QUARTER
    assert all(later[0] <= earlier[1] for earlier, later in itertools.pairwise(valid))
    if first == 0:
        assert begin + quarters * QUARTER == datetime.combine(day + timedelta(days=1), datetime.min.time(), site.zone)
