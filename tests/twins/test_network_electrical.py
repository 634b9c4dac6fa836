"""A site's network: who is on which phase, what is told of it, and the batch mode."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pytest import approx

from schemas.messages import Alarm, ChargerTelemetry, MeterTelemetry, NetworkTelemetry, Phase, Telemetry
from schemas.participant import Received
from schemas.site import phases_of
from schemas.topics import Kind
from tests.twins.builders import T0, Bench, charger, device_topic, pv, received, site
from twin_devices.build import build_network
from twin_devices.network.electrical import SiteNetwork
from twin_devices.physics.load import power_factor_of

ONE_PHASE = {"phases": 1, "max_charge_kw": 7.4, "max_discharge_kw": 0.0, "current": "ac"}


def told(kind: Kind, name: str, power_kw: float) -> Received:
    body: Telemetry = (ChargerTelemetry if kind is Kind.CHARGER else MeterTelemetry)(power_kw=power_kw)
    return received(device_topic(kind, name), T0, 1, body)


def measured(devices: dict[str, Any], *inbox: Received) -> NetworkTelemetry:
    first = Bench(build_network(site(devices))).turn(Phase.MEASURE, T0, inbox)[0]
    assert isinstance(first.body, NetworkTelemetry)
    return first.body


def test_single_phase_chargers_take_the_phases_in_turn_unless_they_name_one() -> None:
    devices = {f"ev{i}": charger(node=f"EV0{i}", **ONE_PHASE) for i in (3, 1, 2, 5)}
    devices["ev4"] = charger(phase="a", **ONE_PHASE)
    devices["ev6"] = charger()
    assert phases_of(site(devices).devices) == {"ev1": 0, "ev2": 1, "ev3": 2, "ev4": 0, "ev5": 0}


def test_a_phase_is_for_chargers_with_one() -> None:
    with pytest.raises(ValidationError, match="has 3 phases"):
        site({"ev": charger(phase="b")})


def test_a_single_phase_charger_loads_its_phase() -> None:
    devices = {"ev": charger(node="EV01", phase="b", **ONE_PHASE)}
    telemetry = measured(devices, told(Kind.CHARGER, "ev", 7.4))
    assert telemetry.phase_voltages_pu is not None and telemetry.phase_power_kw is not None
    voltages = telemetry.phase_voltages_pu["EV01"]
    assert voltages[1] == min(voltages) == telemetry.voltages_pu["EV01"]
    assert sum(telemetry.phase_power_kw) == approx(telemetry.power_kw, abs=1e-9)
    # The phase's current: 7.4 kW at its voltage, of 75 A.
    assert telemetry.loadings_frac["CPB-EV01"] == approx(7400 / (voltages[1] * 400 / 3**0.5) / 75, rel=1e-9)


def test_a_site_of_three_phase_devices_is_solved_balanced() -> None:
    telemetry = measured({"ev": charger(node="EV01")}, told(Kind.CHARGER, "ev", 20.0))
    assert (telemetry.phase_voltages_pu, telemetry.phase_power_kw) == (None, None)


def test_one_phase_may_be_too_low_while_another_is_too_high() -> None:
    weak = [{"from_node": "TR_LV", "to_node": "MB", "r_mohm": 150.0, "x_mohm": 0.0, "ampacity_a": 250.0}]
    devices = {"ev": charger(phase="a", **(ONE_PHASE | {"max_charge_kw": 22.0}))}
    described = site(devices, cables=weak)
    narrow = described.network.model_copy(update={"voltage_min_pu": 0.95, "voltage_max_pu": 1.02})
    described = described.model_copy(update={"network": narrow})
    sent = Bench(build_network(described)).turn(Phase.MEASURE, T0, [told(Kind.CHARGER, "ev", 18.0)])
    alarms = [(message.body.code, message.body.element) for message in sent if isinstance(message.body, Alarm)]
    assert ("voltage_low", "MB") in alarms and ("voltage_high", "MB") in alarms


def test_losses_by_element_and_the_power_factor_are_told() -> None:
    devices = {"load": {"kind": "meter", "node": "OFF1", "profile": "base", "power_factor": 0.8}}
    telemetry = measured(devices, told(Kind.METER, "load", 40.0))
    assert telemetry.element_losses_kw is not None and telemetry.reactive_kvar is not None
    assert sum(telemetry.element_losses_kw.values()) == approx(telemetry.losses_kw, abs=1e-12)
    assert telemetry.element_losses_kw["transformer"] > 1.35  # its iron loss
    assert telemetry.element_losses_kw["CPB-EV01"] == approx(0, abs=1e-12)
    # 30 kvar of the load, and what cable and transformer take.
    assert telemetry.reactive_kvar == approx(30 + 0.6, abs=0.5)


DEVICES: dict[str, Any] = {
    "ev1": charger(node="EV01"),
    "ev2": charger(node="EV02"),
    "pv": pv(node="PV"),
    "load": {"kind": "meter", "profile": "base", "power_factor": 0.9},
}


@settings(deadline=None, max_examples=15)
@given(st.booleans(), st.lists(st.lists(st.floats(-20, 20), min_size=4, max_size=4), min_size=1, max_size=6))
def test_a_batch_gives_what_the_meter_tells(single: bool, rows: list[list[float]]) -> None:
    devices = DEVICES | ({"ev2": charger(node="EV02", **ONE_PHASE)} if single else {})
    network = SiteNetwork(site(devices))
    names = ["load", "ev2", "pv", "ev1"]
    flows = network.flows(names, np.array(rows))
    solutions = network.solve([network.injection(dict(zip(names, row, strict=True))) for row in rows])
    assert flows.losses_kw == approx(np.array([solution.losses_kw for solution in solutions]), abs=1e-10)
    assert flows.pcc_kw.sum(axis=1) == approx(np.array([solution.pcc_kw for solution in solutions]), abs=1e-9)
    assert flows.voltages_pu.shape[2] == (3 if single else 1)


@pytest.mark.parametrize("single", [False, True])
def test_what_a_network_solved_before_does_not_matter_to_the_last_bit(single: bool) -> None:
    devices = DEVICES | ({"ev2": charger(node="EV02", **ONE_PHASE)} if single else {})
    network = SiteNetwork(site(devices))
    # 1 GW is more than any voltages carry.
    injections = [network.injection({"load": kw, "ev2": 7.0}) for kw in (1.0, 2.0, 1e6, 1e6, 2.0, 2.0, 5.0, 1.0)]
    for pair in pairwise(injections):
        assert network.solve(pair) == SiteNetwork(site(devices)).solve(pair)


def test_a_batch_wants_a_column_for_each_device() -> None:
    with pytest.raises(ValueError, match="devices"):
        SiteNetwork(site(DEVICES)).flows(["ev1", "ev2"], np.zeros((4, 3)))


def test_a_batch_refuses_devices_that_the_site_does_not_know() -> None:
    with pytest.raises(ValueError, match="no devices of the site: ev9, laod; there are ev1, ev2, pv, load"):
        SiteNetwork(site(DEVICES)).flows(["ev1", "ev9", "laod"], np.zeros((4, 3)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_batch_refuses_power_that_is_no_number(bad: float) -> None:
    power_kw = np.zeros((4, 2))
    power_kw[2, 1] = bad
    network = SiteNetwork(site(DEVICES))
    with pytest.raises(ValueError, match="no finite number, of ev2"):
        network.flows(["ev1", "ev2"], power_kw)
    active = np.zeros((4, len(network.flow.nodes)))
    active[3, 1] = bad
    with pytest.raises(ValueError, match=f"at node {network.flow.nodes[1]} of injection 3"):
        network.flow.flows(active, np.zeros_like(active))


@pytest.mark.parametrize(("power_kw", "sign"), [(40.0, 1), (-40.0, -1)])
def test_the_power_factor_at_the_pcc_by_hand(power_kw: float, sign: int) -> None:
    """A load that gives what it draws: 40 kW and 30 kvar are 50 kVA, so 0.8 without a network. In between are an ideal
    cable and a transformer of 4 mΩ without reactance: it takes P² R / U² of 62.5 W = (50 kVA / 400 V)² · 4 mΩ."""
    network = {
        "transformer": {
            "to_node": "MB",
            "rated_kva": 400,
            "high_kv": 20,
            "low_kv": 0.4,
            "vk_frac": 0.01,
            "vkr_frac": 0.01,
            "iron_loss_kw": 0.0,
        },
        "cables": [],
        "main_node": "MB",
    }
    devices = {"load": {"kind": "meter", "profile": "base", "power_factor": 0.8}}
    first = Bench(build_network(site(devices, network=network))).turn(
        Phase.MEASURE, T0, [told(Kind.METER, "load", power_kw)]
    )[0]
    assert isinstance(first.body, NetworkTelemetry)
    assert first.body.power_factor == approx((power_kw + 0.0625) / math.hypot(power_kw + 0.0625, 30.0), abs=1e-5)
    assert first.body.power_factor is not None and first.body.power_factor * sign > 0


def test_without_power_there_is_no_power_factor() -> None:
    assert power_factor_of(0.0, 0.0) is None
    assert power_factor_of(1e-7, -1e-7) is None
    assert (power_factor_of(2e-6, 0.0), power_factor_of(-5.0, 0.0), power_factor_of(0.0, 3.0)) == (1.0, -1.0, 0.0)


# Single-phase loads and PV, and what reactive power they draw.


def test_single_phase_load_and_pv_are_on_their_phases_with_their_reactive_power() -> None:
    devices = {
        "load": {"kind": "meter", "profile": "base", "phases": 1, "phase": "a", "power_factor": 0.8},
        "pv": pv(phases=1, phase="c", power_factor=0.9, excitation="under"),
        "over": pv(power_factor=0.6, excitation="over"),
        "pcc": {"kind": "meter", "role": "submeter", "phases": 1},
    }
    described = site(devices)
    assert phases_of(described.devices) == {"load": 0, "pv": 2}
    network = SiteNetwork(described)
    injection = network.injection({"load": 4.0, "pv": -9.0, "over": -3.0})
    node = network.flow.nodes.index("MB")
    assert injection.single_phase_kw == ((node, 0, 4.0), (node, 2, -9.0))
    # Q = P tan(arccos(0.8)) = 3 kvar drawn; under-excited 9 · tan(arccos(0.9)) drawn; over-excited 4 kvar given.
    assert injection.single_phase_kvar == ((node, 0, approx(3.0)), (node, 2, approx(9.0 * 0.484322, rel=1e-5)))
    assert injection.active_kw[node] == -3.0
    assert injection.reactive_kvar[node] == approx(-4.0)
    (solution,) = network.solve([injection])
    assert solution.phase_pcc_kw and not solution.is_estimate
    names = ("load", "pv", "over")
    flows = network.flows(names, np.array([[4.0, -9.0, -3.0]]))
    assert flows.pcc_kw[0].sum() == approx(solution.pcc_kw, abs=1e-9)
    assert flows.pcc_kvar[0].sum() == approx(solution.pcc_kvar, abs=1e-9)


@pytest.mark.parametrize("device", [pv(phase="b"), {"kind": "meter", "profile": "base", "phase": "b"}])
def test_a_phase_is_for_single_phase_devices(device: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="has 3 phases"):
        site({"device": device})


# Without a network.


def busbar(**network: Any) -> dict[str, Any]:
    return {"network": network}


@given(st.floats(-400, 400), st.floats(0, 0.5))
def test_a_busbar_has_the_stated_losses_whichever_way_power_flows(power_kw: float, losses_frac: float) -> None:
    network = SiteNetwork(site({"ev": charger(), "pv": pv()}, **busbar(losses_frac=losses_frac)))
    (solution,) = network.solve([network.injection({"ev": 20.0, "pv": power_kw - 20.0})])
    assert solution.losses_kw == approx(losses_frac * abs(power_kw), abs=1e-9)
    assert solution.pcc_kw == approx(power_kw + solution.losses_kw, abs=1e-9)
    flows = network.flows(("ev", "pv"), np.array([[20.0, power_kw - 20.0]]))
    assert (flows.pcc_kw[0, 0], flows.losses_kw[0]) == (approx(solution.pcc_kw), approx(solution.losses_kw))


def test_a_busbar_with_single_phase_devices_is_solved_by_phase() -> None:
    devices = {"ev": charger(phase="b", **ONE_PHASE)}
    network = SiteNetwork(site(devices, **busbar(losses_frac=0.1)))
    (solution,) = network.solve([network.injection({"ev": 6.0})])
    assert solution.phase_pcc_kw == (approx(0.2), approx(6.2), approx(0.2))
    assert solution.pcc_kw == approx(6.6)


def test_the_network_twin_is_the_pcc_meter_of_a_site_without_a_network() -> None:
    described = site({"load": {"kind": "meter", "profile": "base"}}, **busbar())
    (sent,) = Bench(build_network(described)).turn(Phase.MEASURE, T0, [told(Kind.METER, "load", 40.0)])
    assert isinstance(sent.body, NetworkTelemetry)
    assert (sent.body.power_kw, sent.body.losses_kw) == (approx(40.0, abs=1e-9), 0.0)
    assert (sent.body.loadings_frac, list(sent.body.voltages_pu)) == ({}, ["PCC"])


# What makes no network.

TRANSFORMER = {"to_node": "LV", "rated_kva": 400, "high_kv": 20, "low_kv": 0.4, "vkr_frac": 0, "iron_loss_kw": 1}
CABLE = {"from_node": "PCC", "to_node": "MB", "r_mohm": 5.0, "x_mohm": 1.0, "ampacity_a": 100.0}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"transformer": TRANSFORMER | {"vk_frac": 1e-9}, "main_node": "LV"}, "greater than or equal to 0.00001"),
        ({"transformer": TRANSFORMER | {"vk_frac": 0.04}}, "main_node: is missing"),
        ({"cables": [CABLE]}, "main_node: is missing"),
        ({"cables": [CABLE], "main_node": "MB", "losses_frac": 0.02}, "losses_frac: is of a network without"),
        ({"cables": [CABLE | {"from_node": "X"}], "main_node": "MB"}, "without a connection to PCC: X, MB"),
        ({"main_node": "MB"}, "main_node: is not a node of the network"),
        (
            {"transformer": TRANSFORMER | {"vk_frac": 0.04}, "main_node": "LV", "nominal_kv": 0.23},
            "nominal_kv: is of a connection without a transformer",
        ),
        (
            {"transformer": TRANSFORMER | {"vk_frac": 0.04, "tap_pos": 9, "tap_step_frac": 0.05}, "main_node": "LV"},
            "tap_pos 9 times 0.05 is beyond",
        ),
    ],
)
def test_a_network_at_odds_with_itself_is_refused(network: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        site({"load": {"kind": "meter", "profile": "base"}}, network=network)
