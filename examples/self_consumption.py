"""What a battery adds to the self-consumption of PV, beside what a review of the literature found.

    python examples/self_consumption.py [--days 357] [--buildings office,home]

Luthander, Widén, Nilsson and Palm, "Photovoltaic self-consumption in buildings: A review", Applied Energy 142 (2015)
80-94, doi 10.1016/j.apenergy.2014.12.028: a battery of 0.5 to 1 kWh for each kW of PV raises the part of the PV energy
that the building uses itself by 13 to 24 percentage points. docs/self-consumption.md says what differs here.

An office (measured load) and a home (standard profile h0 of the BDEW) under the same sun of Turin; PV produces in the
year what the building consumes. Nothing is fitted.
"""

import argparse
from datetime import date

from schemas.site import Bess, Site, TimeProfile
from sites.loader import load_site
from twinswarm.imports.standard_profile import standard_load
from twinswarm.simulation.variants import Reference, StorageChoice, with_storage
from twinswarm.year.engine import live_through_year, local_workers
from twinswarm.year.order import order_over
from twinswarm.year.result import YearResult, year_result
from twinswarm.year.store import passing_store

FIRST = date(2018, 1, 8)
YIELD_KWH_PER_KW = 1303.7
"""Of these days, from a run with 1 kW; sets the size of the PV plant, and the result says what it really was."""
ANNUAL_KWH = 5000.0
SIZES_KWH_PER_KW = (0.5, 1.0)
PUBLISHED = (13.0, 24.0)
"""Percentage points, at the sizes."""


def building(kind: str) -> Site:
    """A building with PV and a battery of 1 kWh/kW, under one purchase price and one, lower, sale price."""
    source = load_site("carpark_year")
    office = source.profiles["load"]
    assert isinstance(office, TimeProfile)
    if kind == "home":
        grid = standard_load("h0", FIRST.year, ANNUAL_KWH, source).series["load"]
        load = office.model_copy(update={"start": grid.start, "values": tuple(grid.values.tolist())})
    else:
        of_year = ANNUAL_KWH / (sum(office.values) * office.step_s / 3600)
        load = office.model_copy(update={"values": tuple(kw * of_year for kw in office.values)})
    peak_kw = ANNUAL_KWH / YIELD_KWH_PER_KW
    roof = {"type": "irradiance", "peak_kw": peak_kw, "tilt_deg": 30, "azimuth_deg": 180,
            "ghi_profile": "ghi", "temp_air_profile": "temp_air"}  # fmt: skip
    battery = {"kind": "bess", "capacity_kwh": peak_kw, "soc_min_frac": 0.0, "soc_max_frac": 1.0,
               "max_charge_kw": peak_kw / 2, "max_discharge_kw": peak_kw / 2, "initial_soc_frac": 0.0}  # fmt: skip
    profiles = {name: profile for name, profile in source.profiles.items() if name in {"ghi", "temp_air"}}
    return Site.model_validate(
        {
            "site": kind,
            "date": FIRST,
            "location": source.location,
            "connection": {"import_limit_kw": 50, "export_limit_kw": 50},
            "tariff": {"sale": "price", "spread_eur_per_kwh": 0.20},
            "devices": {
                "building": {"kind": "meter", "role": "load", "profile": "load"},
                "pv": {"kind": "pv", "rated_kw": peak_kw, "source": roof, "forecast": roof},
                "bess": battery,
            },
            "profiles": profiles | {"load": load, "price": {"type": "day", "values": (0.08,)}},
            "ems": {"bess_terminal_soc_frac": None},
        }
    )


def sized(site: Site, kwh_per_kw: float) -> Site:
    """The site with another battery, of 0.5 kW for each kWh."""
    whole = site.devices["bess"]
    assert isinstance(whole, Bess)
    kwh = whole.capacity_kwh * kwh_per_kw
    other = whole.model_copy(update={"capacity_kwh": kwh, "max_charge_kw": kwh / 2, "max_discharge_kw": kwh / 2})
    return site.model_copy(update={"devices": {**site.devices, "bess": other}})


def lived(site: Site, days: int, first: date = FIRST) -> YearResult:
    """The days without a battery and with each size."""
    variants = {"none": with_storage(site, StorageChoice.NONE, Reference.UNCONTROLLED)}
    variants |= {f"{size:g} kWh/kW": sized(site, size) for size in SIZES_KWH_PER_KW}
    order = order_over(site, Reference.UNCONTROLLED, first, days, variants)
    with passing_store(order) as store, local_workers(None, order) as executor:
        live_through_year(order, store, executor, lambda _name, _days: None)
        return year_result(order, {name: store.days(name) for name in order.variants})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--days", type=int, default=357)
    parser.add_argument("--buildings", default="office,home")
    asked = parser.parse_args()
    print(f"{'':22}{'PV / load':>10}{'used here':>11}{'more, points':>14}{'published':>11}{'self-sufficient':>17}")
    for kind in asked.buildings.split(","):
        result = lived(building(kind), asked.days)
        before = result.none.total.self_consumption_frac or 0.0
        for variant in result.variants:
            total = variant.total
            used = total.self_consumption_frac or 0.0
            more = "" if variant is result.none else f"{100 * (used - before):14.1f}"
            there = "" if variant is result.none else f"{PUBLISHED[0]:g} to {PUBLISHED[1]:g}"
            covered = 1 - total.import_kwh / total.load_kwh
            print(
                f"{kind + ', ' + variant.name:22}{total.pv_kwh / total.load_kwh:10.3f}{100 * used:10.1f}%"
                f"{more:>14}{there:>11}{100 * covered:16.1f}%"
            )


if __name__ == "__main__":
    main()
