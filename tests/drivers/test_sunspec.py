"""The SunSpec driver at devices whose registers pysunspec2 encodes: discovery, scales, signs, commands, time-outs."""

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.site.drivers import SunspecDriver
from schemas.topics import Kind
from services.drivers.sunspec_link import SunspecLink
from tests.cli.calling import call
from tests.drivers import sunspec_device as lab
from tests.drivers.modbus_device import Reader
from tests.drivers.sunspec_device import SunspecDevice

PV = {1: lab.COMMON, 103: lab.INVERTER | {"W": 512}, 120: lab.RATING, 123: lab.LIMITS}
BESS = {1: lab.COMMON, 103: lab.INVERTER, 124: lab.STORAGE}
DER_BESS = {1: lab.COMMON, 701: lab.DER, 702: lab.DER_RATING, 704: lab.DER_CONTROL, 713: lab.DER_STORAGE}


def reader_of(port: int, kind: Kind, *, commanded: bool = True, **changes: Any) -> Reader:
    fields = {"host": "127.0.0.1", "port": port, "poll_s": 0.1, "timeout_s": 1.0, **changes}
    return Reader(SunspecLink("lab/device", kind, SunspecDriver.model_validate(fields), commanded=commanded))


@pytest.mark.parametrize("base", [40_000, 50_000, 0])
def test_an_inverter_is_found_and_read_wherever_its_models_begin(base: int) -> None:
    device = SunspecDevice(PV, base=base)
    with device.serving() as port, reader_of(port, Kind.PV) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        read = reader.found[0]
        assert (read.power_kw, read.energy_export_kwh, read.trouble) == (-5.12, 123.45, "")
        assert read.energy_import_kwh is None
        assert read.soc_frac is None


def test_floats_and_wide_numbers_are_read_and_the_sign_is_the_contracts() -> None:
    floats = SunspecDevice({1: lab.COMMON, 113: {"W": 4321.5, "WH": 1e6}, 120: lab.RATING})
    with floats.serving() as port, reader_of(port, Kind.PV, commanded=False) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        assert reader.found[0].power_kw == pytest.approx(-4.3215, rel=1e-6)
        assert reader.found[0].energy_export_kwh == 1000.0
        floats.set(113, "W", 0x7FC0, 0)
        reader.until(lambda: reader.found[-1].power_kw is None, "no power at a NaN")
    wide = SunspecDevice(DER_BESS)
    with wide.serving() as port, reader_of(port, Kind.BESS, commanded=False) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        read = reader.found[0]
        assert (read.power_kw, read.energy_export_kwh, read.energy_import_kwh) == (-0.731, 6_000_000.0, 7.0)
        assert read.soc_frac == pytest.approx(0.815)
    meter = SunspecDevice({1: lab.COMMON, 203: lab.METER})
    with meter.serving() as port, reader_of(port, Kind.METER) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        read = reader.found[0]
        assert (read.power_kw, read.energy_export_kwh, read.energy_import_kwh) == (-1.234, 50.0, 70.0)
        assert not reader.link.commanded
    with meter.serving() as port, reader_of(port, Kind.METER, invert_power=True) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        assert reader.found[0].power_kw == 1.234


def test_numbers_that_mean_none_and_scales_that_are_none_are_not_taken_for_values() -> None:
    device = SunspecDevice(BESS)
    with device.serving() as port, reader_of(port, Kind.BESS) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        assert (reader.found[0].power_kw, reader.found[0].soc_frac) == (0.02, pytest.approx(0.555))
        device.set(124, "ChaState", 0xFFFF)
        device.set(103, "W", 0x8000)
        device.set(103, "WH", 0, 0)  # an accumulator of 0 counts nothing
        reader.until(lambda: reader.found[-1].soc_frac is None, "no SOC")
        reader.until(lambda: reader.found[-1].energy_export_kwh is None, "no counter")
        assert reader.found[-1].power_kw is None
        device.set(103, "W", 100)
        for scale, says in ((0x8000, "is not implemented"), (77, "is 77")):
            device.set(103, "W_SF", scale)
            wanted = f"model 103: W cannot be scaled, for W_SF {says}"
            reader.until(lambda wanted=wanted: reader.found[-1].trouble == wanted, "the trouble")
        device.set(103, "W_SF", 3)
        device.set(124, "ChaState", 2000)
        reader.until(lambda: "soc_frac: 2" in (reader.found[-1].trouble or ""), "a SOC of 200 %")
        assert (reader.found[-1].power_kw, reader.found[-1].soc_frac) == (-100.0, None), "the power is good"


def test_an_inverter_is_limited_and_freed_and_keeps_a_time_out_of_its_own() -> None:
    device = SunspecDevice(PV)
    with device.serving() as port, reader_of(port, Kind.PV, revert_s=45) as reader:
        reader.link.command(3.333)
        reader.until(lambda: len(device.written) >= 3, "the limit")
        ends = [device.at(123, name) for name in ("WMaxLimPct", "WMaxLimPct_RvrtTms", "WMaxLim_Ena")]
        assert device.written == [(ends[0], [333]), (ends[1], [45]), (ends[2], [1])]  # 33.3 % of 10 kW, never above
        reader.link.command(10.0)
        reader.until(lambda: device.has(123, "WMaxLim_Ena") == 0, "no limit")
        assert device.has(123, "WMaxLimPct_RvrtTms") == 0


def test_a_storage_is_commanded_by_equal_rates_of_opposite_signs_in_one_request() -> None:
    device = SunspecDevice(BESS)
    with device.serving() as port, reader_of(port, Kind.BESS) as reader:
        reader.link.command(2.0)
        reader.until(lambda: device.has(124, "StorCtl_Mod") == 3, "charging")
        assert device.written[0] == (device.at(124, "OutWRte"), [-2500 & 0xFFFF, 2500])  # 25 % of 8 kW
        assert device.written[-1] == (device.at(124, "StorCtl_Mod"), [3])
        assert device.has(124, "InOutWRte_RvrtTms") == 60
        reader.link.command(-20.0)
        reader.until(lambda: device.has(124, "InWRte") == -10_000, "discharging with all that it can")
        reader.link.command(0.0)
        reader.until(lambda: device.has(124, "InWRte") == 0, "rest")
        assert device.has(124, "StorCtl_Mod") == 3


def test_a_der_is_commanded_in_watts_and_goes_back_to_its_own_rule_at_the_time_out() -> None:
    device = SunspecDevice(DER_BESS)
    with device.serving() as port, reader_of(port, Kind.BESS, revert_s=90) as reader:
        reader.link.command(-4.2)
        reader.until(lambda: device.has(704, "WSetEna") == 1, "discharging")
        start = device.at(704, "WSet")
        assert (device.register(start) << 16) + device.register(start + 1) == 420  # goes out; WSet_SF is 1
        assert device.has(704, "WSetMod") == 1
        assert device.has(704, "WSetEnaRvrt") == 0
        assert device.register(device.at(704, "WSetRvrtTms") + 1) == 90
    with device.serving() as port, reader_of(port, Kind.PV) as reader:
        reader.link.command(2.5)
        reader.until(lambda: device.has(704, "WMaxLimPctEna") == 1, "the limit")
        assert device.has(704, "WMaxLimPct") == 25
        assert device.has(704, "WMaxLimPctEnaRvrt") == 0


def test_a_command_is_renewed_before_the_devices_time_out() -> None:
    device = SunspecDevice(PV)
    with device.serving() as port, reader_of(port, Kind.PV, revert_s=2) as reader:
        reader.link.command(5.0)
        reader.until(lambda: len(device.written) >= 9, "two renewals")


def test_a_register_that_jumps_back_is_named_and_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.drivers.sunspec_link.REWRITE_S", 0.5)
    device = SunspecDevice(PV)
    with device.serving() as port, reader_of(port, Kind.PV) as reader:
        reader.link.command(5.0)
        reader.until(lambda: device.has(123, "WMaxLim_Ena") == 1, "the limit")
        device.set(123, "WMaxLimPct", 1000)
        wanted = "model 123, WMaxLimPct: 500 was written and 1000 stands there"
        reader.until(lambda: any(read.trouble == wanted for read in reader.found), "the difference")
        reader.until(lambda: device.has(123, "WMaxLimPct") == 500, "the limit again")
        reader.until(lambda: reader.found[-1].trouble == "", "no trouble any more")
        device.keeps = False
        reader.link.command(1.0)
        wanted = "model 123, WMaxLimPct: 100 was written and 500 stands there"
        reader.until(lambda: reader.found[-1].trouble == wanted, "a device that accepts and forgets")
        assert reader.found[-1].power_kw == -5.12


def test_a_device_that_cannot_be_commanded_is_read_and_says_so() -> None:
    device = SunspecDevice({1: lab.COMMON, 103: lab.INVERTER, 123: {"WMaxLimPct_SF": 0}})
    with device.serving() as port, reader_of(port, Kind.PV) as reader:
        reader.link.command(5.0)
        reader.until(lambda: bool(reader.found), "a reading")
        assert reader.found[0].trouble == (
            "the device cannot be commanded: it has not implemented model 704 or 123; it offers 1, 103, 123"
        )
        assert not device.written
    no_base = SunspecDevice({1: lab.COMMON, 103: lab.INVERTER, 123: lab.LIMITS})
    with no_base.serving() as port, reader_of(port, Kind.PV) as reader:
        reader.link.command(5.0)
        reader.until(
            lambda: any("5 kW cannot be commanded" in (read.trouble or "") for read in reader.found), "why not"
        )
        assert not no_base.written


@pytest.mark.parametrize(
    ("registers", "says"),
    [
        ((0, 0), "no SunSpec: 'SunS' stands at none of the registers 40000, 50000, 0"),
        ((*lab.SUNS, 103, 65_535), "the chain of models is broken: model 103 of 65535 registers stands at 40002"),
        ((*lab.SUNS, 0, 1), "the chain of models is broken: model 0 of 1 registers stands at 40002"),
        ((*lab.SUNS, 64_000, 1, 0, 0xFFFF, 0), "no power of a pv in the models that the device offers: 64000"),
        ((*lab.SUNS, *(7, 0) * 250), "the chain of models has no end: 200 models up to register 40402"),
    ],
)
def test_what_is_no_sunspec_device_is_named(registers: tuple[int, ...], says: str) -> None:
    device = SunspecDevice({})
    device.put(40_000, *registers)
    with device.serving() as port, reader_of(port, Kind.PV) as reader:
        reader.until(lambda: bool(reader.found), "the trouble")
        assert reader.found[0].trouble == says


def test_a_device_that_comes_back_with_other_models_is_looked_at_again() -> None:
    device = SunspecDevice(PV)
    with device.serving() as port, reader_of(port, Kind.PV) as reader:
        reader.until(lambda: bool(reader.found), "a reading")
        other = SunspecDevice({1: lab.COMMON, 120: lab.RATING, 701: lab.DER})
        device.become(other)
        reader.until(lambda: reader.found[-1].power_kw == -0.731, "the new models")
        changed = [read for read in reader.found if "no longer: the device has changed" in (read.trouble or "")]
        assert len(changed) == 1


def test_a_slow_device_stalls_no_other_and_nobody_who_commands() -> None:
    slow, quick = SunspecDevice(PV), SunspecDevice(PV)
    slow.slow_s = 30.0
    with (
        slow.serving() as at,
        quick.serving() as port,
        reader_of(at, Kind.PV, timeout_s=2.0) as stalled,
        reader_of(port, Kind.PV) as reader,
    ):
        began = time.monotonic()
        stalled.link.command(1.0)
        reader.link.command(1.0)
        assert time.monotonic() - began < 0.5, "a command returns at once"
        reader.until(lambda: len(reader.found) >= 5, "readings beside a slow device", seconds=15.0)
        assert not any(read.power_kw for read in stalled.found)
        slow.slow_s = 0.0


def test_sunspec_shows_what_a_device_offers_and_its_lines_are_a_driver_of_the_site(tmp_path: Path) -> None:
    device = SunspecDevice(BESS)
    with device.serving() as port:
        done = call("sunspec", "127.0.0.1", "--port", str(port), "--points", "--json", "found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["identity"] == {"manufacturer": "Lab", "model": "Bench", "serial": "1"}
    assert [each["id"] for each in found["models"]][:3] == [1, 103, 124]
    assert found["measured"] == {"power_kw": 0.02, "energy_export_kwh": 123.45, "soc_frac": 0.555}
    assert found["commands"] == "model 124: OutWRte, InWRte, StorCtl_Mod; InOutWRte_RvrtTms"
    site = found["site"]
    assert SunspecDriver.model_validate(site["driver"]).port == port
    assert f"driver: {{type: sunspec, host: 127.0.0.1, port: {port}}}" in done.stdout
    assert "ChaState             55.5 % AhrRtg" in done.stdout
    assert not device.written


def test_sunspec_names_who_does_not_answer(tmp_path: Path) -> None:
    done = call("sunspec", "127.0.0.1", "--port", "1", "--timeout", "0.5", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (1, "127.0.0.1:1 cannot be reached")


class Rude:
    """A device that begins a connection and then does what it likes."""

    def __init__(self, *answers: bytes | None) -> None:
        """``answers``: to each request in turn, the transaction's identifier before it; None: it hangs up."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._answers = list(answers)
        self.port = self._listening.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with one, contextlib.suppress(OSError):
                while request := one.recv(300):
                    answer = self._answers.pop(0) if self._answers else None
                    if answer is None:
                        break
                    one.sendall(request[:2] + answer)

    def close(self) -> None:
        self._listening.close()


MARK = b"\0\0\0\7\1\3\4SunS"


@pytest.mark.parametrize(
    "answers",
    [
        (None,),
        (MARK, None),
        (MARK[:6],),
        (b"\0\0\0\5\1\3\2Su",),
        (b"\0\0\0\3\1\x83\6",),
        (b"\0\0\0\7\1\4\4SunS",),
        (b"\xff" * 300,),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
        (MARK, b"\0\0\0\7\1\3\4\0\1\0\x42", b"\0\0\0\7\1\3\4\0\x67\0\x32", None),
    ],
)
def test_a_device_that_breaks_off_or_answers_nonsense_is_named_and_asked_anew(
    answers: tuple[bytes | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.drivers.polled_link.RETRY_S", 0.1)
    rude = Rude(*answers)
    with contextlib.closing(rude), reader_of(rude.port, Kind.PV, timeout_s=0.3) as reader:
        reader.link.command(1.0)
        reader.until(lambda: len(reader.found) >= 2, "two troubles")
        assert all(read.trouble and read.power_kw is None for read in reader.found)
        assert rude.connections >= 2
        known = ("read ", "no SunSpec", "the chain of models", f"127.0.0.1:{rude.port} cannot be reached")
        assert [read.trouble for read in reader.found if not str(read.trouble).startswith(known)] == []
