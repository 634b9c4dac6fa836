"""What a twin's process loads, and what the factory refuses."""

import json
import subprocess
import sys
from typing import Any

import pytest

from schemas.errors import Code
from schemas.participant import Participant
from schemas.topics import Kind
from tests.errors import raises
from tests.twins.builders import bess, charger, pv, site
from twin_devices.build import build_network, build_twin

METER = {"kind": "meter", "profile": "base"}
DEVICES = {"charger": charger(), "bess": bess(), "pv": pv(), "meter": METER}

SCRIPT = """
import json, sys
from datetime import datetime, timedelta
from schemas.messages import Phase, TimeMode
from schemas.participant import Turn
from schemas.site import Site
from twin_devices.build import build_twin
from tests.errors import raises

site = Site.model_validate_json(sys.stdin.read())
twin = build_twin(site, "device")
twin.birth()
t = datetime.fromisoformat("2024-05-17T00:00:00+00:00")
for hour in range(24):
    twin.act(Turn(Phase.SENSE, t + timedelta(hours=hour), t, None, 900, TimeMode.LOCKSTEP), [])
heavy = ["numpy", "pandas", "xarray", "scipy", "pvlib", "power_grid_model", "highspy"]
status = open("/proc/self/status").read()
print(json.dumps({
    "heavy": [name for name in heavy if name in sys.modules],
    "resident_mb": int(status.split("VmHWM:")[1].split()[0]) / 1024,
}))
"""


def run(device: dict[str, Any]) -> dict[str, Any]:
    description = site({"device": device}).model_dump_json()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=description, capture_output=True, text=True, check=True, timeout=60
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("kind", sorted(DEVICES))
def test_a_twins_process_stays_light(kind: str) -> None:
    result = run(DEVICES[kind])
    assert result["heavy"] == []
    assert result["resident_mb"] < 50


@pytest.mark.parametrize("kind", sorted(DEVICES))
def test_a_birth_tells_kind_nameplate_and_period(kind: str) -> None:
    twin: Participant = build_twin(site({"device": DEVICES[kind] | {"telemetry_period_s": 5.0}}), "device")
    birth = twin.birth()
    assert twin.kind == Kind(kind)
    assert birth.nameplate.type == kind
    assert birth.telemetry_period_s == 5.0
    assert [mode.value for mode in birth.time_modes] == ["lockstep", "wall"]
    assert birth.software.startswith("twinswarm ")
    limits = () if kind == "meter" else ("twin/v2/house/limiter/+/limit",)
    own = (f"twin/v2/house/{kind}/device/setpoint", f"twin/v2/house/{kind}/device/event")
    assert twin.subscriptions == (*own, *limits)


def test_a_device_that_is_not_there_is_the_users_fault() -> None:
    with raises(Code.UNKNOWN, "device"):
        build_twin(site({"device": METER}), "other")


def test_a_real_meter_has_no_twin() -> None:
    with raises(Code.MISSING, "profile"):
        build_twin(site({"device": {"kind": "meter", "role": "pcc"}}), "device")


def test_the_network_twin_is_named_grid() -> None:
    assert build_network(site({"device": METER})).device == "network"
