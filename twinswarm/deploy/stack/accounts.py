"""Under which accounts the stack's containers run: numbers, because an image need not know the others' names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """User and group of a container, as ``user:`` in compose.yaml has them."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


ROOT = Account(0, 0)
TWINSWARM = Account(10001, 10001)
"""Everything of ours, save what gives files to others: ``provision`` and ``init-history``."""
MOSQUITTO = Account(1883, 1883)
INFLUXDB = Account(1000, 1000)
GRAFANA = Account(472, 472)
