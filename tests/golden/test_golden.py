"""Golden cases: the power flow against pandapower's, for inputs and results that lie in one folder each.

The results are made by `make/expected.py` in an environment of its own; here only the JSON is read.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.site import Network
from sites.loader import load_site
from twin_devices.network.electrical import power_flow_of
from twin_devices.physics.power_flow import Array, Flows

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/input.json"))
VOLTAGE_PU = 1e-8
POWER_KW = 1e-6


def read(case: str, file: str) -> Any:
    return json.loads((HERE / case / file).read_text(encoding="utf-8"))


def solved(case: str) -> Flows:
    given = read(case, "input.json")
    flow = power_flow_of(Network.model_validate(given["network"]), unbalanced=given["unbalanced"])
    order = [given["nodes"].index(node) for node in flow.nodes]
    active, reactive = (np.array(given[name])[:, order] for name in ("active_kw", "reactive_kvar"))
    found = flow.flows(active, reactive)
    back = [flow.nodes.index(node) for node in given["nodes"]]
    return Flows(
        found.pcc_kw,
        found.pcc_kvar,
        found.losses_kw,
        found.branch_losses_kw,
        found.voltages_pu[:, back],
        found.loadings_frac,
    )


def apart(ours: Array, expected: list[Any]) -> float:
    return float(np.abs(ours - np.array(expected)).max())


def test_there_are_all_cases() -> None:
    assert CASES == [
        "cigre_lv_residential",
        "default_day",
        "low_voltage_connection",
        "reverse_flow",
        "tapped",
        "unbalanced",
    ]
    assert len(read("default_day", "input.json")["active_kw"]) == 96


@pytest.mark.parametrize("case", CASES)
def test_voltages_agree_with_pandapower(case: str) -> None:
    assert apart(solved(case).voltages_pu, read(case, "expected.json")["voltages_pu"]) <= VOLTAGE_PU


@pytest.mark.parametrize("case", CASES)
def test_powers_and_losses_agree_with_pandapower(case: str) -> None:
    ours, expected = solved(case), read(case, "expected.json")
    assert apart(ours.pcc_kw.sum(axis=1), expected["pcc_kw"]) <= POWER_KW
    assert apart(ours.pcc_kvar.sum(axis=1), expected["pcc_kvar"]) <= POWER_KW
    assert apart(ours.losses_kw, expected["losses_kw"]) <= POWER_KW
    assert apart(ours.branch_losses_kw, expected["branch_losses_kw"]) <= POWER_KW
    if "phase_pcc_kw" in expected:
        assert apart(ours.pcc_kw, expected["phase_pcc_kw"]) <= POWER_KW


@pytest.mark.parametrize("case", [case for case in CASES if not read(case, "input.json")["unbalanced"]])
def test_loadings_agree_with_pandapower(case: str) -> None:
    assert apart(solved(case).loadings_frac, read(case, "expected.json")["loadings_frac"]) <= VOLTAGE_PU


def test_the_default_day_is_that_of_the_site_in_the_box() -> None:
    """Its network, and the columns that no plan moves: the load and PV. After a change of the site:
    make/default_day.py, then make/expected.py."""
    given, site = read("default_day", "input.json"), load_site("fit_g2v")
    assert Network.model_validate(given["network"]) == site.network
    assert given["nodes"] == list(site.network.nodes)
    active = np.array(given["active_kw"])
    for name, sign, profile in (("building", 1, "load_measured"), ("pv", -1, "pv_clear")):
        node = site.devices[name].node or site.network.main_node
        others = [other for other, device in site.devices.items() if other != name and device.node == node]
        assert not others, "the column is of one device"
        values = np.array(site.profiles[profile].values)
        assert active[:, given["nodes"].index(node)] == pytest.approx(sign * values, abs=1e-9), name
