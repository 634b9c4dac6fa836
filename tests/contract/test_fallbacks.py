"""What devices do together without an EMS, against connection, groups, cables and limits from outside.

Numbers are sums of ratings by hand. 6 A a phase at 230 V are 1.38 kW (IEC 61851-1).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Code
from schemas.fallbacks import FallbackLimits, described, fallback_faults
from schemas.limits import Limits
from schemas.messages import Birth, ChargerNameplate, Fallback, Limit, Stamp, TimeMode
from schemas.participant import Received
from schemas.site import Charger
from schemas.topics import Channel, Kind, Topic
from services.ems.fallback_watch import FALLBACKS_ABOVE_LIMIT, FallbackWatch
from services.ems.system_state import DeviceState
from sites.loader import builtin_sites, load_site
from tests.cli.calling import call
from tests.twins.builders import bess, charger, pv, site
from twin_devices.build import build_twin
from twinswarm.simulation.variants import Reference, StorageChoice, with_storage

T0 = datetime(2024, 5, 17, 8, tzinfo=UTC)
LOAD = {"kind": "meter", "profile": "base"}
"""37 kW at most."""
EIGHT = {f"ev{number}": charger(fallback="uncontrolled", max_discharge_kw=0.0) for number in range(1, 9)}
"""Eight one-way chargers of 20 kW."""


def connection(import_kw: float, export_kw: float = 500.0) -> dict[str, float]:
    return {"import_limit_kw": import_kw, "export_limit_kw": export_kw}


def busbar(devices: dict[str, Any], **changes: Any) -> Any:
    return site(devices, network={}, **changes)


def test_a_site_whose_fallbacks_are_above_its_connection_is_a_fault_that_names_them_and_what_is_allowed() -> None:
    narrow = busbar(EIGHT | {"load": LOAD}, connection=connection(100.0))
    (fault,) = fallback_faults(narrow)
    assert (fault.where, fault.received, fault.code) == ("connection.import_limit_kw", "100", Code.CONFLICT)
    assert "up to 197 kW (load 37, ev1 20, ev2 20" in fault.what
    assert "the connection allows 100 kW" in fault.what
    assert "may have 63 kW in all" in fault.what
    assert fallback_faults(busbar(EIGHT | {"load": LOAD}, connection=connection(197.0))) == []


@pytest.mark.parametrize(
    ("changes", "kw"),
    [
        ({"max_discharge_kw": 0.0}, 20.0),
        ({}, 4.14),
        ({"min_power_kw": 5.0}, 5.0),
        ({"current": "ac", "phases": 1, "max_charge_kw": 7.36, "max_discharge_kw": 7.36}, 1.38),
        ({"max_charge_kw": 3.0, "max_discharge_kw": 3.0}, 3.0),
        ({"fallback_kw": 11.0}, 11.0),
        ({"fallback_kw": 0.0}, 0.0),
        ({"controllable": False, "fallback_kw": 11.0}, 20.0),
        ({"controllable": False}, 20.0),
        ({"fallback": "idle"}, 0.0),
        ({"fallback": "hold"}, 20.0),
    ],
)
def test_a_bidirectional_charger_falls_back_to_its_least_power_unless_the_site_says_otherwise(
    changes: dict[str, Any], kw: float
) -> None:
    one = Charger.model_validate(charger(**{"fallback": "uncontrolled"} | changes))
    assert one.nameplate.draws_on(one.reverts_to) == pytest.approx(kw)


@pytest.mark.parametrize("kw", [20.5, 1.0])
def test_a_fallback_power_that_the_charger_cannot_have_is_refused(kw: float) -> None:
    with pytest.raises(ValueError, match=rf"fallback_kw {kw} is (above max_charge_kw 20.0|below min_power_kw 2.0)"):
        Charger.model_validate(charger(fallback_kw=kw, min_power_kw=2.0))


def test_the_same_charger_without_v2g_falls_back_to_the_same_power() -> None:
    whole = busbar({"ev1": charger(fallback="uncontrolled")})
    for reference, kw in ((Reference.SMART, 4.14), (Reference.UNCONTROLLED, 20.0)):
        one = with_storage(whole, StorageChoice.BESS, reference).devices["ev1"]
        assert one.nameplate.draws_on(one.reverts_to) == pytest.approx(kw)


def test_what_fallbacks_may_give_counts_against_the_export_limit() -> None:
    holding = bess(fallback="hold")
    (fault,) = fallback_faults(busbar({"pv": pv(), "bess": holding}, connection=connection(500.0, 60.0)))
    assert fault.where == "connection.export_limit_kw"
    assert "give up to 66 kW (pv 50, bess 16)" in fault.what
    idle = {"pv": pv(fallback="idle"), "bess": bess()}
    assert fallback_faults(busbar(idle, connection=connection(500.0, 0.0))) == []


def test_groups_have_limits_of_their_own() -> None:
    group = {"cable_limits": [{"name": "cars", "devices": list(EIGHT), "limit_kw": 159.0}]}
    (fault,) = fallback_faults(busbar(EIGHT | {"load": LOAD}, ems=group))
    assert fault.where == "ems.cable_limits.0.limit_kw"
    assert "the group cars of cable_limits allows 159 kW" in fault.what


def test_a_cable_and_each_of_its_phases() -> None:
    """The cable to EV carries √3 · 0.4 kV · 100 A = 69.3 kW, 23.1 kW a phase."""
    cable = [{"from_node": "TR_LV", "to_node": "MB", "r_mohm": 1, "x_mohm": 1, "ampacity_a": 1000}]
    cable.append({"from_node": "MB", "to_node": "EV", "r_mohm": 1, "x_mohm": 1, "ampacity_a": 100})
    at_ev = {name: one | {"node": "EV"} for name, one in EIGHT.items()}
    three, four = dict(list(at_ev.items())[:3]), dict(list(at_ev.items())[:4])
    assert fallback_faults(site(three, cable)) == []
    (fault,) = fallback_faults(site(four, cable))
    assert "MB-EV allows 69.28 kW" in fault.what
    single = charger(fallback="uncontrolled", max_discharge_kw=0.0, max_charge_kw=7.36, phases=1, phase="b", node="EV")
    (fault,) = fallback_faults(site(three | {"ac": single}, cable))
    assert "phase b of MB-EV allows 23.09 kW" in fault.what
    assert "up to 27.36 kW" in fault.what
    switch = {
        "current": "ac",
        "max_charge_kw": 11.04,
        "max_discharge_kw": 0.0,
        "min_power_kw": 4.14,
        "phase_switch": {},
    }
    wallbox = charger(**switch, fallback="uncontrolled", fallback_kw=3.5, phase="b", node="EV")
    (fault,) = fallback_faults(site(three | {"ac": wallbox}, cable))
    assert "phase b of MB-EV allows 23.09 kW" in fault.what
    assert "up to 23.5 kW" in fault.what, "20 kW of three, and 3.5 kW on one phase alone"
    assert fallback_faults(site(three | {"ac": wallbox | {"fallback_kw": 9.0}}, cable)) == [], "3 kW on each of three"


def test_loads_above_the_limit_are_no_fault_of_fallbacks() -> None:
    assert fallback_faults(busbar({"load": LOAD, "bess": bess()}, connection=connection(10.0))) == []


@pytest.mark.parametrize("name", builtin_sites())
def test_the_sites_in_the_box_are_safe(name: str) -> None:
    assert fallback_faults(load_site(name)) == []


def known(name: str, plate: ChargerNameplate, fallback: Fallback) -> DeviceState:
    birth = Birth(
        nameplate=plate, time_modes=(TimeMode.WALL,), fallback=fallback, software="real", telemetry_period_s=5
    )
    return DeviceState(Kind.CHARGER, "life", birth)


def plate(**changes: Any) -> ChargerNameplate:
    given = {"max_charge_kw": 22.5, "max_discharge_kw": 22.5, "charge_efficiency": 0.9, "discharge_efficiency": 0.9}
    return ChargerNameplate(**given | changes)


def test_the_ems_names_real_devices_whose_fallbacks_are_above_the_connection_until_one_leaves() -> None:
    watch = FallbackWatch(busbar({"bess": bess()}, connection=connection(80.0)), {})
    four = {f"ev{number}": known(f"ev{number}", plate(), Fallback.UNCONTROLLED) for number in range(1, 5)}
    (alarm,) = watch.observe(Limits(), four, T0)
    assert (alarm.code, alarm.active, alarm.value, alarm.limit) == (FALLBACKS_ABOVE_LIMIT, True, 90.0, 80.0)
    assert "ev4 22.5" in alarm.text
    assert watch.observe(Limits(), four, T0) == []
    resumed = FallbackWatch(busbar({"bess": bess()}, connection=connection(80.0)), {})
    resumed.restore(watch.snapshot())
    assert resumed.observe(Limits(), four, T0) == []
    (over,) = resumed.observe(Limits(), dict(list(four.items())[:3]), T0)
    assert (over.code, over.active) == (FALLBACKS_ABOVE_LIMIT, False)


def test_against_a_limit_from_outside_those_count_that_obey_nobody() -> None:
    watch = FallbackWatch(busbar({"bess": bess()}), {})
    limits = Limits()
    body = Limit(source="grid operator", valid_from=T0, valid_until=T0 + timedelta(hours=1), import_kw=20.0)
    topic = Topic("house", Kind.LIMITER, "box", Channel.LIMIT)
    limits.receive(Received(topic, Stamp(ts=T0, run=None, boot="box", seq=1), body))
    obeying = known("ev1", plate(), Fallback.UNCONTROLLED)
    stubborn = known("ev2", plate(controllable=False), Fallback.UNCONTROLLED)
    (alarm,) = watch.observe(limits, {"ev1": obeying, "ev2": stubborn}, T0)
    assert (alarm.value, alarm.limit) == (22.5, 20.0)
    assert "grid operator at pcc allows 20 kW: none of them takes set-points" in alarm.text
    (over,) = watch.observe(limits, {"ev1": obeying, "ev2": stubborn}, T0 + timedelta(hours=2))
    assert not over.active


def test_the_described_devices_are_those_of_the_births() -> None:
    """What `check` says of a site is what the EMS hears from its twins."""
    whole = load_site("carpark")
    births = {name: build_twin(whole, name).birth() for name in whole.devices}
    behaviours = described(whole)
    for name, birth in births.items():
        assert behaviours[name].draws_kw == birth.nameplate.draws_on(birth.fallback)
    assert list(FallbackLimits(whole).excesses(behaviours)) == []


@pytest.mark.parametrize("command", [["check"], ["provision", "site"]])
def test_check_and_provision_end_with_the_fault(command: list[str], tmp_path: Path) -> None:
    narrow = busbar(EIGHT, connection=connection(100.0))
    (tmp_path / "site.json").write_text(narrow.model_dump_json(), encoding="utf-8")
    ended = call(*command, "site.json", cwd=tmp_path)
    assert ended.returncode == 2
    assert "connection.import_limit_kw: without an EMS the devices together draw up to 160 kW" in ended.stderr
    assert not (tmp_path / "provisioned").exists()
