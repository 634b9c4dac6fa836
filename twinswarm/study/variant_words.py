"""What the variants of one's own site are, in words that speak of what it has."""

from collections.abc import Collection

from schemas.site import Bess, Charger, HeatPump, Site
from services.analysis.summary import CARS
from twinswarm.simulation.variants import Reference, is_movable
from twinswarm.study.own_site import BESS, BOTH, CONTROLLED, SMART, V2G


def baseline_words(site: Site, reference: Reference) -> str:
    """What its cars and heat pumps do in the baseline, and what is not there."""
    devices = site.devices.values()
    chargers = [device for device in devices if isinstance(device, Charger)]
    controlled = [charger for charger in chargers if is_movable(charger)]
    said = []
    if chargers:
        followed = reference if controlled or reference is Reference.NO_CARS else Reference.UNCONTROLLED
        said.append(CARS[followed.value])
    if any(isinstance(device, HeatPump) for device in devices):
        said.append("heat pumps follow their thermostats")
    missing = ["no BESS"] * any(isinstance(device, Bess) for device in devices)
    missing += ["no V2G"] * any(charger.max_discharge_kw for charger in controlled)
    return "; ".join([*said, ", ".join(missing)] if missing else said)


def variant_notes(site: Site, reference: Reference, names: Collection[str]) -> list[str]:
    """A sentence on each variant that needs one. ``names``: those that are shown."""
    devices = site.devices.values()
    moved = [type(device) for device in devices if is_movable(device)]
    found = [f"none: {baseline_words(site, reference)}. Savings are against it, the demand charge included."]
    if BESS in names and any(isinstance(device, Charger) for device in devices):
        found.append("BESS: the cars charge as with none.")
    v2g = not {V2G, BOTH}.isdisjoint(names)
    if SMART in names:
        beyond = "; what V2G saves beyond it is V2G's own" if v2g else ""
        found.append(f"smart charging: one-way, when energy is cheap{beyond}.")
    if CONTROLLED in names:
        cars = " and charges cars one-way, when energy is cheap" if Charger in moved else ""
        found.append(f"controlled: the EMS moves the heat pumps{cars}.")
    elif HeatPump in moved and (v2g or BESS in names):
        found.append("With BESS or V2G the EMS moves the heat pumps, too.")
    return found
