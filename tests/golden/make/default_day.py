"""Writes default_day/input.json: what the devices of the default site draw in each quarter of its day.

In the product's environment: ``python tests/golden/make/default_day.py RESULT.json``, with the result of
``twinswarm run --json RESULT.json``: it holds each device's mean power by quarter-hour.
"""

import json
import sys
from pathlib import Path

from sites.loader import load_site


def main(result: Path) -> None:
    site = load_site("fit_g2v")
    quarters = json.loads(result.read_text())["quarters"]
    nodes = list(site.network.nodes)
    active = []
    for quarter in quarters:
        drawn = dict.fromkeys(nodes, 0.0)
        for device, power_kw in quarter["power_kw"].items():
            drawn[site.devices[device].node or site.network.main_node] += power_kw
        active.append([drawn[node] for node in nodes])
    given = {
        "network": site.network.model_dump(mode="json"),
        "unbalanced": False,
        "nodes": nodes,
        "active_kw": active,
        "reactive_kvar": [[0.0] * len(nodes) for _ in quarters],
    }
    target = Path(__file__).parents[1] / "default_day" / "input.json"
    target.write_text(json.dumps(given, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
