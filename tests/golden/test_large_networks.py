"""Networks of 100 to 600 nodes, with cables of 0.01 mΩ among them, against pandapower."""

import json
from pathlib import Path

import numpy as np
import pytest

from schemas.site import Network
from tests.golden.make.large import CASES, large
from twin_devices.network.electrical import power_flow_of
from twin_devices.physics.power_flow import TIGHTEST_PU, Injection

EXPECTED = json.loads((Path(__file__).parent / "large_networks" / "expected.json").read_text(encoding="utf-8"))
VOLTAGE_PU = 1e-8
POWER_KW = 1e-5


@pytest.mark.parametrize("name", CASES)
def test_a_large_network_agrees_with_pandapower(name: str) -> None:
    given, expected = large(name), EXPECTED[name]
    flow = power_flow_of(Network.model_validate(given["network"]))
    order = [given["nodes"].index(node) for node in flow.nodes]
    steps = zip(given["active_kw"], given["reactive_kvar"], strict=True)
    injections = [Injection(tuple(kw[i] for i in order), tuple(kvar[i] for i in order)) for kw, kvar in steps]
    for solution, pcc, kvar, losses, voltages in zip(
        flow.solve(injections),
        expected["pcc_kw"],
        expected["pcc_kvar"],
        expected["losses_kw"],
        expected["voltages_pu"],
        strict=True,
    ):
        assert solution is not None
        assert solution.pcc_kw == pytest.approx(pcc, abs=POWER_KW)
        assert solution.pcc_kvar == pytest.approx(kvar, abs=POWER_KW)
        assert solution.losses_kw == pytest.approx(losses, abs=POWER_KW)
        ours = dict(zip(flow.nodes, solution.voltages_pu, strict=True))
        apart = [ours[node] - voltage for node, (voltage,) in zip(given["nodes"], voltages, strict=True)]
        assert np.abs(apart).max() <= VOLTAGE_PU


def test_the_first_tolerance_follows_the_network() -> None:
    """That of a small one is the least, and a shorter element raises it, in steps of ten up to the loosest."""
    small, long = (power_flow_of(Network.model_validate(large(name)["network"])) for name in ("tree_200", "chain_600"))
    assert small.tolerances[0] >= TIGHTEST_PU
    assert TIGHTEST_PU < long.tolerances[0] < 1e-11
    for flow in (small, long):
        assert flow.tolerances[-1] == 1e-8
        assert all(1 < b / a <= 10.001 for a, b in zip(flow.tolerances, flow.tolerances[1:], strict=False))


@pytest.mark.parametrize("r_mohm", [1e-3, 1e-4, 1e-6])
def test_a_cable_of_almost_no_resistance_loses_almost_nothing(r_mohm: float) -> None:
    """3 I² R by hand; it was beyond the iteration's tolerance from 1e-4 mΩ on."""
    given = large("chain_100")["network"]
    cable = given["cables"][0] | {"r_mohm": r_mohm, "x_mohm": r_mohm}
    flow = power_flow_of(Network.model_validate(given | {"cables": [cable]}))
    for power_kw in (0.0, 37.3, 100.0, -250.0):
        (solution,) = flow.solve([Injection((0.0, 0.0, power_kw), (0.0, 0.0, 0.0))])
        assert solution is not None
        ampere = abs(power_kw) / (3**0.5 * 0.4 * solution.voltages_pu[2])
        assert solution.branch_losses_kw[0] == pytest.approx(3 * ampere**2 * r_mohm * 1e-6, rel=1e-3, abs=1e-8)
