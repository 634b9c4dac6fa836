"""A recorded run as an xarray Dataset.

Dimensions: ``time`` (UTC; the instants of `History.grid`), ``interval`` (their starts but the last), ``device``
(all with telemetry but the PCC meter; coordinate ``kind``), ``node`` and ``element`` of the network. Variables, each
with its unit in ``attrs["units"]``; not a number where nothing was told:

- per (time, device): ``power_kw`` just after the instant, ``energy_import_kwh``, ``energy_export_kwh`` (registers),
  ``soc_frac`` (BESS, plugged vehicle), ``available_kw`` (PV), ``plugged``, ``setpoint_kw`` and ``setpoint_limit_kw``
  (in force after the instant)
- per (time, device), on sites with a heat pump: ``heat_kw``, ``cop``, ``temp_outdoor_c``, ``heat_demand_kw``,
  ``heat_kwh``, ``heat_served_kwh``, ``heat_unserved_kwh``
- per (time): ``pcc_kw``, ``pcc_import_kwh``, ``pcc_export_kwh``, ``losses_kw``, ``losses_kwh``,
  ``purchase_price_eur_per_kwh``, ``sale_price_eur_per_kwh``
- per (interval, device): ``mean_power_kw``; per (interval): ``mean_pcc_kw``, by register differences
- per (time, node): ``voltage_pu``; per (time, element): ``loading_frac``
"""

import bisect
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from schemas.capabilities import Group
from schemas.messages import (
    ChargerTelemetry,
    NetworkTelemetry,
    Quantity,
    Setpoint,
    Telemetry,
)
from services.history.tracks import Track, mean_kw, soc_of

if TYPE_CHECKING:
    from services.history.reader import History

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
_NAN = float("nan")
_HEAT = {
    "heat_kw": "kW",
    "cop": "1",
    "temp_outdoor_c": "degC",
    "heat_demand_kw": "kW",
    "heat_kwh": "kWh",
    "heat_served_kwh": "kWh",
    "heat_unserved_kwh": "kWh",
}
"""Fields of heat pumps' telemetry, with their units."""


def dataset_of(history: "History", run: str) -> xr.Dataset:
    """Raises InputError when there is no such run. A run that told nothing yet gives empty dimensions."""
    from services.history.reader import pcc_of

    info, tracks, times = history.info(run), history.tracks(run), history.grid(run)
    pcc = pcc_of(tracks)
    devices = [track for track in tracks.values() if track is not pcc]
    prices = history.prices(run)
    told = {track.device: [track.at(time, info.step) for time in times] for track in tracks.values()}
    at_pcc = told[pcc.device] if pcc is not None else [None] * len(times)
    at_network = [body if isinstance(body, NetworkTelemetry) else None for body in at_pcc]

    def per_device(value: Callable[[Telemetry], float | None]) -> Floats:
        return _array([[_or_nan(body, value) for body in told[t.device]] for t in devices], len(times))

    def setpoints(value: Callable[[Setpoint], float | None]) -> Floats:
        by_device = [[body for _, body in history.setpoints(run, track.device)] for track in devices]
        return _array([[_in_force(found, time, value) for time in times] for found in by_device], len(times))

    def per_time(value: Callable[[Telemetry], float | None]) -> Floats:
        return np.array([_or_nan(body, value) for body in at_pcc], dtype=np.float64)

    def price(quantity: Quantity) -> Floats:
        return np.array([_number(prices.at(quantity, time)) for time in times], dtype=np.float64)

    nodes = sorted({node for body in at_network if body for node in body.voltages_pu})
    elements = sorted({element for body in at_network if body for element in body.loadings_frac})
    both, one = ("time", "device"), ("time",)
    heat = _HEAT if any(track.group is Group.HEAT for track in devices) else {}
    purchase, sale = Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE
    return xr.Dataset(
        {
            "power_kw": (both, per_device(lambda body: body.power_kw), {"units": "kW"}),
            "energy_import_kwh": (both, per_device(lambda body: body.energy_import_kwh), {"units": "kWh"}),
            "energy_export_kwh": (both, per_device(lambda body: body.energy_export_kwh), {"units": "kWh"}),
            "soc_frac": (both, per_device(soc_of), {"units": "1"}),
            "plugged": (both, per_device(_plugged), {"units": "1"}),
            "available_kw": (both, per_device(_available), {"units": "kW"}),
            "setpoint_kw": (both, setpoints(lambda body: body.power_kw), {"units": "kW"}),
            "setpoint_limit_kw": (both, setpoints(lambda body: body.limit_kw), {"units": "kW"}),
            **{name: (both, per_device(_told(name)), {"units": units}) for name, units in heat.items()},
            "pcc_kw": (one, per_time(lambda body: body.power_kw), {"units": "kW"}),
            "pcc_import_kwh": (one, per_time(lambda body: body.energy_import_kwh), {"units": "kWh"}),
            "pcc_export_kwh": (one, per_time(lambda body: body.energy_export_kwh), {"units": "kWh"}),
            "losses_kw": (one, _losses(at_network, "losses_kw"), {"units": "kW"}),
            "losses_kwh": (one, _losses(at_network, "losses_kwh"), {"units": "kWh"}),
            str(purchase): (one, price(purchase), {"units": "€/kWh"}),
            str(sale): (one, price(sale), {"units": "€/kWh"}),
            "mean_power_kw": (
                ("interval", "device"),
                _array([_means(track, times) for track in devices], max(len(times) - 1, 0)),
                {"units": "kW"},
            ),
            "mean_pcc_kw": (
                ("interval",),
                np.array(_means(pcc, times) if pcc else [_NAN] * max(len(times) - 1, 0), dtype=np.float64),
                {"units": "kW"},
            ),
            "voltage_pu": (
                ("time", "node"),
                _table([body.voltages_pu if body else {} for body in at_network], nodes),
                {"units": "pu"},
            ),
            "loading_frac": (
                ("time", "element"),
                _table([body.loadings_frac if body else {} for body in at_network], elements),
                {"units": "1"},
            ),
        },
        coords={
            "time": _instants(times),
            "interval": _instants(times[:-1]),
            "device": np.array([track.device for track in devices], dtype=str),
            "kind": ("device", np.array([str(track.kind) for track in devices], dtype=str)),
            "node": np.array(nodes, dtype=str),
            "element": np.array(elements, dtype=str),
        },
        attrs={"run": run, "site": info.site, "label": info.label, "mode": str(info.mode), "step_s": info.step_s},
    )


def _plugged(body: Telemetry) -> float | None:
    return float(body.plugged is not None) if isinstance(body, ChargerTelemetry) else None


def _told(name: str) -> Callable[[Telemetry], float | None]:
    """A field that only some kinds have."""
    return lambda body: getattr(body, name, None)


def _available(body: Telemetry) -> float | None:
    return body.could_give_kw


def _in_force(setpoints: Sequence[Setpoint], time: datetime, value: Callable[[Setpoint], float | None]) -> float:
    """The set-point that was sent last of those valid at ``time``."""
    upto = bisect.bisect_right(setpoints, time, key=lambda setpoint: setpoint.valid_from)
    valid = next((s for s in reversed(setpoints[:upto]) if s.valid_until > time), None)
    return _number(value(valid)) if valid is not None else _NAN


def _means(track: Track, times: Sequence[datetime]) -> list[float]:
    lengths = [end - start for start, end in itertools.pairwise(times)]
    return [_number(mean_kw(flow, length)) for flow, length in zip(track.flows(times), lengths, strict=True)]


def _losses(at_network: Sequence[NetworkTelemetry | None], name: str) -> Floats:
    return np.array([_NAN if body is None else getattr(body, name) for body in at_network], dtype=np.float64)


def _table(rows: Sequence[dict[str, float]], columns: Sequence[str]) -> Floats:
    values = [[row.get(column, _NAN) for column in columns] for row in rows]
    return np.array(values, dtype=np.float64).reshape(len(rows), len(columns))


def _array(columns: Sequence[Sequence[float]], rows: int) -> Floats:
    return np.array(columns, dtype=np.float64).reshape(len(columns), rows).T


def _instants(times: Sequence[datetime]) -> "np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]":
    return np.array([time.astimezone(UTC).replace(tzinfo=None) for time in times], dtype="datetime64[ns]")


def _or_nan(body: Telemetry | None, value: Callable[[Telemetry], float | None]) -> float:
    return _NAN if body is None else _number(value(body))


def _number(value: float | None) -> float:
    return _NAN if value is None else value
