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
STIFF_LV_MVA = 1e7
"""The same without a transformer: with more, its rounding errors keep the iteration from ending."""
UNITS = (("p", "mw"), ("q", "mvar"))
NO_MAGNETISING_PERCENT = 1e15
"""Zero-sequence magnetising impedance over the short-circuit impedance: none, as in the product's Dyn transformer."""


def network(given: Any) -> tuple[Any, dict[str, int]]:
    """The grid's impedance, if it has one, is a line of its own, the first, between the slack and the PCC."""
    table = given["network"]
    trafo = table.get("transformer")
    net = pp.create_empty_network(f_hz=50)
    source_node = table["pcc_node"] if trafo is None else trafo["from_node"]
    nominal_kv = table["nominal_kv"] if trafo is None else trafo["low_kv"]
    source_kv = nominal_kv if trafo is None else trafo["high_kv"]
    buses = {node: pp.create_bus(net, source_kv if node == source_node else nominal_kv) for node in given["nodes"]}
    slack = buses[source_node]
    if table.get("source_short_circuit_mva") is not None:
        slack = pp.create_bus(net, source_kv)
        ratio, zero = table.get("source_rx_ratio", 0.1), table.get("source_z0_ratio", 1.0)
        x_ohm = source_kv**2 / table["source_short_circuit_mva"] / (1 + ratio**2) ** 0.5
        pp.create_line_from_parameters(
            net,
            slack,
            buses[source_node],
            length_km=1.0,
            r_ohm_per_km=ratio * x_ohm,
            x_ohm_per_km=x_ohm,
            c_nf_per_km=0.0,
            max_i_ka=1e3,
            r0_ohm_per_km=zero * ratio * x_ohm,
            x0_ohm_per_km=zero * x_ohm,
            c0_nf_per_km=0.0,
            name="grid",
        )
    pp.create_ext_grid(
        net,
        slack,
        vm_pu=table.get("source_voltage_pu", 1.0),
        s_sc_max_mva=STIFF_MVA if trafo is not None else STIFF_LV_MVA,
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
    if trafo is None:
        return net, buses
    iron = trafo["iron_loss_kw"] / trafo["rated_kva"]
    pp.create_transformer_from_parameters(
        net,
        buses[source_node],
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
        tap_side="hv",
        tap_neutral=0,
        tap_pos=trafo.get("tap_pos", 0),
        tap_step_percent=100 * trafo.get("tap_step_frac", 0.025),
        tap_changer_type="Ratio",
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
        own = net.line.name != "grid"
        lost = [*net.res_line.pl_mw[own], *net.res_trafo.pl_mw]
        grid = net.res_line[~own]
        delivered = net.res_ext_grid.p_mw[0], net.res_ext_grid.q_mvar[0]
        if len(grid):
            delivered = -grid.p_to_mw.iloc[0], -grid.q_to_mvar.iloc[0]
        add(
            found,
            pcc_kw=float(delivered[0] * 1e3),
            pcc_kvar=float(delivered[1] * 1e3),
            losses_kw=float(sum(lost) * 1e3),
            branch_losses_kw=[float(loss * 1e3) for loss in lost],
            voltages_pu=[[float(net.res_bus.vm_pu[bus])] for bus in buses.values()],
            loadings_frac=[
                float(x / 100) for x in (*net.res_line.loading_percent[own], *net.res_trafo.loading_percent)
            ],
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
        own = [i for i in range(len(net.line)) if net.line.name.iloc[i] != "grid"]
        lines = [float(net.res_line_3ph[f"pl_{p}_mw"].iloc[i] * 1e3) for i in own for p in "abc"]
        line_losses = np.array(lines).reshape(-1, 3).sum(axis=1).tolist()
        trafos = range(len(net.trafo))
        trafo_losses = [float(sum(net.res_trafo_3ph[f"pl_{p}_mw"].iloc[i] for p in "abc") * 1e3) for i in trafos]
        if len(own) < len(net.line):
            at_pcc, side, sign = net.res_line_3ph, "_to", -1e3
        else:
            at_pcc, side, sign = net.res_ext_grid_3ph, "", 1e3
        pcc = {(q, p): sign * float(at_pcc[f"{q}_{p}{side}_{unit}"].iloc[0]) for q, unit in UNITS for p in "abc"}
        add(
            found,
            pcc_kw=sum(pcc["p", p] for p in "abc"),
            pcc_kvar=sum(pcc["q", p] for p in "abc"),
            losses_kw=float(sum(line_losses) + sum(trafo_losses)),
            branch_losses_kw=[*line_losses, *trafo_losses],
            voltages_pu=[[float(net.res_bus_3ph[f"vm_{p}_pu"][bus]) for p in "abc"] for bus in buses.values()],
            phase_pcc_kw=[pcc["p", p] for p in "abc"],
        )
    return found


def tighten() -> None:
    """pandapower ends a three-phase flow at 3e-8 MVA, which is 3e-5 kW, and offers no option for it."""
    source = inspect.getsource(three_phase.runpp_3ph)
    tighter = source.replace("outer_tolerance_mva = 3e-8", "outer_tolerance_mva = 1e-12 if len(net.trafo) else 1e-9")
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
