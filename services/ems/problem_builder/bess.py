"""A BESS: what it wants at midnight, and the value of what is left in it at the window's end."""

import math
from collections.abc import Mapping

from schemas.messages import BessNameplate, BessTelemetry
from schemas.site import Site, next_midnight
from services.ems.ageing import ageing_price
from services.ems.problem import PATIENCE, BessUnit, Wish
from services.ems.problem_builder.expectation import PURCHASE, co2_intensity, expected_price
from services.ems.problem_builder.objective import weights_of
from services.ems.problem_builder.window import Window
from services.ems.system_state import DeviceState, SystemState


def bess_unit(
    name: str, known: DeviceState, state: SystemState, site: Site, window: Window, began: Mapping[str, float]
) -> BessUnit | None:
    plate = known.birth.nameplate
    if not (isinstance(plate, BessNameplate) and isinstance(known.telemetry, BessTelemetry)):
        return None
    capacity = plate.capacity_kwh
    wishes = []
    wanted = site.ems.bess_terminal_soc_frac
    value = 0.0
    if wanted == "start":
        wanted, value = began[name], _left_eur_per_kwh(plate, state, site, window)
    midnight = next_midnight(window.start, site.zone)
    while wanted is not None and midnight <= window.end:
        step = math.ceil((midnight - window.start).total_seconds() / window.step_s) - 1
        wishes.append(Wish(step, wanted * capacity))
        midnight = next_midnight(midnight, site.zone)
    return BessUnit(
        device=name,
        capacity_kwh=capacity,
        max_charge_kw=plate.max_charge_kw,
        max_discharge_kw=plate.max_discharge_kw,
        charge_efficiency=plate.charge_efficiency,
        discharge_efficiency=plate.discharge_efficiency,
        energy_min_kwh=min(plate.soc_min_frac, plate.soc_max_frac) * capacity,
        energy_max_kwh=plate.soc_max_frac * capacity,
        energy_kwh=known.telemetry.soc_frac * capacity,
        wishes=tuple(wishes),
        left_eur_per_kwh=value,
        flowing_kw=known.telemetry.power_kw,
        ageing=ageing_price(site.calendar_wear(name)),
    )


def _left_eur_per_kwh(plate: BessNameplate, state: SystemState, site: Site, window: Window) -> float:
    """Value of a kWh that is left in store at the window's end.

    It replaces a purchase at the lowest price that is expected in the day after, which any use of it beats; less wear
    and twice the tie-break, so that what can be used now at the same price is.
    """
    after = Window(window.end, 3600, 24)
    options = site.ems
    weights = weights_of(site)
    co2 = co2_intensity(state, site, after) or (0.0,) * after.steps
    price = min(map(weights.of_import, expected_price(state, PURCHASE, site, after), co2))
    price -= weights.cost * options.bess_wear_eur_per_kwh + PATIENCE * options.tie_throughput_eur_per_kwh
    return max(price, 0.0) * plate.discharge_efficiency
