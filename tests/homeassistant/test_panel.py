"""What a person sets at Home Assistant: taken when it is in order, else refused with what is wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.messages import (
    BessNameplate,
    Birth,
    ChargerNameplate,
    EmsMode,
    Fallback,
    HeatPumpNameplate,
    Plan,
    PlannedRequest,
    PlanStatus,
    PvNameplate,
    RequestedPower,
    TimeMode,
)
from schemas.topics import Channel, Kind, Topic
from services.homeassistant.discovery import ems_payload, payload
from services.homeassistant.panel import LEASE_S, Panel

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
EFFICIENCY = {"charge_efficiency": 0.95, "discharge_efficiency": 0.95}
BAND = {"soc_min_frac": 0.1, "soc_max_frac": 0.9}
BESS = BessNameplate(capacity_kwh=10, max_charge_kw=5, max_discharge_kw=4, **EFFICIENCY, **BAND)
CHARGER = ChargerNameplate(max_charge_kw=11, max_discharge_kw=0, **EFFICIENCY)
PV = PvNameplate(rated_kw=30, curtailable=True)


def birth(plate: Any) -> Birth:
    return Birth(
        nameplate=plate, telemetry_period_s=10.0, time_modes=(TimeMode.WALL,), fallback=Fallback.IDLE, software="x"
    )


@pytest.fixture
def panel() -> Panel:
    made = Panel("house", 4.0)
    for name, plate in (("bess", BESS), ("ev1", CHARGER), ("pv", PV)):
        made.meet(name, birth(plate))
    return made


def put(panel: Panel, device: str, what: str, text: str | bytes, *, retained: bool = False) -> str:
    content = text if isinstance(text, bytes) else text.encode()
    panel.command(f"twinswarm/house/{device}/{what}/set", content, NOW, retained=retained)
    return panel.states.get(f"twinswarm/house/{device}/status", "")


def test_a_number_is_asked_of_the_ems_in_mode_set_point_only(panel: Panel) -> None:
    put(panel, "bess", "setpoint", "-3.5")
    assert panel.request(NOW, 1.0).setpoints == {}
    assert put(panel, "bess", "mode", "set-point") == "asked for -3.5 kW"
    request = panel.request(NOW, 1.0)
    assert request.setpoints == {"bess": RequestedPower(power_kw=-3.5, until=NOW + timedelta(hours=4))}
    assert request.valid_until - request.valid_from == timedelta(seconds=LEASE_S)
    put(panel, "pv", "setpoint", "12")
    put(panel, "pv", "mode", "set-point")
    assert panel.request(NOW, 60.0).setpoints["pv"].limit_kw == 12.0
    put(panel, "bess", "mode", "ems")
    assert set(panel.request(NOW, 1.0).setpoints) == {"pv"}
    assert panel.states["twinswarm/house/bess/mode"] == "ems"
    assert panel.states["twinswarm/house/bess/setpoint"] == "-3.5"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("NaN", "refused: -4 to 5 kW are allowed, not 'NaN'"),
        ("inf", "refused: -4 to 5 kW are allowed, not 'inf'"),
        ("1e9", "refused: -4 to 5 kW are allowed, not '1e9'"),
        ("5.01", "refused: -4 to 5 kW are allowed, not '5.01'"),
        ("full", "refused: -4 to 5 kW are allowed, not 'full'"),
        ("", "refused: -4 to 5 kW are allowed, not ''"),
        (b"\xff\xfe\x00", "refused: -4 to 5 kW are allowed, not"),
        ('{"power_kw": 1}', "refused: -4 to 5 kW are allowed, not"),
        ("1" * 5000, "refused: '111"),
    ],
)
def test_a_bad_number_changes_nothing_and_says_what_is_allowed(panel: Panel, text: str | bytes, refusal: str) -> None:
    put(panel, "bess", "setpoint", "2")
    put(panel, "bess", "mode", "set-point")
    before = panel.request(NOW, 1.0)
    assert put(panel, "bess", "setpoint", text).startswith(refusal)
    assert panel.request(NOW, 1.0) == before
    assert panel.states["twinswarm/house/bess/setpoint"] == "2"
    assert len(panel.states["twinswarm/house/bess/status"]) <= 255


def test_what_the_broker_kept_is_not_obeyed(panel: Panel) -> None:
    put(panel, "bess", "setpoint", "2")
    assert put(panel, "bess", "mode", "set-point", retained=True).endswith("old commands are not obeyed")
    put(panel, "ems", "mode", "standby", retained=True)
    assert not panel.asks


def test_other_refusals(panel: Panel) -> None:
    assert put(panel, "bess", "mode", "set-point") == "refused: there is no set-point yet; set the number first"
    assert put(panel, "bess", "mode", "off") == "refused: a mode is ems or set-point, not 'off'"
    assert put(panel, "ems", "mode", "off") == "refused: a mode is on or standby, not 'off'"
    assert put(panel, "ev1", "setpoint", "-1").startswith("refused: 0 to 11 kW"), "no V2G there"
    panel.command("twinswarm/house/bess/setpoint/set", b"1", None, retained=False)
    assert panel.states["twinswarm/house/bess/status"] == "refused: no run in wall time goes on"
    for topic in ("ghost/setpoint", "bess/colour", "ems/setpoint", "bess", ""):
        panel.command(f"twinswarm/house/{topic}/set", b"1", NOW, retained=False)
    assert not panel.asks


def test_mode_and_standby_end_by_themselves_and_at_once_when_nobody_is_there(panel: Panel) -> None:
    put(panel, "bess", "setpoint", "2")
    put(panel, "bess", "mode", "set-point")
    put(panel, "ems", "mode", "standby")
    panel.look(NOW + timedelta(hours=3, minutes=59))
    assert panel.asks
    assert panel.request(NOW, 1.0).standby_until == NOW + timedelta(hours=4)
    panel.look(NOW + timedelta(hours=4))
    assert not panel.asks
    assert panel.states["twinswarm/house/bess/status"] == "the EMS decides: 4 h are over"
    assert panel.states["twinswarm/house/ems/mode"] == "on"
    put(panel, "bess", "mode", "set-point")
    panel.release("Home Assistant is gone")
    assert not panel.asks
    assert panel.states["twinswarm/house/bess/status"] == "the EMS decides: Home Assistant is gone"


def test_it_shows_what_the_ems_makes_of_it(panel: Panel) -> None:
    put(panel, "bess", "setpoint", "5")
    put(panel, "bess", "mode", "set-point")
    until = NOW + timedelta(hours=4)
    fields = {"epoch": 1, "mode": EmsMode.CONTROL, "status": PlanStatus.OPTIMAL, "start": NOW, "step_s": 900}

    def plan(**answer: Any) -> Plan:
        given = {"source": "Home Assistant", "asked_kw": 5.0, "until": until} | answer
        return Plan(**fields, objective_eur=0.0, requests={"bess": PlannedRequest(**given)})

    panel.hear(plan(asked_kw=3.0, planned_kw=3.0))
    assert panel.states["twinswarm/house/bess/status"] == "asked for 5 kW", "that was another request"
    panel.hear(plan(planned_kw=5.0))
    assert panel.states["twinswarm/house/bess/status"] == "5 kW"
    panel.hear(plan(planned_kw=2.25, reason="a limit"))
    assert panel.states["twinswarm/house/bess/status"] == "2.25 kW of 5 kW: a limit"
    panel.hear(plan(reason="standby"))
    assert panel.states["twinswarm/house/bess/status"] == "nothing of 5 kW: standby"


def test_only_what_takes_powers_can_be_set(panel: Panel) -> None:
    def parts(kind: Kind, plate: Any, *, commands: bool = True) -> dict[str, Any]:
        found = payload(Topic("house", kind, "x", Channel.BIRTH), birth(plate), commands=commands)
        assert found is not None
        return dict(found["components"])

    bess = parts(Kind.BESS, BESS)
    assert (bess["setpoint"]["platform"], bess["setpoint"]["min"], bess["setpoint"]["max"]) == ("number", -4, 5)
    assert bess["mode"]["options"] == ["ems", "set-point"]
    assert bess["setpoint"]["command_topic"] == "twinswarm/house/x/setpoint/set"
    assert bess["setpoint"]["availability"][1] == {"topic": "twinswarm/house/homeassistant/state"}
    assert parts(Kind.PV, PV)["setpoint"]["min"] == 0
    pump = HeatPumpNameplate(max_power_kw=5, buffer_kwh=20, **BAND)
    for kind, plate in (
        (Kind.HEATPUMP, pump),
        (Kind.PV, PvNameplate(rated_kw=30, curtailable=False)),
        (Kind.CHARGER, CHARGER.model_copy(update={"controllable": False})),
    ):
        assert "setpoint" not in parts(kind, plate), kind
    assert "setpoint" not in parts(Kind.BESS, BESS, commands=False)
    ems = ems_payload(Topic("house", Kind.EMS, "ems", Channel.BIRTH), birth(BESS))
    assert ems["components"]["mode"]["options"] == ["on", "standby"]
