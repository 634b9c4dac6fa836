"""The participant of a real device, from the site's description of its driver."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from broker.address import BrokerAddress, Credentials, parse_broker
from broker.mqtt import MqttTransport
from schemas.errors import Code, InputError
from schemas.messages import Fallback
from schemas.participant import Participant
from schemas.site import PHASES, Charger, Site
from schemas.site.drivers import Driver as DriverSpec
from schemas.site.drivers import ModbusDriver, MqttConnection, MqttDriver, OcppDriver, S2Driver, SunspecDriver
from schemas.topics import Kind
from services.drivers.link import Link
from services.drivers.modbus_link import ModbusLink
from services.drivers.mqtt_link import MqttLink
from services.drivers.ocpp.csms import Csms
from services.drivers.ocpp.link import OcppLink
from services.drivers.participant import DRIVEN, Driver
from services.drivers.presets import resolved
from services.drivers.s2.link import S2Link
from services.drivers.sunspec_link import SunspecLink
from services.ocpp.readings import Rated
from twinswarm.extras import require


def driver_of(site: Site, device: str) -> DriverSpec:
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
    if isinstance(spec.driver, OcppDriver | SunspecDriver | S2Driver):
        return spec.driver
    driver = resolved(spec.driver)
    if spec.kind == "bess" and driver.soc_frac is None:
        raise InputError.one(f"{where}.soc_frac", "is missing: a battery is planned by its SOC", code=Code.MISSING)
    return driver


def links_of(site: Site, devices: Sequence[str]) -> Mapping[str, Link]:
    """The connections to devices; the OCPP chargers among them share one central system. Raises InputError."""
    csms: Csms | None = None
    found: dict[str, Link] = {}
    for device in devices:
        driver = driver_of(site, device)
        if isinstance(driver, OcppDriver):
            require("ocpp", "websockets")
            csms = csms or Csms(site.ocpp)
            found[device] = _ocpp_link(site, device, driver, csms)
        elif isinstance(driver, S2Driver):
            require("s2python", "websockets")
            found[device] = S2Link(f"{site.site}/{device}", driver, safe_kw=0.0)
        elif isinstance(driver, ModbusDriver):
            require("pymodbus")
            found[device] = ModbusLink(f"{site.site}/{device}", driver)
        elif isinstance(driver, SunspecDriver):
            require("pymodbus", "sunspec2")
            spec = site.devices[device]
            found[device] = SunspecLink(
                f"{site.site}/{device}", Kind(spec.kind), driver, commanded=spec.nameplate.commanded
            )
        else:
            found[device] = _mqtt_link(site, device, driver)
    return found


def _ocpp_link(site: Site, device: str, driver: OcppDriver, csms: Csms) -> Link:
    spec = site.devices[device]
    assert isinstance(spec, Charger), "the site's own check allows no other"
    rated = Rated(
        spec.max_charge_kw,
        spec.max_discharge_kw,
        spec.phases,
        driver.voltage_v,
        driver.power_unit,
        driver.energy_unit,
        switches_phases=spec.phase_switch is not None,
        alone=None if spec.phase is None or spec.phase_switch is None else PHASES.index(spec.phase) + 1,
    )
    safe_kw = 0.0 if spec.reverts_to is Fallback.IDLE else spec.nameplate.uncontrolled_kw
    return OcppLink(f"{site.site}/{device}", driver, rated, safe_kw, csms)


def _mqtt_link(site: Site, device: str, driver: MqttDriver) -> Link:
    return MqttLink(f"{site.site}/{device}", driver, mqtt_connection(site, device, driver, f"devices.{device}.driver"))


def mqtt_connection(site: Site, name: str, given: MqttConnection, where: str) -> Callable[[], MqttTransport]:
    """How to connect to a device's own broker. Raises InputError, naming the field by ``where``."""
    address = parse_broker(given.broker, where=f"{where}.broker")
    assert isinstance(address, BrokerAddress), "the pattern of the field allows no other"
    credentials = Credentials(
        cafile=None if given.cafile is None else Path(given.cafile),
        username=given.username,
        password_file=None if given.password_file is None else Path(given.password_file),
    )
    return lambda: MqttTransport(address, f"twinswarm-{site.site}-{name}", credentials)


def all_driven(site: Site, devices: Sequence[str]) -> dict[str, Callable[[], Participant]]:
    """How to build the participants of real devices, by their names. Raises InputError."""
    links = links_of(site, devices)
    return {device: _driven(site, device, link) for device, link in links.items()}


def _driven(site: Site, device: str, link: Link) -> Callable[[], Participant]:
    max_age_s = driver_of(site, device).max_age_s
    return lambda: Driver(site, device, link, max_age_s=max_age_s)


def driven(site: Site, device: str) -> Callable[[], Participant]:
    """How to build the participant of a real device. Raises InputError."""
    return all_driven(site, [device])[device]
