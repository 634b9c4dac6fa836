"""The site's load by meter, and the losses of its network."""

from collections.abc import Iterable

import numpy as np

from schemas.messages import MeterRole, NetworkTelemetry, Quantity, ValueSeries
from schemas.site import Site
from schemas.sums import sum_in_order
from services.ems.network_limits import UNKNOWN_METER
from services.ems.problem import Values
from services.ems.problem_builder.expectation import measured_then_forecast
from services.ems.problem_builder.window import Window, values_of
from services.ems.series_alignment import latest
from services.ems.stores import Array
from services.ems.system_state import DeviceState, SystemState, meter_role


def losses_of(present: dict[str, DeviceState]) -> float:
    """Losses of the site's network [kW]: what the PCC meter measured last persists over the window."""
    return sum_in_order(
        known.telemetry.losses_kw for known in present.values() if isinstance(known.telemetry, NetworkTelemetry)
    )


def loads_of(
    state: SystemState,
    present: dict[str, DeviceState],
    site: Site,
    window: Window,
    losses: float,
    *,
    measured_now: bool = True,
) -> dict[str, Array]:
    """Load [kW] by meter: each meter's measurement now, its forecast later; without a forecast it persists.

    Without a load meter the measurement is PCC minus devices minus losses, and nobody's by name.
    """
    forecasts: dict[str, list[ValueSeries]] = {}
    for series in state.values(Quantity.LOAD):
        if series.start <= window.start:
            forecasts.setdefault(series.device or UNKNOWN_METER, []).append(series)
    meters = {
        name: known.telemetry.power_kw
        for name, known in present.items()
        if meter_role(known) == MeterRole.LOAD.value and known.telemetry is not None
    }
    loads = {
        name: measured_then_forecast(
            latest(forecasts.get(name, ())), meters.get(name), site, window, measured_now=measured_now
        )
        for name in sorted(forecasts.keys() | meters.keys())
    }
    if meters or (rest := _load_by_difference(present, losses)) is None:
        return loads
    total = np.array(total_of(loads.values(), window)) if forecasts else np.full(window.steps, rest)
    if measured_now:
        total[0] = rest
    return {UNKNOWN_METER: total}


def total_of(loads: Iterable[Array], window: Window) -> Values:
    total = np.zeros(window.steps)
    for values in loads:
        total = total + values
    return values_of(total)


def _load_by_difference(present: dict[str, DeviceState], losses: float) -> float | None:
    pcc = [k.telemetry for k in present.values() if meter_role(k) == MeterRole.PCC.value and k.telemetry is not None]
    if not pcc:
        return None
    devices = sum_in_order(
        known.telemetry.power_kw
        for known in present.values()
        if known.telemetry is not None and known.birth.capabilities and meter_role(known) is None
    )
    return pcc[0].power_kw - devices - losses
