"""A device with SunSpec Modbus: it says by itself where its measurements are and how it is commanded."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from schemas.site.drivers import SunspecDriver
from schemas.topics import Kind
from services.drivers.link import Measured, what_is_possible
from services.drivers.polled_link import NoAnswerError, PolledLink
from services.sunspec.block import Block, by_model
from services.sunspec.controls import CONTROLS, Control, control_of
from services.sunspec.definitions import definition
from services.sunspec.discovery import Found, discover
from services.sunspec.measurements import MEASUREMENTS, RATED, first, models_of, value_at
from services.sunspec.numbers import SunspecError
from services.sunspec.runs import adjacent, chunks

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

LOG = logging.getLogger(__name__)

REWRITE_S = 5.0
"""What a device does not keep is written again after so long."""


class SunspecLink(PolledLink):
    """Finds the device's models when it is reached, and reads those that the contract needs."""

    def __init__(self, name: str, kind: Kind, driver: SunspecDriver, *, commanded: bool) -> None:
        """``commanded``: whether the site's description of the device lets it be commanded."""
        super().__init__(name, driver)
        self._kind, self._driver = kind, driver
        self._commanded = commanded and driver.command and bool(CONTROLS[kind])
        self._control: Control | None = None
        self._blocks: dict[int, Block] = {}
        self._dynamic: tuple[int, ...] = ()
        """Models that are read each time; ratings and the like once."""
        self._written: dict[str, list[int]] = {}
        """Points of the control as they were written last."""
        self._trouble = ""

    @property
    def commanded(self) -> bool:
        return self._commanded

    @property
    def _repeat_s(self) -> float | None:
        """Thrice in the device's own time-out; or soon, when it has not kept what was written."""
        if self._trouble:
            return REWRITE_S
        control, revert_s = self._control, self._driver.revert_s
        return revert_s / 3.0 if control is not None and revert_s and control.reverts(self._blocks) else None

    # ---- the beginning

    def _begin(self, client: "ModbusTcpClient") -> None:
        found = self.models(client)
        controls = {control.model for control in CONTROLS[self._kind]} if self._commanded else set()
        rated = {place.model for place in RATED}
        needed = models_of(self._kind) | controls | rated
        self._blocks = by_model(self.block(client, each) for each in found if each.id in needed)
        offered = ", ".join(str(each.id) for each in found) or "none"
        chosen = {name: first(places, self._blocks) for name, places in MEASUREMENTS[self._kind].items()}
        if chosen["power_kw"] is None:
            raise NoAnswerError(f"no power of a {self._kind} in the models that the device offers: {offered}")
        used = {place.model for place in chosen.values() if place is not None}
        self._control = control_of(self._kind, self._blocks) if self._commanded else None
        if self._control is not None:
            used.add(self._control.model)
        self._dynamic = tuple(model for model in self._blocks if model in used)
        self._written, self._trouble = {}, ""
        self._say_what_it_can(offered)

    def _say_what_it_can(self, offered: str) -> None:
        LOG.info("%s offers the models %s; read are %s", self.name, offered, self._dynamic)
        if not self._commanded:
            return
        if self._control is None:
            models = " or ".join(str(control.model) for control in CONTROLS[self._kind])
            self._trouble = (
                f"the device cannot be commanded: it has not implemented model {models}; it offers {offered}"
            )
            LOG.warning("%s: %s", self.name, self._trouble)
        elif not self._control.reverts(self._blocks):
            name = f"{self._control.timer} of model {self._control.model}"
            LOG.warning("%s has no time-out of its own (%s): it keeps a command without a driver", self.name, name)

    def models(self, client: "ModbusTcpClient") -> list[Found]:
        """What the device offers. Raises NoAnswerError."""

        def read(address: int, count: int) -> Sequence[int] | None:
            answer = self._answered(f"read {address}", client.read_holding_registers, address, count=count)
            return None if answer.isError() or len(answer.registers) != count else answer.registers

        try:
            return discover(read, self._driver.base)
        except SunspecError as error:
            raise NoAnswerError(str(error)) from None

    def block(self, client: "ModbusTcpClient", found: Found) -> Block:
        """The registers of a model, as far as it is published. Raises NoAnswerError."""
        known = definition(found.id)
        block = Block(known, found.address, ())
        for offset, count in chunks(known, min(known.size, found.length + 2)):
            address = found.address + offset
            what = f"read model {found.id} at {address}"
            block.registers += self._asked(what, client.read_holding_registers, address, count=count).registers
        if block.registers[:1] != [found.id]:
            raise NoAnswerError(f"model {found.id} stands at {found.address} no longer: the device has changed")
        return block

    # ---- measurements

    def _read(self, client: "ModbusTcpClient") -> Measured:
        for model in self._dynamic:
            block = self._blocks[model]
            self._blocks[model] = self.block(client, Found(model, block.address, len(block.registers) - 2))
        found: dict[str, float] = {}
        troubles: list[str] = []
        for name, places in MEASUREMENTS[self._kind].items():
            try:
                value = value_at(places, self._blocks)
            except SunspecError as error:
                troubles.append(str(error))
                continue
            if value is not None:
                found[name] = value
        if "power_kw" in found and self._driver.invert_power:
            found["power_kw"] = -found["power_kw"]
        self._compare()
        said = "; ".join([*([self._trouble] if self._trouble else []), *troubles])[:300]
        return what_is_possible(self._complaints, found, said, wanted=MEASUREMENTS[self._kind])

    # ---- commands

    def _write(self, client: "ModbusTcpClient", wanted_kw: float) -> None:
        control = self._control
        if control is None:
            return
        block = self._blocks[control.model]
        try:
            values = control.written(wanted_kw, self._blocks, self._driver.revert_s)
            points = {
                name: block.encoded(name, value, cut=True)
                for name, value in values.items()
                if self._has(block, control, name)
            }
        except SunspecError as error:
            self._trouble = f"{wanted_kw:g} kW cannot be commanded: {error}"
            LOG.warning("%s: %s", self.name, self._trouble)
            return
        for address, registers in adjacent(block, points, last=control.enable):
            what = f"write {registers} at {address} (model {control.model})"
            self._asked(what, client.write_registers, address, registers)
        self._written = points
        found = Found(block.id, block.address, len(block.registers) - 2)
        self._blocks[control.model] = self.block(client, found)
        self._compare()

    @staticmethod
    def _has(block: Block, control: Control, name: str) -> bool:
        return name in control.needed or block.raw(name) is not None

    def _compare(self) -> None:
        """Names what the device holds and was not written. Its timer may run, and is not compared."""
        control = self._control
        if control is None or not self._written:
            return
        block = self._blocks[control.model]
        differ = []
        for name, registers in self._written.items():
            asked, has = block.decoded(name, registers), block.raw(name)
            # A control that is off holds whatever it likes.
            off = name != control.enable and not any(self._written[control.enable])
            if name != control.timer and not off and has != asked:
                differ.append(f"{name}: {asked} was written and {has} stands there")
        before, self._trouble = self._trouble, f"model {control.model}, {'; '.join(differ)}" if differ else ""
        if self._trouble and self._trouble != before:
            LOG.warning("%s: %s", self.name, self._trouble)
