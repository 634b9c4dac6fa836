"""A SunSpec device on loopback. Its registers are encoded by pysunspec2, the SunSpec Alliance's own library."""

import struct
from collections.abc import Mapping
from typing import Any

import sunspec2.device as alliance

from tests.drivers.modbus_device import Device

SUNS = (0x5375, 0x6E53)


class SunspecDevice(Device):
    """``models``: identifier -> points by name, raw as on the wire; the others are not implemented."""

    def __init__(self, models: Mapping[int, Mapping[str, Any]], base: int = 40_000) -> None:
        super().__init__(begin=base, count=1200)
        self.addresses: dict[int, int] = {}
        self._offsets: dict[int, dict[str, int]] = {}
        self.put(base, *SUNS)
        address = base + 2
        for model, points in models.items():
            made = alliance.Model(model)
            for name, value in points.items():
                made.points[name].value = value
            registers = struct.unpack(f">{len(made.get_mb()) // 2}H", made.get_mb())
            self.addresses[model] = address
            self._offsets[model] = {name: point.offset for name, point in made.points.items()}
            self.put(address, *registers)
            address += len(registers)
        self.put(address, 0xFFFF, 0)

    def at(self, model: int, point: str) -> int:
        """The register of a point."""
        return self.addresses[model] + self._offsets[model][point]

    def set(self, model: int, point: str, *registers: int) -> None:
        self.put(self.at(model, point), *registers)

    def become(self, other: "SunspecDevice") -> None:
        """From now on it has the other one's registers."""
        self._put |= other._put
        self.addresses, self._offsets = other.addresses, other._offsets

    def has(self, model: int, point: str) -> int:
        """The register as the driver has left it, or as it was put; signed."""
        register = self.register(self.at(model, point))
        return register - 0x10000 if register >= 0x8000 else register


COMMON = {"Mn": "Lab", "Md": "Bench", "SN": "1"}
INVERTER = {"W": -2, "W_SF": 1, "WH": 12_345, "WH_SF": 1}
RATING = {"WRtg": 100, "WRtg_SF": 2}
LIMITS = {"WMaxLimPct": 1000, "WMaxLimPct_SF": -1, "WMaxLimPct_RvrtTms": 0, "WMaxLim_Ena": 0}
STORAGE = {
    "WChaMax": 80,
    "WChaMax_SF": 2,
    "StorCtl_Mod": 0,
    "ChaState": 555,
    "ChaState_SF": -1,
    "OutWRte": 10_000,
    "InWRte": 10_000,
    "InOutWRte_SF": -2,
    "InOutWRte_RvrtTms": 0,
}
DER = {"W": 731, "W_SF": 0, "TotWhInj": 6_000_000_000, "TotWhAbs": 7_000, "TotWh_SF": 0}
DER_RATING = {"WMaxRtg": 1000, "WMax": 1000, "W_SF": 1}
DER_CONTROL = {
    "WMaxLimPctEna": 0,
    "WMaxLimPct": 100,
    "WMaxLimPctEnaRvrt": 1,
    "WMaxLimPctRvrtTms": 0,
    "WMaxLimPct_SF": 0,
    "WSetEna": 0,
    "WSetMod": 0,
    "WSet": 0,
    "WSetEnaRvrt": 1,
    "WSetRvrtTms": 0,
    "WSet_SF": 1,
}
DER_STORAGE = {"WHRtg": 20_000, "SoC": 815, "Pct_SF": -1}
METER = {"W": -1234, "W_SF": 0, "TotWhExp": 5000, "TotWhImp": 7000, "TotWh_SF": 1}
