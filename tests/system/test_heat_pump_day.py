"""The heat pump's day: over a broker as in memory, cheaper than by its thermostat, and a cold snap that is named."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from schemas.messages import HeatPumpTelemetry, Plan, ShortfallKind
from schemas.site import DayProfile, Site
from schemas.topics import Channel
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.system.days import contents, how_of, numbers, order_of
from twinswarm.deploy.up import conduct_swarm
from twinswarm.simulation.pipeline import conduct_in_memory


def test_a_day_over_a_broker_equals_the_day_in_memory(tmp_path: Path) -> None:
    memory, swarm = (order_of(tmp_path / name, site=load_site("heatpump")) for name in ("memory", "swarm"))
    result = conduct_in_memory(memory)
    over = conduct_swarm(swarm, how_of(tmp_path / "swarm", "embedded"))
    assert contents(swarm.history, over.run) == contents(memory.history, result.run)
    assert numbers(over) == numbers(result)
    assert result.savings_eur is not None
    assert result.savings_eur > 1.0
    assert result.energy_residual_kwh_max is not None
    assert result.energy_residual_kwh_max <= 1e-9


def cold_snap() -> Site:
    """20 K colder: 32 kW are wanted at night, while 14 kW times a COP of 1.85 give 26 kW."""
    site = load_site("heatpump")
    temps, heat = site.profiles["temp_outdoor"], site.profiles["heat_demand"]
    assert isinstance(temps, DayProfile)
    assert isinstance(heat, DayProfile)
    colder = {
        "temp_outdoor": temps.model_copy(update={"values": tuple(value - 20 for value in temps.values)}),
        "heat_demand": heat.model_copy(update={"values": tuple(value + 0.8 * 20 for value in heat.values)}),
    }
    return site.model_copy(update={"profiles": {**site.profiles, **colder}})


def test_a_cold_snap_is_named_in_the_plan_before_it_is_felt(tmp_path: Path) -> None:
    order = order_of(tmp_path, timedelta(hours=12), cold_snap())
    result = conduct_in_memory(order)
    with closing(SqliteHistory(order.history)) as history:
        plans = [received.body for received in history.messages(result.run, Channel.PLAN)]
        track = history.tracks(result.run)["heatpump"]
        data = history.dataset(result.run)
    first = plans[0]
    assert isinstance(first, Plan)
    named = {shortfall.kind: shortfall for shortfall in first.shortfalls}
    assert {ShortfallKind.COMFORT, ShortfallKind.UNSERVED_HEAT} <= named.keys()
    assert named[ShortfallKind.COMFORT].device == "heatpump"
    told = [sample.body for sample in track.samples if isinstance(sample.body, HeatPumpTelemetry)]
    empty = next(sample.ts for sample in track.samples if sample.body.stored_frac < 1e-6)  # type: ignore[operator]
    assert (
        named[ShortfallKind.UNSERVED_HEAT].at - timedelta(minutes=15) <= empty <= named[ShortfallKind.UNSERVED_HEAT].at
    )
    assert data["cop"].sel(device="heatpump").values[0] == told[0].cop
    assert data["heat_unserved_kwh"].sel(device="heatpump").values[-1] == told[-1].heat_unserved_kwh
    unserved = told[-1].heat_unserved_kwh
    assert unserved is not None
    assert unserved > 1.0
