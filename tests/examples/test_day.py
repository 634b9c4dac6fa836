"""A whole day of the default site with the example charger in the place of the twin ev1. Invariants, not bits."""

from contextlib import closing
from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials
from schemas.messages import Birth, ChargerTelemetry
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.examples.conftest import StartCharger
from tests.examples.site_bus import SiteBus
from twinswarm.deploy.up import How, conduct_swarm
from twinswarm.simulation.pipeline import Order
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice

RATED_KW, SOC_MIN, SOC_MAX, TARGET = 22.5, 0.561, 0.801, 0.7755


def test_a_day_with_the_script_in_place_of_a_twin_keeps_the_invariants(
    amqtt_address: BrokerAddress, start_charger: StartCharger, tmp_path: Path
) -> None:
    site = load_site("fit_g2v")
    bus = SiteBus(amqtt_address)
    start_charger(amqtt_address)
    bus.boot_after()
    bus.close()
    order = Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, tmp_path / "history.sqlite")
    how = How(str(amqtt_address), Credentials(), tmp_path, attach=frozenset({"ev1"}), one_process=True)

    result = conduct_swarm(order, how)

    assert result.complete
    assert result.energy_residual_kwh_max is not None
    assert result.energy_residual_kwh_max <= 1e-9
    assert (result.messages_missing, result.dead_letters) == (0, 0)
    with closing(SqliteHistory(order.history)) as history:
        told = [sample.body for sample in history.tracks(result.run)["ev1"].samples]
        acks = [ack for _, ack in history.acks(result.run, "ev1")]
        plans = [plan for _, plan in history.plans(result.run)]
        (stay,) = [stay for stay in history.sessions(result.run) if stay.charger == "ev1"]
        software = history.births(result.run)["ev1"].body
    assert isinstance(software, Birth)
    assert software.software == "examples/charger.py"
    assert len(told) == 97
    assert all(abs(body.power_kw) <= RATED_KW for body in told)
    assert all(abs(segment.power_kw) <= RATED_KW for body in told for segment in body.segments or ())
    socs = [b.vehicle.soc_frac for b in told if isinstance(b, ChargerTelemetry) and b.vehicle is not None]
    assert len(socs) == 36, "from 9:00 to 17:45"
    assert all(SOC_MIN - 1e-9 <= soc <= SOC_MAX + 1e-9 for soc in socs)
    assert len(acks) == 96, "the EMS commands it in every quarter"
    assert all(ack.accepted for ack in acks)
    assert all("ev1" in plan.devices for plan in plans)
    assert stay.final_soc_frac >= TARGET - 1e-3, "it left with what it wanted, but for what nobody could foresee"
    (ev1,) = [device for device in result.devices if device.device == "ev1"]
    assert ev1.import_kwh == pytest.approx(told[-1].energy_import_kwh, abs=1e-9)
    assert ev1.export_kwh == pytest.approx(told[-1].energy_export_kwh, abs=1e-9)
