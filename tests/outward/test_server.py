"""The SunSpec server of a twin under masters that write nonsense, half of it, all at once, and not at all."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient

from schemas.errors import InputError
from schemas.messages import BessTelemetry, PvTelemetry
from schemas.site import Site
from services.outward.face import Asked
from services.outward.sunspec_map import SunspecMap
from services.outward.sunspec_server import SunspecServer
from tests.outward.swarm import a_site
from twinswarm.deploy.outward import sunspec_twin

VALUE, ADDRESS, FUNCTION, FAILURE = 3, 2, 1, 4
"""Exception codes of Modbus."""


class Lab:
    """A server with its registers, and what it has handed on."""

    def __init__(self, site: Site, device: str, series: str = "100") -> None:
        self.map = SunspecMap(site, device, series)
        self.server = SunspecServer(device, self.map, "127.0.0.1", 0)
        self.asked: list[Asked] = []
        self.client: Any = None

    def put(self, value: object) -> bool:
        assert isinstance(value, Asked)
        self.asked.append(value)
        return True

    def at(self, point: str) -> int:
        assert self.map.control is not None
        block = self.map.blocks[self.map.control.model]
        return block.address + block.definition.points[point].offset

    def write(self, point: str, *values: int) -> int:
        """The exception code of the answer; 0: none."""
        answer = self.client.write_registers(self.at(point), list(values), device_id=1)
        return answer.exception_code if answer.isError() else 0

    def read(self, point: str, count: int = 1) -> list[int]:
        registers: list[int] = self.client.read_holding_registers(self.at(point), count=count, device_id=1).registers
        return registers


@contextmanager
def lab(site: Site, device: str, series: str = "100") -> Iterator[Lab]:
    found = Lab(site, device, series)
    found.server.open(found.put)
    try:
        if device == "pv":
            found.server.show(
                PvTelemetry(power_kw=-5.0, energy_import_kwh=0.0, energy_export_kwh=1.0, available_kw=5.0), None
            )
        else:
            found.server.show(BessTelemetry(power_kw=0.0, soc_frac=0.5), None)
        with ModbusTcpClient("127.0.0.1", port=found.server.port, timeout=10) as found.client:
            yield found
    finally:
        found.server.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return a_site(tmp_path)


def test_a_write_is_taken_whole_or_not_at_all(site: Site) -> None:
    with lab(site, "pv") as pv:
        before = pv.read("Conn", 20)
        assert pv.write("WMaxLimPct", 5000, 0, 60, 0, 2) == VALUE, "an enumeration has no 2"
        assert pv.write("WMaxLimPct", 5000, 9, 60, 0, 1) == VALUE, "it has no ramp"
        assert pv.write("WMaxLimPct", 0xFFFF) == VALUE, "not implemented is no value"
        assert pv.write("WMaxLimPct", 10_001, 0, 0, 0, 1) == VALUE, "more than 100 %"
        assert pv.write("Conn", 0) == ADDRESS, "no switch"
        assert pv.write("Conn", 1, 5000) == ADDRESS, "a good register beside one that cannot be written"
        assert pv.write("WMaxLimPct_SF", 0) == ADDRESS
        assert pv.read("Conn", 20) == before
        assert pv.asked == []
        rated_kw = site.devices["pv"].rated_kw  # type: ignore[union-attr]
        assert pv.write("WMaxLimPct", 5000, 0, 60, 0, 1) == 0
        assert pv.asked == [Asked(number=1, value_kw=rated_kw / 2, for_s=60)]


def test_a_limit_that_is_not_switched_on_asks_for_nothing(site: Site) -> None:
    with lab(site, "pv") as pv:
        assert pv.write("WMaxLimPct", 1000) == 0
        assert pv.asked == []
        assert pv.write("WMaxLim_Ena", 1) == 0
        assert pv.write("WMaxLimPct", 2000) == 0
        assert pv.write("WMaxLim_Ena", 0) == 0
        assert [asked.value_kw is None for asked in pv.asked] == [False, False, True]


def test_half_of_a_wide_number_is_refused(site: Site) -> None:
    with lab(site, "bess", "700") as bess:
        assert bess.write("WSet", 0) == ADDRESS
        assert bess.write("WSet", 0xFFFF, 0xFC18) == 0
        assert bess.write("WSetEnaRvrt", 1) == VALUE, "it has no reversion value"
        assert bess.write("WSetEna", 1) == 0
        assert bess.asked == [Asked(number=1, value_kw=1.0)]
        assert bess.write("WSetPct", 5000) == 0
        assert bess.write("WSetMod", 0) == 0
        rated_kw = site.devices["bess"].max_charge_kw  # type: ignore[union-attr]
        assert bess.asked[-1].value_kw == -rated_kw / 2, "half of it goes out"


def test_rates_that_are_changed_one_by_one_are_rest_meanwhile(site: Site) -> None:
    with lab(site, "bess") as bess:
        most_kw = site.devices["bess"].max_charge_kw  # type: ignore[union-attr]
        assert bess.write("OutWRte", -5000 & 0xFFFF, 5000) == 0
        assert bess.write("StorCtl_Mod", 3) == 0
        assert bess.write("InWRte", -5000 & 0xFFFF) == 0
        assert bess.write("OutWRte", 5000) == 0
        assert [asked.value_kw for asked in bess.asked] == [most_kw / 2, 0.0, -most_kw / 2]
        assert bess.write("StorCtl_Mod", 2) == 0
        assert bess.asked[-1].value_kw == -0.0, "charging is not bounded"
        assert bess.write("InWRte", 10_001) == 0, "of a direction whose bit is off"
        assert bess.write("StorCtl_Mod", 3) == VALUE


def test_what_is_over_does_not_end_what_was_asked_after_it(site: Site) -> None:
    with lab(site, "pv") as pv:
        assert pv.write("WMaxLimPct", 5000, 0, 60, 0, 1) == 0
        assert pv.write("WMaxLimPct", 4000) == 0
        pv.server.over(1)
        assert pv.read("WMaxLim_Ena") == [1]
        pv.server.over(2)
        pv.server.show(PvTelemetry(power_kw=-5.0, available_kw=5.0), None)
        assert pv.read("WMaxLim_Ena") == [0]
        assert pv.write("WMaxLimPct", 3000) == 0
        assert len(pv.asked) == 2, "nothing is switched on"


def test_functions_that_it_does_not_have_and_a_device_that_is_away(site: Site) -> None:
    with lab(site, "pv") as pv:
        assert pv.client.read_coils(40_000, count=1, device_id=1).exception_code == FUNCTION
        assert pv.client.write_coil(40_000, True, device_id=1).exception_code == FUNCTION
        assert pv.client.read_input_registers(40_000, count=2, device_id=1).registers == [0x5375, 0x6E53]
        pv.server.show(None, None)
        assert pv.client.read_holding_registers(40_000, count=2, device_id=1).exception_code == FAILURE
        assert pv.write("WMaxLim_Ena", 1) == FAILURE
        assert pv.asked == []


def test_noise_half_requests_and_many_masters_stop_nobody(site: Site) -> None:
    with lab(site, "pv") as pv:
        address = ("127.0.0.1", pv.server.port)
        idle = [socket.create_connection(address, 10) for _ in range(50)]
        for noise in (
            b"\0" * 3000,
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0\1\0\0\xff\xff\1\3",
            b"\0\1\0\0\0\6\1\3\x9c\x40\0\x7e",
        ):
            with socket.create_connection(address, 10) as rude:
                rude.sendall(noise)
        troubles: list[Exception] = []

        def master() -> None:
            try:
                with ModbusTcpClient(*address[:1], port=address[1], timeout=20) as client:
                    for _ in range(20):
                        assert client.read_holding_registers(40_000, count=100, device_id=1).registers[0] == 0x5375
            except Exception as error:
                troubles.append(error)

        masters = [threading.Thread(target=master) for _ in range(8)]
        for each in masters:
            each.start()
        for each in masters:
            each.join(60)
        for connection in idle:
            connection.close()
        assert troubles == []
        assert pv.read("Conn") == [1]


def test_a_counter_that_is_full_begins_anew_and_a_power_that_does_not_fit_leaves_the_last(site: Site) -> None:
    with lab(site, "pv") as pv:
        full = PvTelemetry(power_kw=-5.0, energy_import_kwh=0.0, energy_export_kwh=(2**32 + 7) / 1000, available_kw=5.0)
        pv.server.show(full, None)
        assert pv.map.blocks[103].raw("WH") == 7
        pv.server.show(full.model_copy(update={"power_kw": -1e6}), None)
        assert pv.map.blocks[103].value("W") == 5000.0


def test_a_port_that_is_taken_and_an_address_that_is_none_are_named(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = SunspecServer("pv", SunspecMap(site, "pv"), "127.0.0.1", port)
        with pytest.raises(InputError, match=f"cannot listen.*127.0.0.1:{port}"):
            server.open(lambda asked: True)
        server.close()
    for wrong in ("5020", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "a@b:1", ""):
        with pytest.raises(InputError, match="has to be HOST:PORT"):
            sunspec_twin(site, "pv", wrong)
    with pytest.raises(InputError, match="no models of a charger in SunSpec"):
        sunspec_twin(site, "ev1", "127.0.0.1:5020")


def test_an_inverter_that_cannot_be_curtailed_has_no_control(site: Site) -> None:
    spec = site.devices["pv"].model_copy(update={"curtailable": False})
    fixed = site.model_copy(update={"devices": {**site.devices, "pv": spec}})
    assert list(SunspecMap(fixed, "pv").blocks) == [1, 103, 120, 121, 122]
