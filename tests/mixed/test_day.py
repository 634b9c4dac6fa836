"""A site with its devices behind OCPP, SunSpec and mapped MQTT saves what the site of twins saves."""

from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.mixed.account import Account, account
from tests.mixed.lab import DRIVEN, of_twins, running
from tests.parts import skip_without

ON_ITS_WAY_KWH = 2.0
"""22 kW for 130 s of the run are 0.8 kWh; on a slow machine it is more. A quarter-hour of it is 5.5 kWh."""


@pytest.mark.parametrize(
    ("speed", "begin", "hours"),
    [
        pytest.param(90.0, "08:15", 1.0, id="a morning", marks=pytest.mark.slow),
        pytest.param(120.0, "00:00", 24.0, id="a day", marks=(pytest.mark.long, pytest.mark.timeout(1500))),
    ],
)
def test_devices_behind_protocols_save_what_twins_save_within_the_error_of_sampling(
    tmp_path: Path, speed: float, begin: str, hours: float
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(tmp_path, speed=speed, begin=begin, hours=hours) as lab:
        twins = of_twins(lab)
        mixed = lab.wait("mixed", 60 + 3600 * hours / speed + 120)
        hardware = lab.wait("hardware", 120)
    found = account(twins, mixed, hardware, speed)
    print(f"\n{found}")
    assert mixed["complete"]
    assert mixed["speed"] == speed, "it was not slowed down"
    assert abs(found.apart_eur) <= found.most_apart_eur
    _no_energy_is_lost(found)


def _no_energy_is_lost(found: Account) -> None:
    """Registers lose nothing: what the site counted differs by what was on its way at both ends."""
    for device in DRIVEN:
        assert abs(found.lost_kwh[device]) < ON_ITS_WAY_KWH, device
