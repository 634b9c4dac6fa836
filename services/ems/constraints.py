"""The equations, one function each. Numbers in brackets: IEEE SEST 2024, doi 10.1109/sest61601.2024.10694561.

Matrix entries only: right-hand sides and bounds change with every problem and are filled in by `services.ems.vectors`.
Dimensions: ``store`` (BESSs and chargers' slots), ``step``, ``pv``, ``group``, ``band``. Powers in kW averaged over a
step, energies in kWh at its end; p ≥ 0 throughout.
"""

from typing import Any

import linopy

from services.ems.structure import Structure

Model = Any
"""linopy publishes no types that strict checking can follow; a `linopy.Model`."""


def power_balance(m: Model, s: Structure) -> None:
    """(2) with losses: Σ import − Σ export + Σ pv − Σ (charge − discharge) = load + losses − PV not curtailable."""
    v = m.variables
    supply = v["imports"].sum("band") + v["import_over"] - v["exports"].sum("export_band") - v["export_over"]
    if s.pv:
        supply = supply + v["pv"].sum("pv")
    if s.stores:
        supply = supply - v["charge"].sum("store") + v["discharge"].sum("store")
    m.add_constraints(supply == 0, name="pcc-power_balance")


def energy_balance(m: Model, s: Structure) -> None:
    """(3)(14): e_h − e_{h−1} − Δt·(charge·η_ch − discharge/η_dch) = what arrives at h, with e = level − shortfall.

    Two blocks of rows: the first step stands by itself, because a `shift` in one line loses it (or warns, by
    linopy's semantics in force). The number of rows is asserted.
    """
    if not s.stores:
        return
    v = m.variables
    step_h = s.step_s / 3600
    eta_ch = _per_store([shape.charge_efficiency for shape in s.stores], v["charge"])
    eta_dch = _per_store([shape.discharge_efficiency for shape in s.stores], v["charge"])
    gain = v["charge"] * (step_h * eta_ch) - v["discharge"] * (step_h / eta_dch)
    energy = v["level"] - v["shortfall"]
    first = (energy - gain).isel(step=slice(0, 1))
    m.add_constraints(first == 0, name="store-energy_initial")
    rows = len(s.stores)
    if s.steps > 1:
        later = (energy - gain).isel(step=slice(1, None))
        before = energy.isel(step=slice(0, -1)).assign_coords(step=later.coords["step"])
        m.add_constraints(later - before == 0, name="store-energy_balance")
        rows += m.constraints["store-energy_balance"].labels.size
    assert rows == len(s.stores) * s.steps, "a row of the energy balance was lost"


def store_exclusion(m: Model, s: Structure) -> None:
    """(7)(8)(11), (17)(18)(19): charge ≤ flag_ch·P_ch, discharge ≤ flag_dch·P_dch, flag_ch + flag_dch ≤ 1.

    With the tightening charge/P_ch + discharge/P_dch ≤ 1, which a relaxation would else lose.
    """
    flagged = _flagged(s)
    if not flagged:
        return
    v = m.variables
    charge, discharge = _of_flagged(m, v["charge"], flagged), _of_flagged(m, v["discharge"], flagged)
    rated_ch = _per_flagged([s.stores[i].rated_charge_kw for i in flagged], v["charge_flag"])
    rated_dch = _per_flagged([s.stores[i].rated_discharge_kw for i in flagged], v["charge_flag"])
    m.add_constraints(charge - v["charge_flag"] * rated_ch <= 0, name="store-charge_flag")
    m.add_constraints(discharge - v["discharge_flag"] * rated_dch <= 0, name="store-discharge_flag")
    m.add_constraints(v["charge_flag"] + v["discharge_flag"] <= 1, name="store-one_flag")
    share_ch = _per_flagged([1 / (s.stores[i].rated_charge_kw or 1.0) for i in flagged], v["charge_flag"])
    share_dch = _per_flagged([1 / (s.stores[i].rated_discharge_kw or 1.0) for i in flagged], v["charge_flag"])
    m.add_constraints(charge * share_ch + discharge * share_dch <= 1, name="store-tightening")


def store_cuts(m: Model, s: Structure) -> None:
    """SOC cuts, valid because flows exclude one another: e_{h−1} + Δt·η_ch·charge ≤ max; e_{h−1} − Δt·discharge/η_dch
    ≥ −shortfall_h + min, for h ≥ 1.
    """
    flagged = _flagged(s)
    if not flagged or s.steps < 2:
        return
    v = m.variables
    step_h = s.step_s / 3600
    charge, discharge = _of_flagged(m, v["charge"], flagged), _of_flagged(m, v["discharge"], flagged)
    short = _of_flagged(m, v["shortfall"], flagged)
    energy = _of_flagged(m, v["level"], flagged) - short
    later, before = slice(1, None), slice(0, -1)
    up = charge * (step_h * _per_flagged([s.stores[i].charge_efficiency for i in flagged], v["charge_flag"]))
    down = discharge * (step_h / _per_flagged([s.stores[i].discharge_efficiency for i in flagged], v["charge_flag"]))
    up, down, short = up.isel(step=later), down.isel(step=later), short.isel(step=later)
    energy = energy.isel(step=before).assign_coords(step=up.coords["step"])
    m.add_constraints(energy + up <= 0, name="store-cut_full")
    m.add_constraints(energy - down + short >= 0, name="store-cut_empty")


def smallest_power(m: Model, s: Structure) -> None:
    """charge ≥ P_min·flag_ch and discharge ≥ P_min·flag_dch while plugged (IEC 61851-1: a charging car takes ≥ 6 A).

    In a step of which the car is plugged the part f, average power: charge − P_min·flag_ch ≥ −P_min·(1 − f).
    """
    flagged = _flagged(s)
    if not flagged:
        return
    v = m.variables
    least = _per_flagged([s.stores[i].min_power_kw for i in flagged], v["charge_flag"])
    for flow, flag in (("charge", "charge_flag"), ("discharge", "discharge_flag")):
        rows = _of_flagged(m, v[flow], flagged) - v[flag] * least >= 0
        m.add_constraints(rows, name=f"store-smallest_{flow}")


def pcc_exclusion(m: Model, s: Structure) -> None:
    """(20)(21) with flag_in + flag_out ≤ 1: import and export exclude one another where the sale price is the higher.

    What exceeds the limits is left out: at its price (tens of € per kWh) nobody buys to sell.
    """
    if not s.pcc_flagged:
        return
    v = m.variables
    m.add_constraints(v["imports"].sum("band") - v["import_flag"] * s.import_limit_kw <= 0, name="pcc-import_flag")
    m.add_constraints(
        v["exports"].sum("export_band") - v["export_flag"] * s.export_limit_kw <= 0, name="pcc-export_flag"
    )
    m.add_constraints(v["import_flag"] + v["export_flag"] <= 1, name="pcc-one_flag")


def group_limit(m: Model, s: Structure) -> None:
    """−limit ≤ load + Σ_group share·(charge − discharge − pv) − over_up + over_down ≤ limit: one cable feeds many.

    All of a device's power counts, or what is on one phase: a third of a three-phase device's, all of a single-phase
    one's.
    """
    v = m.variables
    for index, group in enumerate(s.groups):
        total = -v["group_up"].isel(group=index, drop=True) + v["group_down"].isel(group=index, drop=True)
        for i, share in group.stores:
            total = (
                total + share * v["charge"].isel(store=i, drop=True) - share * v["discharge"].isel(store=i, drop=True)
            )
        for i, share in group.pv:
            total = total - share * v["pv"].isel(pv=i, drop=True)
        m.add_constraints(total <= 0, name=f"group-limit_{index}")


def demand_peak(m: Model, s: Structure) -> None:
    """peak ≥ Σ import of every step; its lower bound is the month's peak so far, its price the demand charge."""
    if not s.demand_charge:
        return
    v = m.variables
    total = v["imports"].sum("band") + v["import_over"]
    m.add_constraints(total - v["peak"] <= 0, name="pcc-demand_peak")


def flagged_stores(s: Structure) -> list[int]:
    """Indices of the stores that have flags."""
    return _flagged(s)


def _flagged(s: Structure) -> list[int]:
    return [i for i, shape in enumerate(s.stores) if shape.flagged]


def _of_flagged(m: Model, variable: Any, flagged: list[int]) -> Any:
    picked = (1 * variable).isel(store=flagged)
    return picked.rename(store="flagged").assign_coords(flagged=m.variables["charge_flag"].coords["flagged"])


def _per_store(values: list[float], like: Any) -> Any:
    return _data_array(values, "store", like)


def _per_flagged(values: list[float], like: Any) -> Any:
    return _data_array(values, "flagged", like)


def _data_array(values: list[float], dim: str, like: Any) -> Any:
    import xarray

    return xarray.DataArray(values, dims=[dim], coords={dim: like.coords[dim]})


def empty_model() -> Model:
    return linopy.Model()
