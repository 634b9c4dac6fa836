"""The participant of a real device, from the site's description of its driver."""

from collections.abc import Callable
from pathlib import Path

from broker.address import BrokerAddress, Credentials, parse_broker
from broker.mqtt import MqttTransport
from schemas.errors import Code, InputError
from schemas.participant import Participant
from schemas.site import Site
from schemas.site.drivers import ModbusDriver, MqttDriver, SunspecDriver
from schemas.topics import Kind
from services.drivers.link import Link
from services.drivers.modbus_link import ModbusLink
from services.drivers.mqtt_link import MqttLink
from services.drivers.participant import DRIVEN, Driver
from services.drivers.presets import resolved
from services.drivers.sunspec_link import SunspecLink
from twinswarm.extras import require


def driver_of(site: Site, device: str) -> MqttDriver | ModbusDriver | SunspecDriver:
    """The device's driver, its preset filled in. Raises InputError for a device that has none, or may have none."""
    spec = site.devices.get(device)
    if spec is None:
        raise InputError.one("DEVICE", f"the site {site.site} has {', '.join(site.devices)}", device, code=Code.UNKNOWN)
    where = f"devices.{device}.driver"
    if spec.driver is None:
        raise InputError.one(
            where, "is missing: how is the real device reached? See docs/drivers.md", code=Code.MISSING
        )
    if Kind(spec.kind) not in DRIVEN:
        allowed = ", ".join(sorted(kind.value for kind in DRIVEN))
        raise InputError.one(
            where, f"a {spec.kind} has no drivers yet; there are those of {allowed}", code=Code.UNKNOWN
        )
    if isinstance(spec.driver, SunspecDriver):
        if spec.kind == "charger":
            what = "a charger has no models in SunSpec; use modbus with its registers, or mqtt"
            raise InputError.one(f"{where}.type", what, "sunspec", code=Code.CONFLICT)
        return spec.driver
    driver = resolved(spec.driver) if isinstance(spec.driver, MqttDriver) else spec.driver
    if spec.kind == "bess" and driver.soc_frac is None:
        raise InputError.one(f"{where}.soc_frac", "is missing: a battery is planned by its SOC", code=Code.MISSING)
    return driver


def link_of(site: Site, device: str) -> Link:
    """The connection to the device. Raises InputError."""
    driver, where = driver_of(site, device), f"devices.{device}.driver"
    name = f"{site.site}/{device}"
    if isinstance(driver, ModbusDriver):
        require("pymodbus")
        return ModbusLink(name, driver)
    if isinstance(driver, SunspecDriver):
        require("pymodbus")
        require("sunspec2")
        spec = site.devices[device]
        return SunspecLink(name, Kind(spec.kind), driver, commanded=spec.nameplate.commanded)
    address = parse_broker(driver.broker, where=f"{where}.broker")
    assert isinstance(address, BrokerAddress), "the pattern of the field allows no other"
    credentials = Credentials(
        cafile=None if driver.cafile is None else Path(driver.cafile),
        username=driver.username,
        password_file=None if driver.password_file is None else Path(driver.password_file),
    )
    identifier = f"twinswarm-{site.site}-{device}"
    return MqttLink(name, driver, lambda: MqttTransport(address, identifier, credentials))


def driven(site: Site, device: str) -> Callable[[], Participant]:
    """How to build the participant of a real device. Raises InputError."""
    max_age_s = driver_of(site, device).max_age_s
    link = link_of(site, device)
    return lambda: Driver(site, device, link, max_age_s=max_age_s)
