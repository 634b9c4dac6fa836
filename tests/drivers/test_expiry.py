"""The end of a set-point at the device, by each protocol: within a second, with nobody left who commands."""

from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.drivers.watched import PROTOCOLS
from tests.parts import skip_without

EARLY_S = 0.1
"""Clocks are read in two places; OCPP's durations are whole seconds."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_set_point_ends_at_the_device_with_the_ems_dead_and_with_the_broker_dead(
    protocol: str, tmp_path: Path
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with PROTOCOLS[protocol](tmp_path) as watched:
        watched.notes.when(0.0)
        assert -EARLY_S < watched.late_s(3.0, broker_dies=False) < 1.0, "the EMS is dead"
        assert -EARLY_S < watched.late_s(2.0, broker_dies=True) < 1.0, "the broker is dead"
