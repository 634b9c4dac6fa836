"""Dashboards as code: what is checked in below ``provisioning/dashboards/twinswarm`` is this, written out.

Needs grafana-foundation-sdk, which the program itself does not: ``python -m services.dashboards.source``.
"""

import json
from types import ModuleType

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from services.dashboards.source import device, ghosts, network, operations, overview, runs, savings

DASHBOARDS: dict[str, ModuleType] = {
    "runs": runs,
    "overview": overview,
    "savings": savings,
    "device": device,
    "network": network,
    "operations": operations,
    "ghosts": ghosts,
}


def rendered() -> dict[str, str]:
    """The dashboards as JSON by file name."""
    return {
        f"{name}.json": json.dumps(module.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, module in DASHBOARDS.items()
    }
