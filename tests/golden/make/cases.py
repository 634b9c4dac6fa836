"""Writes the input.json of the cases that need no run: CIGRE LV residential, unbalanced, reverse flow.

In an environment of pandapower (requirements.txt): ``python tests/golden/make/cases.py``.
"""

import json
from pathlib import Path
from typing import Any

import pandapower.networks

GOLDEN = Path(__file__).parents[1]

TRANSFORMER = {
    "from_node": "PCC",
    "to_node": "TR_LV",
    "rated_kva": 100.0,
    "high_kv": 20.0,
    "low_kv": 0.4,
    "vk_frac": 0.04,
    "vkr_frac": 0.0175,
    "iron_loss_kw": 0.32,
    "no_load_current_frac": 0.011,
    "clock": 5,
}


def cable(from_node: str, to_node: str, r_mohm: float, x_mohm: float, ampacity_a: float, **more: float) -> Any:
    ends = {"from_node": from_node, "to_node": to_node}
    return ends | {"r_mohm": r_mohm, "x_mohm": x_mohm, "ampacity_a": ampacity_a} | more


SMALL = {
    "transformer": TRANSFORMER,
    "main_node": "MB",
    "cables": [
        cable("TR_LV", "MB", 4.1, 3.8, 180.0),
        cable("MB", "A", 32.1, 7.5, 125.0),
        cable("A", "B", 45.8, 8.1, 100.0, r0_factor=3.6, x0_factor=4.2),
        cable("MB", "PV", 23.1, 7.6, 150.0),
    ],
}
NODES = ["PCC", "TR_LV", "MB", "A", "B", "PV"]


def cigre() -> Any:
    """The residential feeder alone, behind its 500 kVA transformer; the loads of the table, then halved, then none."""
    net = pandapower.networks.create_cigre_network_lv()
    trafo = net.trafo.loc[0]
    names = {int(trafo.hv_bus): "PCC"} | {
        int(bus): str(name).removeprefix("Bus ") for bus, name in net.bus.name.items() if str(name).startswith("Bus R")
    }
    names[int(trafo.hv_bus)] = "PCC"
    lines = net.line[net.line.from_bus.isin(names) & net.line.to_bus.isin(names)]
    cables = [
        cable(
            names[int(line.from_bus)],
            names[int(line.to_bus)],
            line.r_ohm_per_km * line.length_km * 1e3,
            line.x_ohm_per_km * line.length_km * 1e3,
            line.max_i_ka * 1e3,
        )
        for line in lines.itertuples()
    ]
    low = names[int(trafo.lv_bus)]
    transformer = TRANSFORMER | {
        "to_node": low,
        "rated_kva": float(trafo.sn_mva) * 1e3,
        "vk_frac": float(trafo.vk_percent) / 100,
        "vkr_frac": float(trafo.vkr_percent) / 100,
        "iron_loss_kw": float(trafo.pfe_kw),
        "no_load_current_frac": float(trafo.i0_percent) / 100,
        "clock": 1,
    }
    nodes = list(dict.fromkeys(["PCC", low, *(end for c in cables for end in (c["from_node"], c["to_node"]))]))
    loads = net.load[net.load.bus.isin(names)]
    active, reactive = dict.fromkeys(nodes, 0.0), dict.fromkeys(nodes, 0.0)
    for load in loads.itertuples():
        active[names[int(load.bus)]] += load.p_mw * 1e3
        reactive[names[int(load.bus)]] += load.q_mvar * 1e3
    return {
        "network": {"transformer": transformer, "main_node": low, "cables": cables},
        "unbalanced": False,
        "nodes": nodes,
        "active_kw": [[factor * active[node] for node in nodes] for factor in (1.0, 0.5, 0.0)],
        "reactive_kvar": [[factor * reactive[node] for node in nodes] for factor in (1.0, 0.5, 0.0)],
    }


def unbalanced() -> Any:
    """Single-phase chargers of 7.4 and 3.7 kW, a three-phase load, PV on one phase; the last step is balanced."""
    none = [0.0, 0.0, 0.0]
    active = [
        [none, none, [6.0, 6.0, 6.0], [7.4, 0.0, 0.0], [0.0, 3.7, 0.0], none],
        [none, none, [6.0, 6.0, 6.0], [7.4, 7.4, 0.0], [7.4, 0.0, 0.0], [0.0, 0.0, -4.6]],
        [none, none, [2.0, 3.0, 1.0], [-7.4, 0.0, 0.0], [0.0, 0.0, 7.4], [-4.6, -4.6, -4.6]],
        [none, none, [6.0, 6.0, 6.0], [7.4, 7.4, 7.4], [3.7, 3.7, 3.7], none],
    ]
    reactive = [[none, none, [2.0, 1.0, 2.0], none, none, none]] * 3
    reactive.append([none, none, [2.0, 2.0, 2.0], none, none, none])
    # Without shunts: pandapower's three-phase flow knows the T model only, ours is the π model; so they are one.
    ideal = SMALL | {"transformer": TRANSFORMER | {"iron_loss_kw": 0.0, "no_load_current_frac": 0.0}}
    return {
        "network": ideal,
        "unbalanced": True,
        "nodes": NODES,
        "active_kw": active,
        "reactive_kvar": reactive,
    }


def reverse_flow() -> Any:
    """PV and a discharging vehicle deliver to the grid: beyond the transformer's rating, at it, and in balance."""
    active = [
        [0.0, 0.0, 5.0, -22.0, 3.0, -95.0],
        [0.0, 0.0, 8.0, 11.0, 6.0, -60.0],
        [0.0, 0.0, 20.0, 0.0, 2.0, -22.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, -98.0],
    ]
    reactive = [[0.0, 0.0, 2.0, 0.0, 0.5, q] for q in (20.0, 0.0, -5.0, -12.0)]
    return {
        "network": SMALL | {"source_voltage_pu": 1.02},
        "unbalanced": False,
        "nodes": NODES,
        "active_kw": active,
        "reactive_kvar": reactive,
    }


def tapped() -> Any:
    """A weak grid, and a transformer two taps up: load with its reactive power, and under-excited PV (cos φ 0.9)."""
    active = [
        [0.0, 0.0, 30.0, 22.0, 11.0, 0.0],
        [0.0, 0.0, 10.0, 0.0, 6.0, -80.0],
        [0.0, 0.0, 5.0, -22.0, 0.0, -30.0],
        [0.0] * 6,
    ]
    reactive = [[0.0, 0.0, 0.48 * kw[2], 0.0, 0.0, -0.4843 * kw[5]] for kw in active]
    network = SMALL | {"transformer": TRANSFORMER | {"tap_pos": 2, "tap_step_frac": 0.025}}
    grid = {"source_voltage_pu": 1.03, "source_short_circuit_mva": 2.5, "source_rx_ratio": 0.4}
    return {
        "network": network | grid,
        "unbalanced": False,
        "nodes": NODES,
        "active_kw": active,
        "reactive_kvar": reactive,
    }


def low_voltage_connection() -> Any:
    """A house without a transformer behind a weak grid: single-phase loads and PV with reactive power, on cables of
    which the zero-sequence impedance is below the positive sequence's."""
    cables = [
        cable("HAK", "MB", 12.0, 2.4, 63.0, r0_factor=0.6, x0_factor=0.8),
        cable("MB", "A", 90.0, 6.0, 35.0, r0_factor=0.25, x0_factor=3.0),
        cable("MB", "PV", 60.0, 5.0, 35.0),
    ]
    grid = {"source_voltage_pu": 0.99, "source_short_circuit_mva": 1.2, "source_rx_ratio": 2.0, "source_z0_ratio": 2.5}
    none = [0.0, 0.0, 0.0]
    active = [
        [none, [4.0, 2.0, 1.0], [7.4, 0.0, 0.0], none],
        [none, [1.0, 1.0, 1.0], none, [0.0, -9.0, 0.0]],
        [none, [3.0, 0.0, 6.0], [0.0, 7.4, -7.4], [0.0, -4.6, 0.0]],
        [none, none, none, none],
    ]
    reactive = [
        [none, [1.3, 0.7, 0.3], none, none],
        [none, [0.3, 0.3, 0.3], none, [0.0, 4.36, 0.0]],
        [none, [1.0, 0.0, 2.0], none, [0.0, -2.23, 0.0]],
        [none, none, none, none],
    ]
    return {
        "network": {"pcc_node": "HAK", "main_node": "MB", "nominal_kv": 0.4, "cables": cables} | grid,
        "unbalanced": True,
        "nodes": ["HAK", "MB", "A", "PV"],
        "active_kw": active,
        "reactive_kvar": reactive,
    }


def main() -> None:
    cases = {
        "cigre_lv_residential": cigre(),
        "unbalanced": unbalanced(),
        "reverse_flow": reverse_flow(),
        "tapped": tapped(),
        "low_voltage_connection": low_voltage_connection(),
    }
    for name, given in cases.items():
        (GOLDEN / name / "input.json").write_text(json.dumps(given, indent=1) + "\n")


if __name__ == "__main__":
    main()
