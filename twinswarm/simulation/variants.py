"""Variants of a site: one of its cases, with or without its storage, or its reference."""

from collections.abc import Collection
from enum import StrEnum

from schemas.site import AnyDevice, Bess, Charger, HeatPump, Site
from sites.description import SiteDescription


class StorageChoice(StrEnum):
    """The part of the site's storage that the EMS may use. The cars are there in any case, save with ``no-cars``."""

    NONE = "none"
    BESS = "bess"
    V2G = "v2g"
    BOTH = "both"


class Reference(StrEnum):
    """The day that savings are measured against: never with BESS or V2G."""

    NO_CARS = "no-cars"
    UNCONTROLLED = "uncontrolled"
    SMART = "smart"


def resolve(description: SiteDescription, case: str | None, storage: StorageChoice, reference: Reference) -> Site:
    """The one site that all services of a run get. Raises InputError for a case that the site does not have."""
    return with_storage(description.under(case), storage, reference)


def with_storage(site: Site, storage: StorageChoice, reference: Reference) -> Site:
    """The site with this much of its storage. Without V2G the cars are treated as the reference treats them.

    So two runs that differ in ``storage`` differ in nothing else: with ``bess`` the cars charge as in the reference. A
    heat pump follows its thermostat where nothing else is used either.
    """

    def is_used(device: AnyDevice) -> bool:
        if isinstance(device, Bess):
            return storage in (StorageChoice.BESS, StorageChoice.BOTH)
        if isinstance(device, Charger):
            return storage in (StorageChoice.V2G, StorageChoice.BOTH)
        return storage is not StorageChoice.NONE

    return with_devices(site, [name for name, device in site.devices.items() if is_used(device)], reference)


def with_devices(site: Site, used: Collection[str], reference: Reference) -> Site:
    """The site of which the EMS may use, among BESSs, chargers and heat pumps, those named in ``used``.

    A BESS that is not used is not there, a charger treats its cars as the reference does, a heat pump follows its
    thermostat. All other devices stay as they are.
    """
    devices = {}
    for name, device in site.devices.items():
        kept: AnyDevice | None = device
        if name in used:
            pass
        elif isinstance(device, Bess):
            kept = None
        elif isinstance(device, Charger):
            kept = _one_way(device, reference)
        elif isinstance(device, HeatPump):
            kept = device.model_copy(update={"controllable": False})
        if kept is not None:
            devices[name] = kept
    groups = tuple(
        group.model_copy(update={"devices": left})
        for group in site.ems.cable_limits
        if (left := tuple(name for name in group.devices if name in devices))
    )
    ems = site.ems.model_copy(update={"cable_limits": groups})
    return site.model_copy(update={"devices": devices, "ems": ems})


def _one_way(charger: Charger, reference: Reference) -> Charger | None:
    if reference is Reference.NO_CARS:
        return None
    update: dict[str, object] = {"max_discharge_kw": 0.0, "fallback_kw": charger.stated_fallback_kw}
    if reference is Reference.UNCONTROLLED:
        update["controllable"] = False
    return charger.model_copy(update=update)


def is_movable(device: AnyDevice) -> bool:
    """Whether the EMS may use it, among BESSs, chargers and heat pumps."""
    return isinstance(device, Bess) or (isinstance(device, Charger | HeatPump) and device.controllable)


def as_reference(site: Site, reference: Reference) -> Site:
    """The site without BESS and V2G, its heat pumps by their thermostats."""
    return with_storage(site, StorageChoice.NONE, reference)
