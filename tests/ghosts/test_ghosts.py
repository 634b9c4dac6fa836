"""What ghosts earn, by hand; that a restart changes nothing of it, and they nothing of the real site."""

import json
from collections.abc import Sequence
from datetime import time
from typing import Any

import pytest

from schemas.errors import Code
from schemas.messages import Alarm, Earnings
from schemas.participant import Outgoing, Received, Turn
from schemas.site import GHOSTS, Bess, Charger, Connection, DailyChargingSession, Site
from schemas.topics import Channel, Kind
from services.ghosts.participant import Ghosts
from services.history.memory import MemoryHistory
from tests.errors import raises
from tests.ghosts.hall import CHEAP, DEAR, IDEAL, RUN, hall, live
from twinswarm.simulation.compose import members, required
from twinswarm.simulation.ghost_world import ghost_worlds
from twinswarm.simulation.ghosts_over_history import ghosts_over

REAL_BATTERY = Bess(capacity_kwh=10, max_charge_kw=5, max_discharge_kw=5)


def said(history: MemoryHistory) -> list[Earnings]:
    return [each.body for each in history.messages(RUN, Channel.EARNINGS) if isinstance(each.body, Earnings)]


def test_an_ideal_battery_earns_what_it_moves_times_the_difference_of_the_prices() -> None:
    """20 kWh bought at 0.10 € and used at 0.30 €, under a flat load of 10 kW: 4.00 € and one cycle."""
    site = hall({"newbess": IDEAL})
    history = live(site)
    accounts = list(ghosts_over(history, RUN, site))
    assert accounts[:-1] == said(history)  # beside the run as over its record; its last step only the record has
    day, last = accounts[-1].day, accounts[-1]
    assert (len(accounts), day.hours, day.estimated_hours, day.unpriced_hours) == (24, 24.0, 0.0, 0.0)
    assert day.real.energy_eur == pytest.approx(12 * 10 * (CHEAP + DEAR))
    assert day.ghosts.energy_eur == pytest.approx(48.0 - 20 * (DEAR - CHEAP))
    assert day.earned_eur == pytest.approx(4.0)
    assert (day, last.month) == (last.month, last.total)
    assert last.devices["newbess"].cycles == pytest.approx(1.0)
    assert last.stored_kwh == pytest.approx(0.0, abs=1e-9)
    assert day.ghosts.import_kwh == pytest.approx(240.0)
    assert day.ghosts.export_kwh == pytest.approx(0.0, abs=1e-9)
    assert last.degraded == ()
    assert day.unmanaged is None
    assert day.earned_demand_eur is None


def test_a_charger_earns_against_its_cars_charged_on_arrival() -> None:
    """10 kWh at 0.10 € instead of 0.30 €; the real site pays nothing for them, so both bills are higher."""
    car = DailyChargingSession(
        vehicle="car",
        arrival=time(10),
        departure=time(20),
        capacity_kwh=40,
        arrival_soc_frac=0.25,
        target_soc_frac=0.5,
        soc_max_frac=0.5,
    )
    charger = Charger(max_charge_kw=10, charge_efficiency=1, discharge_efficiency=1, daily=(car,))
    site = hall({"newcharger": charger}, prices=(DEAR, CHEAP))
    last = list(ghosts_over(live(site), RUN, site))[-1]
    assert last.day.unmanaged is not None
    assert last.day.unmanaged.energy_eur - last.day.real.energy_eur == pytest.approx(10 * DEAR)
    assert last.day.ghosts.energy_eur - last.day.real.energy_eur == pytest.approx(10 * CHEAP)
    assert last.day.earned_eur == pytest.approx(2.0)
    assert last.day.unmanaged.peak_kw == pytest.approx(20.0)
    assert last.devices["newcharger"].missing_kwh == pytest.approx(0.0, abs=1e-6)


def test_the_ghosts_keep_to_the_connection_that_the_real_site_leaves_them() -> None:
    """15 kW less the load of 10 kW: 20 kWh take four hours."""
    site = hall({"newbess": IDEAL}, connection=Connection(import_limit_kw=15, export_limit_kw=0))
    accounts = list(ghosts_over(live(site), RUN, site))
    assert max(each.ghosts_kw for each in accounts) <= 15 + 1e-6
    assert min(each.ghosts_kw for each in accounts) >= -1e-6
    assert accounts[-1].day.ghosts.over_limit_kwh == pytest.approx(0.0, abs=1e-9)
    assert accounts[-1].day.earned_eur == pytest.approx(4.0)


def test_wear_and_demand_stand_beside_what_is_earned() -> None:
    """At 0.02 €/kWh 40 kWh of throughput wear by 0.80 €; 20 kWh in 12 hours raise the peak by 1.67 kW at 0.50 €/kW."""
    site = hall({"newbess": IDEAL})
    tariff = site.tariff.model_copy(update={"demand_charge_eur_per_kw": 0.5})
    ems = site.ems.model_copy(update={"bess_wear_eur_per_kwh": 0.02})
    site = site.model_copy(update={"tariff": tariff, "ems": ems})
    last = list(ghosts_over(live(site), RUN, site))[-1]
    assert last.day.wear_eur == pytest.approx(0.8)
    assert last.day.earned_eur == pytest.approx(4.0)
    assert last.month.real.peak_kw == pytest.approx(10)
    assert last.month.real.demand_eur == pytest.approx(5.0)
    assert last.month.ghosts.peak_kw == pytest.approx(10 + 20 / 12, abs=1e-3)
    assert last.month.earned_demand_eur == pytest.approx(-0.5 * 20 / 12, abs=1e-3)
    assert last.day.earned_demand_eur is None


class Reborn(Ghosts):
    """Goes through its snapshot before every turn."""

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        fresh = Ghosts(self._site, self._make)
        fresh.restore(json.loads(json.dumps(super().snapshot())))
        sent = fresh.act(turn, inbox)
        super().restore(json.loads(json.dumps(fresh.snapshot())))
        return sent


def test_a_restart_in_every_turn_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    site = hall({"newbess": IDEAL, "newcharger": Charger(max_charge_kw=5)})
    history = live(site, hours=3)
    monkeypatch.setattr("services.ghosts.participant.Ghosts", Reborn)
    again = live(site, hours=3)
    assert said(again) == said(history)
    assert len(said(again)) == 2


def test_the_real_site_says_the_same_with_and_without_ghosts_to_the_last_bit() -> None:
    def heard(ghosts: dict[str, Any]) -> list[Any]:
        site = hall(ghosts)
        site = site.model_copy(update={"devices": {**site.devices, "bess": REAL_BATTERY}})
        history = live(site, hours=4)
        return [
            (str(each.topic), each.stamp.ts, each.stamp.seq, each.body)
            for each in history.messages(RUN)
            if each.topic.kind is not Kind.GHOSTS
        ]

    alone = heard({})
    assert heard({"newbess": IDEAL}) == alone
    assert any(topic.endswith("/setpoint") for topic, *_ in alone)


def test_ghosts_are_in_no_run_that_nobody_needs_them_in() -> None:
    site = hall({"newbess": IDEAL})
    assert GHOSTS in members(site)
    assert GHOSTS not in required(site)
    assert GHOSTS not in members(hall({}))
    described = ghost_worlds(site, live(site, hours=1).info(RUN).t0, 900)
    assert described.unmanaged is None


def test_without_ghosts_there_is_nothing_to_run() -> None:
    site = hall({})
    with raises(Code.MISSING, "ghosts"):
        list(ghosts_over(live(site, hours=1), RUN, site))


@pytest.mark.parametrize(
    ("ghosts", "where"),
    [
        ({"load": IDEAL}, "ghosts.load"),
        ({"real-site": IDEAL}, "ghosts.real-site"),
        ({"ems": IDEAL}, "ghosts.ems"),
        ({"new": IDEAL.model_copy(update={"node": "MB"})}, "ghosts.new.node"),
        ({"new": IDEAL.model_copy(update={"shadow": True})}, "ghosts.new.shadow"),
    ],
)
def test_a_ghost_that_cannot_be_is_named(ghosts: dict[str, Any], where: str) -> None:
    with pytest.raises(ValueError, match=where):
        Site.model_validate(hall({}).model_dump() | {"ghosts": {k: g.model_dump() for k, g in ghosts.items()}})


def test_no_alarm_comes_of_a_sound_day() -> None:
    alarms = [each.body for each in live(hall({"newbess": IDEAL}), hours=2).messages(RUN, Channel.ALARM)]
    assert [each for each in alarms if isinstance(each, Alarm)] == []
