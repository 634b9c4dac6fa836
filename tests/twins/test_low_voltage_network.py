"""The default low-voltage network, against a forward-backward sweep written out here."""

import cmath
import math

from pytest import approx

from tests.twins.builders import lv_cables, site
from twin_devices.network.electrical import power_flow_of
from twin_devices.physics.power_flow import Injection, PowerFlow, Solution

TEN_CHARGERS = {f"EV{i:02d}": 22.0 for i in range(1, 11)}


def network() -> PowerFlow:
    return power_flow_of(site({"load": {"kind": "meter", "profile": "base"}}).network)


def solve(flow: PowerFlow, loads: dict[str, complex]) -> Solution:
    powers = [complex(loads.get(node, 0.0)) for node in flow.nodes]
    (solution,) = flow.solve([Injection(tuple(s.real for s in powers), tuple(s.imag for s in powers))])
    assert solution is not None
    return solution


def sweep(loads: dict[str, complex]) -> tuple[float, float, float, dict[str, float]]:
    """PCC power, cable and transformer losses [kW], voltages [pu]: forward-backward sweep of a radial network.

    Line-to-line volts on the 400 V side, three-phase powers in VA. Transformer: vk 6 %, vkr 1.425 %, iron loss 1.35 kW
    as a conductance, half on either side (π circuit). Independent of the product but for the cable table.
    """
    cables = lv_cables()
    base = 400.0**2 / 400e3
    impedance = complex(0.01425, math.sqrt(0.06**2 - 0.01425**2)) * base
    branches = [("PCC", "TR_LV", impedance)]
    branches += [(c["from_node"], c["to_node"], complex(c["r_mohm"], c["x_mohm"]) / 1e3) for c in cables]
    half_shunt_w = 1350.0 / 2 / 400.0**2
    nodes = ["PCC", *(to for _, to, _ in branches)]
    volts = dict.fromkeys(nodes, 400.0 + 0j)
    currents: dict[str, complex] = {}
    for _ in range(100):
        # ``u · conj(i)`` is the three-phase power: i is √3 times the line current.
        drawn = {node: (complex(loads.get(node, 0.0)) * 1e3 / volts[node]).conjugate() for node in nodes}
        drawn["TR_LV"] += half_shunt_w * volts["TR_LV"]
        for start, to, _ in reversed(branches):
            currents[to] = drawn[to]
            drawn[start] += drawn[to]
        for start, to, z in branches:
            volts[to] = volts[start] - z * currents[to]
    losses = {to: abs(currents[to]) ** 2 * z.real / 1e3 for _, to, z in branches}
    shunts = half_shunt_w * (400.0**2 + abs(volts["TR_LV"]) ** 2) / 1e3
    pcc = (volts["PCC"] * drawn["PCC"].conjugate()).real / 1e3 + half_shunt_w * 400.0**2 / 1e3
    transformer = losses.pop("TR_LV") + shunts
    return pcc, sum(losses.values()), transformer, {node: abs(u) / 400.0 for node, u in volts.items()}


def test_it_agrees_with_a_forward_backward_sweep() -> None:
    loads = {**TEN_CHARGERS, "OFF1": 20 + 8j, "OFF2": 15 + 3j, "HVAC": 12 + 9j, "PV": -60 + 0j, "BESS": -10 + 0j}
    flow = network()
    ours = solve(flow, loads)
    pcc, cables, transformer, voltages = sweep(loads)
    assert ours.pcc_kw == approx(pcc, abs=1e-8)
    assert ours.losses_kw == approx(cables + transformer, abs=1e-8)
    assert dict(zip(flow.nodes, ours.voltages_pu, strict=True)) == approx(voltages, abs=1e-10)


def test_losses_are_the_same_in_both_directions_but_for_the_voltage() -> None:
    flow = network()
    drawn, delivered = (solve(flow, {"PV": sign * 50 + 0j}) for sign in (1, -1))
    assert delivered.losses_kw == approx(drawn.losses_kw, rel=0.05)
    assert delivered.losses_kw < drawn.losses_kw
    assert cmath.isfinite(delivered.pcc_kw)
