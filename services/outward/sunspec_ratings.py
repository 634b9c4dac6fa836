"""What does not change of a twin in SunSpec's models: identity, ratings, scale factors, controls before a command."""

from collections.abc import Mapping
from typing import Any

from schemas.participant import software
from schemas.site import Bess, Device, Pv, Site

FINE = -2
"""Power of ten of percentages."""
WIDEST = 32_000
"""A rating of more than that has a scale factor, so that it fits into one register, with its sign."""
CONNECTED, OPERATING = 0b001, 0b111


def scale_of(rating: float) -> int:
    """The power of ten with which a rating in W or Wh fits into a register."""
    scale = 0
    while rating > WIDEST * 10**scale:
        scale += 1
    return scale


def constants(site: Site, device: str) -> dict[int, dict[str, Any]]:
    """Points by model, in their units; scale factors before what they scale."""
    spec = site.devices[device]
    common = {1: _identity(site, device)}
    if isinstance(spec, Pv):
        return common | _inverter(1000 * spec.rated_kw, storage=False) | _limits()
    if isinstance(spec, Bess):
        return common | _battery(spec)
    return common | {203: {"W_SF": _meter_scale(site), "TotWh_SF": 0, "Evt": 0}}


def _meter_scale(site: Site) -> int:
    """So that all that the site's devices can draw or give at once fits."""
    return scale_of(1000 * sum(_most_kw(device) for device in site.devices.values()))


def _most_kw(device: Device) -> float:
    return max(device.nameplate.draws_kw, device.nameplate.gives_kw)


def _identity(site: Site, device: str) -> dict[str, Any]:
    name, _, version = software().partition(" ")
    return {"Mn": name, "Md": site.devices[device].kind, "Vr": version, "SN": f"{site.site}/{device}"}


def _inverter(watts: float, *, storage: bool) -> dict[int, dict[str, Any]]:
    scale = scale_of(watts)
    return {
        103: {"W_SF": scale, "WH_SF": 0, "Evt1": 0, "Evt2": 0},
        120: {"WRtg_SF": scale, "WRtg": watts, "DERTyp": 82 if storage else 4},
        121: {"WMax_SF": scale, "WMax": watts},
        122: {"PVConn": OPERATING, "StorConn": 0, "ECPConn": CONNECTED, "WAval_SF": scale},
        701: {"W_SF": scale, "TotWh_SF": 0, "ACType": 2, "St": 1, "InvSt": 3, "ConnSt": 1, "Alrm": 0},
        702: {"W_SF": scale, "WMaxRtg": watts, "WMax": watts},
    }


def _limits() -> dict[int, dict[str, Any]]:
    off = {"Conn": 1, "WMaxLim_Ena": 0, "OutPFSet_Ena": 0, "VArPct_Ena": 0}
    return {
        123: {"WMaxLimPct_SF": FINE, "WMaxLimPct": 100, **off},
        704: {"WMaxLimPct_SF": FINE, "WMaxLimPct": 100, "WMaxLimPctEna": 0, "WMaxLimPctRvrtRem": 0},
    }


def _battery(spec: Bess) -> dict[int, dict[str, Any]]:
    charge_w, discharge_w, capacity_wh = (
        1000 * kilo for kilo in (spec.max_charge_kw, spec.max_discharge_kw, spec.capacity_kwh)
    )
    most_w = max(charge_w, discharge_w)
    power, energy = scale_of(most_w), scale_of(capacity_wh)
    store: Mapping[str, Any] = {"WHRtg_SF": energy, "WHRtg": capacity_wh}
    models = _inverter(most_w, storage=True)
    models[120] |= {
        **store,
        "MaxChaRte_SF": power,
        "MaxChaRte": charge_w,
        "MaxDisChaRte_SF": power,
        "MaxDisChaRte": discharge_w,
    }
    models[702] |= {"WChaRteMaxRtg": charge_w, "WDisChaRteMaxRtg": discharge_w}
    rates = {"StorCtl_Mod": 0, "InOutWRte_SF": FINE, "OutWRte": 100, "InWRte": 100, "ChaState_SF": FINE}
    states = {"LocRemCtl": 0, "Typ": 0, "State": 3, "Evt1": 0, "Evt2": 0}
    return models | {
        124: {"WChaMax_SF": power, "WChaMax": most_w, **rates},
        704: {"WSet_SF": 0, "WSetPct_SF": FINE, "WSetEna": 0, "WSetMod": 1, "WSet": 0, "WSetPct": 0, "WSetRvrtRem": 0},
        713: {"WH_SF": energy, "WHRtg": capacity_wh, "Pct_SF": FINE, "Sta": 0},
        802: {
            **store,
            "WChaDisChaMax_SF": power,
            "WChaRteMax": charge_w,
            "WDisChaRteMax": discharge_w,
            "SoC_SF": FINE,
            **states,
        },
    }
