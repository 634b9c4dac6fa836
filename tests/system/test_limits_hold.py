"""Whole days of both sites in the box: limits hold in every piece of every device, and energy is conserved."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.messages import BessTelemetry, ChargerTelemetry, EmsMode, ShortfallKind
from schemas.site import Bess, Charger
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.system.days import order_of
from twinswarm.simulation.pipeline import conduct_in_memory

ROUNDING = 1e-9


@pytest.mark.parametrize("name", ["fit_g2v", "carpark"])
def test_power_and_soc_stay_within_their_limits_in_every_sample(name: str, tmp_path: Path) -> None:
    order = order_of(tmp_path, site=load_site(name))
    result = conduct_in_memory(order)
    assert result.complete
    assert result.energy_residual_kwh_max <= 1e-9
    assert [file.name for file in tmp_path.iterdir()] == ["history.sqlite"], "one file, to be copied as it is"
    with closing(SqliteHistory(order.history)) as history:
        segments, tracks = history.segments(result.run), history.tracks(result.run)
    for device, described in order.site.devices.items():
        if not isinstance(described, Charger | Bess):
            continue
        powers = [kw for _, _, kw in segments[device]]
        assert max(powers) <= described.max_charge_kw + ROUNDING
        assert min(powers) >= -described.max_discharge_kw - ROUNDING
        for sample in tracks[device].samples:
            body = sample.body
            if isinstance(body, BessTelemetry) and isinstance(described, Bess):
                assert described.soc_min_frac - ROUNDING <= body.soc_frac <= described.soc_max_frac + ROUNDING
            if isinstance(body, ChargerTelemetry) and body.vehicle is not None:
                car = body.vehicle
                least = min(car.soc_min_frac, car.arrival_soc_frac)
                assert least - ROUNDING <= car.soc_frac <= car.soc_max_frac + ROUNDING


def test_without_commands_the_devices_follow_their_fallback(tmp_path: Path) -> None:
    site = load_site("fit_g2v")
    held = site.model_copy(update={"ems": site.ems.model_copy(update={"mode": EmsMode.HOLD})})
    order = order_of(tmp_path, site=held)
    result = conduct_in_memory(order)
    assert result.setpoints_sent == 0
    with closing(SqliteHistory(order.history)) as history:
        last = {name: track.samples[-1].body for name, track in history.tracks(result.run).items()}
        charged = [session.final_soc_frac for session in history.sessions(result.run)]
    assert last["bess"].energy_import_kwh == last["bess"].energy_export_kwh == 0.0, "a BESS rests"
    target = 0.7755
    assert charged == pytest.approx([target] * 4, abs=1e-6), "a charger charges to the target by itself"


def test_a_run_goes_on_where_the_connection_is_too_small(tmp_path: Path) -> None:
    site = load_site("fit_g2v")
    narrow = site.model_copy(update={"connection": site.connection.model_copy(update={"import_limit_kw": 5.0})})
    order = order_of(tmp_path, timedelta(hours=1), site=narrow)
    result = conduct_in_memory(order)
    assert result.dead_letters == 0
    with closing(SqliteHistory(order.history)) as history:
        plans = history.plans(result.run)
    missed = [shortfall for _, plan in plans for shortfall in plan.shortfalls]
    assert ShortfallKind.CONNECTION_LIMIT in {shortfall.kind for shortfall in missed}
