"""A heat pump: the heat that its building takes, at the COP of the outdoor temperature."""

import numpy as np

from schemas.messages import HeatPumpNameplate, HeatPumpTelemetry, Quantity
from schemas.site import Site
from services.ems.problem import FixedUnit, HeatUnit
from services.ems.problem_builder.expectation import known_series, measured_then_forecast
from services.ems.problem_builder.window import Window, values_of
from services.ems.stores import Array
from services.ems.system_state import DeviceState, SystemState


def heat_unit(
    name: str, known: DeviceState, state: SystemState, site: Site, window: Window
) -> HeatUnit | FixedUnit | None:
    """A heat pump. What it does not measure and nobody expects is 0: 0 °C, no heat wanted.

    One that is not controllable is expected to replace, step by step, what its building takes and its buffer loses at
    the middle of its band: its thermostat does so in the mean.
    """
    plate, told = known.birth.nameplate, known.telemetry
    if not (isinstance(plate, HeatPumpNameplate) and isinstance(told, HeatPumpTelemetry)):
        return None

    def expected(quantity: Quantity, measured: float | None) -> Array:
        return measured_then_forecast(known_series(state, quantity, window, name), measured, site, window)

    cop = [plate.cop(temp) for temp in expected(Quantity.TEMP_OUTDOOR, told.temp_outdoor_c).tolist()]
    if told.cop:
        cop[0] = told.cop
    demand = np.maximum(expected(Quantity.HEAT_DEMAND, told.heat_demand_kw), 0.0)
    capacity = plate.buffer_kwh
    low, high = min(plate.soc_min_frac, plate.soc_max_frac) * capacity, plate.soc_max_frac * capacity
    if not plate.controllable:
        power = (demand + plate.loss_frac_per_h * (low + high) / 2) / np.array(cop)
        power[0] = told.power_kw
        return FixedUnit(name, values_of(np.minimum(power, plate.max_power_kw)))
    return HeatUnit(
        device=name,
        max_power_kw=plate.max_power_kw,
        min_power_kw=min(plate.min_power_kw, plate.max_power_kw),
        loss_frac_per_h=plate.loss_frac_per_h,
        capacity_kwh=capacity,
        energy_min_kwh=low,
        energy_max_kwh=high,
        energy_kwh=told.soc_frac * capacity,
        cop=tuple(cop),
        demand_kw=values_of(demand),
    )
