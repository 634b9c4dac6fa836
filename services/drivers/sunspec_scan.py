"""What a SunSpec device offers, and how it would be described in a site."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.site.drivers import SunspecDriver
from schemas.topics import Kind
from services.drivers.polled_link import NoAnswerError
from services.drivers.sunspec_link import SunspecLink
from services.sunspec.block import Block, by_model
from services.sunspec.controls import control_of
from services.sunspec.definitions import definition
from services.sunspec.discovery import Found
from services.sunspec.measurements import MEASUREMENTS, METERS, RATED, value_at
from services.sunspec.numbers import SunspecError


@dataclass(frozen=True)
class Offer:
    """The models of a device; ``blocks`` are those that are published, with their registers."""

    models: list[Found]
    blocks: dict[int, Block]

    @property
    def identity(self) -> dict[str, str]:
        """Manufacturer, model, version and serial number, as the device says them."""
        names = {"Mn": "manufacturer", "Md": "model", "Vr": "version", "SN": "serial"}
        common = self.blocks.get(1)
        said = {} if common is None else {name: common.text(point) for point, name in names.items()}
        return {name: text for name, text in said.items() if text is not None}

    @property
    def kind(self) -> Kind | None:
        """What it is most likely; None: nothing that has a driver."""
        if any(model in self.blocks for model in METERS):
            return Kind.METER
        if "power_kw" not in self.measured(Kind.BESS):
            return None
        return Kind.BESS if "soc_frac" in self.measured(Kind.BESS) else Kind.PV

    def measured(self, kind: Kind) -> dict[str, float | str]:
        """The contract's values as a device of this kind, or why one cannot be read."""
        found: dict[str, float | str] = {}
        for name, places in MEASUREMENTS[kind].items():
            try:
                value = value_at(places, self.blocks)
            except SunspecError as error:
                found[name] = str(error)
                continue
            if value is not None:
                found[name] = value
        return found

    @property
    def rated_kw(self) -> float | None:
        try:
            return value_at(RATED, self.blocks)
        except SunspecError:
            return None

    def commands(self, kind: Kind) -> str:
        """How a device of this kind would be commanded."""
        control = control_of(kind, self.blocks)
        if control is None:
            return "it cannot be commanded"
        time_out = control.timer if control.reverts(self.blocks) else "no time-out of its own"
        return f"model {control.model}: {', '.join(control.needed)}; {time_out}"

    def points(self, model: int) -> Iterator[tuple[str, str]]:
        """The implemented points of a model with their values and units."""
        block = self.blocks[model]
        for point in block.definition.points.values():
            text = block.text(point.name)
            if text is None or point.type == "sunssf" or point.name in ("ID", "L"):
                continue
            try:
                value = block.value(point.name)
            except SunspecError as error:
                yield point.name, str(error)
                continue
            yield point.name, text if value is None else f"{value:g} {point.units}".rstrip()


def scan(driver: SunspecDriver) -> Offer:
    """Reads all models of a device, and writes nothing. Raises NoAnswerError."""
    from pymodbus.client import ModbusTcpClient

    link = SunspecLink(f"{driver.host}:{driver.port}", Kind.METER, driver, commanded=False)
    client = ModbusTcpClient(driver.host, port=driver.port, timeout=driver.timeout_s, retries=1)
    try:
        if not client.connect():  # type: ignore[no-untyped-call]
            raise NoAnswerError(f"{driver.host}:{driver.port} cannot be reached")
        models = link.models(client)
        return Offer(models, by_model(link.block(client, each) for each in models if _published(each.id)))
    finally:
        client.close()  # type: ignore[no-untyped-call]


def _published(model: int) -> bool:
    try:
        definition(model)
    except SunspecError:
        return False
    return True


def described(driver: SunspecDriver, kind: Kind) -> dict[str, Any]:
    """The lines of the site description: what differs from the defaults."""
    given = driver.model_dump(exclude_defaults=True, exclude_none=True)
    return {"kind": kind.value, "driver": {"type": "sunspec", "host": driver.host, **given}}
