"""Writes every case's expected.json by pandapower.

In an environment of its own (requirements.txt): ``python tests/golden/make/expected.py``. Of the product nothing is
imported; input.json alone says what is solved.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
from large import CASES, large
from pandapower.pf import runpp_3ph as three_phase

GOLDEN = Path(__file__).parents[1]
STIFF_MVA = 1e11
"""Short-circuit power of the grid in three-phase flows: so stiff that the source's voltages do not move."""
NO_MAGNETISING_PERCENT = 1e15
"""Zero-sequence magnetising impedance over the short-circuit impedance: none, as in the product's Dyn transformer."""


def network(given: Any) -> tuple[Any, dict[str, int]]:
    table = given["network"]
    trafo = table["transformer"]
    net = pp.create_empty_network(f_hz=50)
    high = trafo["from_node"]
    buses = {node: pp.create_bus(net, trafo["high_kv"] if node == high else trafo["low_kv"]) for node in given["nodes"]}
    pp.create_ext_grid(
        net,
        buses[high],
        vm_pu=table.get("source_voltage_pu", 1.0),
        s_sc_max_mva=STIFF_MVA,
        rx_max=0.1,
        x0x_max=1.0,
        r0x0_max=0.1,
    )
    for cable in table["cables"]:
        pp.create_line_from_parameters(
            net,
            buses[cable["from_node"]],
            buses[cable["to_node"]],
            length_km=1.0,
            r_ohm_per_km=cable["r_mohm"] / 1e3,
            x_ohm_per_km=cable["x_mohm"] / 1e3,
            c_nf_per_km=0.0,
            max_i_ka=cable["ampacity_a"] / 1e3,
            r0_ohm_per_km=cable["r_mohm"] / 1e3 * cable.get("r0_factor", 4.0),
            x0_ohm_per_km=cable["x_mohm"] / 1e3 * cable.get("x0_factor", 4.0),
            c0_nf_per_km=0.0,
        )
    iron = trafo["iron_loss_kw"] / trafo["rated_kva"]
    pp.create_transformer_from_parameters(
        net,
        buses[high],
        buses[trafo["to_node"]],
        sn_mva=trafo["rated_kva"] / 1e3,
        vn_hv_kv=trafo["high_kv"],
        vn_lv_kv=trafo["low_kv"],
        vk_percent=trafo["vk_frac"] * 100,
        vkr_percent=trafo["vkr_frac"] * 100,
        pfe_kw=trafo["iron_loss_kw"],
        i0_percent=max(trafo.get("no_load_current_frac", 0.0), iron) * 100,
        shift_degree=30.0 * trafo.get("clock", 5),
        vector_group="Dyn",
        vk0_percent=trafo["vk_frac"] * 100,
        vkr0_percent=trafo["vkr_frac"] * 100,
        mag0_percent=NO_MAGNETISING_PERCENT,
        mag0_rx=0.0,
        si0_hv_partial=0.9,
    )
    return net, buses


def balanced(given: Any, tolerance_mva: float = 1e-11) -> Any:
    net, buses = network(given)
    for bus in buses.values():
        pp.create_load(net, bus, p_mw=0.0, q_mvar=0.0)
    found: dict[str, list[Any]] = {}
    for active, reactive in zip(given["active_kw"], given["reactive_kvar"], strict=True):
        net.load["p_mw"], net.load["q_mvar"] = np.array(active) / 1e3, np.array(reactive) / 1e3
        pp.runpp(
            net,
            trafo_model="pi",
            trafo_loading="power",
            calculate_voltage_angles=True,
            tolerance_mva=tolerance_mva,
            max_iteration=50,
            init="dc",
            numba=False,
        )
        lost = [*net.res_line.pl_mw, *net.res_trafo.pl_mw]
        add(
            found,
            pcc_kw=float(net.res_ext_grid.p_mw[0] * 1e3),
            pcc_kvar=float(net.res_ext_grid.q_mvar[0] * 1e3),
            losses_kw=float(sum(lost) * 1e3),
            branch_losses_kw=[float(loss * 1e3) for loss in lost],
            voltages_pu=[[float(v)] for v in net.res_bus.vm_pu],
            loadings_frac=[float(x / 100) for x in (*net.res_line.loading_percent, *net.res_trafo.loading_percent)],
        )
    return found


def by_phase(given: Any) -> Any:
    net, buses = network(given)
    for bus in buses.values():
        pp.create_asymmetric_load(net, bus)
    found: dict[str, list[Any]] = {}
    for active, reactive in zip(given["active_kw"], given["reactive_kvar"], strict=True):
        for i, phase in enumerate("abc"):
            net.asymmetric_load[f"p_{phase}_mw"] = np.array(active)[:, i] / 1e3
            net.asymmetric_load[f"q_{phase}_mvar"] = np.array(reactive)[:, i] / 1e3
        three_phase.runpp_3ph(net, trafo_model="t", tolerance_mva=1e-11, max_iteration=200, numba=False)
        lines = [float(net.res_line_3ph[f"pl_{p}_mw"].iloc[i] * 1e3) for i in range(len(net.line)) for p in "abc"]
        line_losses = np.array(lines).reshape(-1, 3).sum(axis=1).tolist()
        trafo_loss = float(sum(net.res_trafo_3ph[f"pl_{p}_mw"].iloc[0] for p in "abc") * 1e3)
        add(
            found,
            pcc_kw=float(sum(net.res_ext_grid_3ph[f"p_{p}_mw"].iloc[0] for p in "abc") * 1e3),
            pcc_kvar=float(sum(net.res_ext_grid_3ph[f"q_{p}_mvar"].iloc[0] for p in "abc") * 1e3),
            losses_kw=float(sum(line_losses) + trafo_loss),
            branch_losses_kw=[*line_losses, trafo_loss],
            voltages_pu=[[float(net.res_bus_3ph[f"vm_{p}_pu"].iloc[i]) for p in "abc"] for i in range(len(net.bus))],
            phase_pcc_kw=[float(net.res_ext_grid_3ph[f"p_{p}_mw"].iloc[0] * 1e3) for p in "abc"],
        )
    return found


def tighten() -> None:
    """pandapower ends a three-phase flow at 3e-8 MVA, which is 3e-5 kW, and offers no option for it."""
    source = inspect.getsource(three_phase.runpp_3ph)
    tighter = source.replace("outer_tolerance_mva = 3e-8", "outer_tolerance_mva = 1e-12")
    assert tighter != source
    exec(tighter, three_phase.__dict__)


def add(found: dict[str, list[Any]], **values: Any) -> None:
    for name, value in values.items():
        found.setdefault(name, []).append(value)


def main() -> None:
    tighten()
    for path in sorted(GOLDEN.glob("*/input.json")):
        given = json.loads(path.read_text())
        found = by_phase(given) if given["unbalanced"] else balanced(given)
        made = {"made_with": f"pandapower {pp.__version__}"} | found
        path.with_name("expected.json").write_text(json.dumps(made, indent=1) + "\n")
        print(path.parent.name, len(found["pcc_kw"]))
    # Here 1e-11 MVA is below the rounding error of the powers.
    solved = {name: balanced(large(name), 1e-9) for name in CASES}
    for found in solved.values():
        del found["loadings_frac"], found["branch_losses_kw"]
    made = {"made_with": f"pandapower {pp.__version__}"} | solved
    (GOLDEN / "large_networks" / "expected.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
