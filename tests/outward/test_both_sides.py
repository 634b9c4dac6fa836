"""The driver at a twin that answers as a SunSpec device: each understands the other."""

from pathlib import Path
from typing import Any

import pytest

from schemas.messages import BessTelemetry, MeterTelemetry, PvTelemetry, Telemetry
from schemas.site.drivers import SunspecDriver
from schemas.topics import Kind
from services.drivers.sunspec_link import SunspecLink
from services.outward.face import Asked
from services.outward.sunspec_map import SunspecMap
from services.outward.sunspec_server import SunspecServer
from tests.drivers.modbus_device import Reader
from tests.outward.swarm import a_site

ENERGIES: dict[str, Any] = {"energy_import_kwh": 12.345, "energy_export_kwh": 6789.012}
SAID: dict[str, Telemetry] = {
    "pv": PvTelemetry(power_kw=-3.217, available_kw=4.5, **ENERGIES),
    "bess": BessTelemetry(power_kw=2.468, soc_frac=0.4321, **ENERGIES),
    "building": MeterTelemetry(power_kw=-1.111, **ENERGIES),
}
NOT_THERE = {
    ("pv", "100"): {"energy_import_kwh"},
    ("bess", "100"): {"energy_import_kwh"},
    ("pv", "700"): {"available_kw"},
}
"""The 100 series counts what goes out only, and the 700 series does not say what could be."""


@pytest.mark.parametrize("series", ["100", "700"])
@pytest.mark.parametrize("device", list(SAID))
def test_what_a_twin_says_is_what_the_driver_reads_and_what_it_asks_is_understood(
    tmp_path: Path, device: str, series: str
) -> None:
    site, said = a_site(tmp_path), SAID[device]
    kind = Kind(site.devices[device].kind)
    server = SunspecServer(device, SunspecMap(site, device, series), "127.0.0.1", 0)
    asked: list[Asked] = []
    server.open(lambda value: asked.append(Asked.model_validate(value)) is None)
    try:
        server.show(said, None)
        driver = SunspecDriver(host="127.0.0.1", port=server.port, poll_s=0.1, revert_s=77)
        with Reader(SunspecLink(f"lab/{device}", kind, driver, commanded=True)) as reader:
            reader.until(lambda: bool(reader.found), "a reading")
            read = reader.found[0]
            assert not read.trouble
            for name in ("power_kw", "energy_import_kwh", "energy_export_kwh", "soc_frac", "available_kw"):
                expected = None if name in NOT_THERE.get((device, series), ()) else getattr(said, name, None)
                assert getattr(read, name) == (expected if expected is None else pytest.approx(expected, abs=0.005)), (
                    name
                )
            if kind is Kind.METER:
                return
            for wanted_kw in (1.5, 2.75) if kind is Kind.PV else (1.5, -2.75, 0.0):
                asked.clear()
                reader.link.command(wanted_kw)
                reader.until(lambda wanted_kw=wanted_kw: _has(asked, wanted_kw), f"{wanted_kw} kW")
                assert asked[-1].for_s == 77
            assert not any(each.trouble for each in reader.found)
    finally:
        server.close()


def _has(asked: list[Asked], wanted_kw: float) -> bool:
    value_kw = asked[-1].value_kw if asked else None
    return value_kw is not None and abs(value_kw - wanted_kw) <= 0.008 and bool(asked[-1].for_s)
