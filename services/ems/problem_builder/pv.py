"""A PV inverter: what it may produce at most."""

import numpy as np

from schemas.messages import PvNameplate, PvTelemetry, Quantity
from schemas.site import Site
from services.ems.problem import PvUnit
from services.ems.problem_builder.expectation import known_series, measured_then_forecast
from services.ems.problem_builder.window import Window, values_of
from services.ems.system_state import DeviceState, SystemState


def pv_unit(
    name: str, known: DeviceState, state: SystemState, site: Site, window: Window, *, measured_now: bool = True
) -> PvUnit | None:
    plate = known.birth.nameplate
    if not (isinstance(plate, PvNameplate) and isinstance(known.telemetry, PvTelemetry)):
        return None
    series = known_series(state, Quantity.PV, window, name)
    available = np.maximum(
        measured_then_forecast(series, known.telemetry.available_kw, site, window, measured_now=measured_now), 0.0
    )
    return PvUnit(name, plate.rated_kw, plate.curtailable, values_of(np.minimum(available, plate.rated_kw)))
