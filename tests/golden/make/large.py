"""Networks of up to several hundred nodes, made from a seed: the test and pandapower's script make the same ones."""

import random
from dataclasses import dataclass
from typing import Any

TRANSFORMER = {
    "from_node": "PCC",
    "to_node": "LV",
    "rated_kva": 630.0,
    "high_kv": 20.0,
    "low_kv": 0.4,
    "vk_frac": 0.04,
    "vkr_frac": 0.0115,
    "iron_loss_kw": 0.6,
    "no_load_current_frac": 0.01,
    "clock": 5,
}


@dataclass(frozen=True)
class Large:
    """``nodes`` behind the transformer. ``branching`` 0: one line, 1: a random tree."""

    nodes: int
    r_mohm: tuple[float, float]
    branching: float
    total_kw: float


CASES = {
    "chain_100": Large(100, (0.01, 0.01), 0.0, 250.0),
    "chain_300": Large(300, (0.01, 0.01), 0.0, -250.0),
    "chain_600": Large(600, (0.01, 0.01), 0.0, 250.0),
    "tree_200": Large(200, (0.01, 8.0), 0.6, 180.0),
    "tree_500": Large(500, (0.01, 2.0), 0.8, -300.0),
}


def large(name: str) -> dict[str, Any]:
    """As an input.json: all devices alike but for their share; all power at the far end; nothing at all."""
    case, chance = CASES[name], random.Random(name)
    nodes = ["PCC", "LV", *(f"N{i}" for i in range(case.nodes))]
    cables = []
    for i in range(1, case.nodes + 1):
        tree = chance.random() < case.branching
        start = nodes[chance.randrange(max(1, i - 40), i + 1)] if tree else nodes[i]
        r = round(chance.uniform(*case.r_mohm), 4)
        numbers = {"r_mohm": r, "x_mohm": round(0.6 * r, 4), "ampacity_a": 800.0}
        cables.append({"from_node": start, "to_node": nodes[i + 1]} | numbers)
    shares = [0.0, 0.0, *(chance.random() for _ in range(case.nodes))]
    spread = [case.total_kw * share / sum(shares) for share in shares]
    far = [0.0] * (len(nodes) - 1) + [case.total_kw / 3]
    return {
        "network": {
            "transformer": TRANSFORMER,
            "main_node": "LV",
            "cables": cables,
        },
        "unbalanced": False,
        "nodes": nodes,
        "active_kw": [spread, far, [0.0] * len(nodes)],
        "reactive_kvar": [[0.3 * kw for kw in spread], [0.1 * kw for kw in far], [0.0] * len(nodes)],
    }
