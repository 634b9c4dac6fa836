"""The registers in which a twin shows itself to SunSpec's masters."""

from collections.abc import Mapping

from schemas.messages import BessTelemetry, PvTelemetry, Telemetry
from schemas.site import Site
from schemas.topics import Kind
from services.outward.sunspec_ratings import constants
from services.sunspec.block import Block
from services.sunspec.controls import CONTROLS, Control
from services.sunspec.definitions import definition
from services.sunspec.discovery import END, MARK
from services.sunspec.measurements import MEASUREMENTS, put

BASE = 40_000
SERIES: Mapping[str, Mapping[Kind, tuple[int, ...]]] = {
    "100": {Kind.PV: (1, 103, 120, 121, 122, 123), Kind.BESS: (1, 103, 120, 121, 124, 802), Kind.METER: (1, 203)},
    "700": {Kind.PV: (1, 701, 702, 704), Kind.BESS: (1, 701, 702, 704, 713), Kind.METER: (1, 203)},
}
"""The models of a kind of device: those of inverters from 2011 on, or those of IEEE 1547-2018. Meters have one set."""
MEASURED = frozenset(name for places in MEASUREMENTS.values() for name in places)
RUNNING, THROTTLED, STANDBY = 4, 5, 8
"""Operating states of an inverter (103 ``St``)."""
_RAMPS: Mapping[int, tuple[str, ...]] = {
    123: ("WMaxLimPct_WinTms", "WMaxLimPct_RmpTms"),
    124: ("InOutWRte_WinTms", "InOutWRte_RmpTms"),
}
"""Points between those of a control, which masters write along: a twin has neither a window nor a ramp of its own."""


def always_zero(control: Control) -> tuple[str, ...]:
    """Points that a master may write, and only as 0."""
    return (*control.zero, *_RAMPS.get(control.model, ()))


class SunspecMap:
    """The models of one device with their registers, from `BASE` on. ``series``: of `SERIES`."""

    def __init__(self, site: Site, device: str, series: str = "100") -> None:
        spec = site.devices[device]
        self.kind = Kind(spec.kind)
        models = SERIES[series][self.kind]
        controls = [control for control in CONTROLS[self.kind] if control.model in models]
        self.control: Control | None = controls[0] if controls and spec.nameplate.commanded else None
        """How it is commanded; None: not at all, and it has not the model either."""
        left_out = {control.model for control in controls if control is not self.control}
        self.blocks: dict[int, Block] = {}
        address = BASE + len(MARK)
        for model in models:
            if model not in left_out:
                self.blocks[model] = _empty(model, address)
                address += len(self.blocks[model].registers)
        for model, points in constants(site, device).items():
            for name, value in points.items() if model in self.blocks else ():
                self.blocks[model].set(name, value)
        if self.control is not None:
            for name in (self.control.timer, *always_zero(self.control)):
                self.blocks[self.control.model].set(name, 0)

    @property
    def registers(self) -> list[int]:
        """All registers from `BASE` on."""
        body = [register for block in self.blocks.values() for register in block.registers]
        return [*MARK, *body, END, 0]

    def show(self, telemetry: Telemetry, remaining_s: float | None) -> None:
        """Puts in what is measured, and the seconds until a command ends by itself. Raises SunspecError for a number
        that does not fit."""
        measured = {name: value for name in MEASURED if (value := getattr(telemetry, name, None)) is not None}
        put(self.blocks, self.kind, measured)
        if 103 in self.blocks:
            self.blocks[103].set("St", _state(telemetry))
        if 713 in self.blocks and isinstance(telemetry, BessTelemetry):
            rated_wh = self.blocks[713].value("WHRtg") or 0.0
            self.blocks[713].set("WHAvail", telemetry.soc_frac * rated_wh)
        if self.control is not None and self.control.remaining is not None:
            self.blocks[self.control.model].set(self.control.remaining, round(remaining_s or 0.0))

    def release(self) -> None:
        """The master commands no longer: its control is off, and its timer."""
        if self.control is not None:
            for name in (self.control.enable, self.control.timer):
                self.blocks[self.control.model].set(name, 0)


def _empty(model: int, address: int) -> Block:
    """The common model goes without its pad, as at most inverters: clients with fixed addresses count on it."""
    block = Block.empty(definition(model), address)
    if model == 1:
        del block.registers[block.definition.points["Pad"].offset :]
        block.set("L", len(block.registers) - 2)
    return block


def _state(telemetry: Telemetry) -> int:
    if isinstance(telemetry, PvTelemetry) and telemetry.available_kw + telemetry.power_kw > 1e-6:
        return THROTTLED
    return RUNNING if telemetry.power_kw else STANDBY
