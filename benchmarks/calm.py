"""Calm and its price: set-point changes, reversals and savings of a site's day, by the options that make it calm.

Run: ``python benchmarks/calm.py [SITE ...]`` (names or files; without any, the sites of the box). The day is lived
through with each setting; the first line of a site is without any. Savings count the energy that is left in the
batteries at the mean purchase price, so that a day is not calm by storing less. The last column is the cost of calm as
a share of the first line's savings.
"""

import argparse
import tempfile
from pathlib import Path

from schemas.site import Calm, Site
from services.analysis.result import RunResult
from sites.loader import load_site
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice

SETTINGS = (
    (None, 0.0),
    (None, 0.001),
    (Calm(min_gain_eur=0.0), 0.0),
    (Calm(), 0.0),
    (Calm(), 0.001),
    (Calm(min_gain_eur=0.005), 0.0),
    (Calm(hold_s=1800.0), 0.0),
    (Calm(min_gain_eur=0.02, hold_s=1800.0), 0.0),
)
"""Calm, and the price on changes of power [€/kW]."""


def lived(site: Site, calm: Calm | None, price: float, folder: Path) -> RunResult:
    ems = site.ems.model_copy(update={"calm": calm, "ramping_price_eur_per_kw": price})
    site = site.model_copy(update={"ems": ems})
    file = folder / f"{site.site}-{len(list(folder.iterdir()))}.sqlite"
    return conduct_in_memory(Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, file))


def worth_eur(result: RunResult) -> float:
    return (result.savings_eur or 0.0) + (result.stored_energy_difference_eur or 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sites", nargs="*", default=["fit_g2v", "carpark"])
    head = f"{'site':12} {'least gain €':>12} {'hold s':>7} {'€/kW':>6} {'changes':>8} {'reversals':>10}"
    print(f"{head} {'short kWh':>10} {'savings €':>10} {'of calm €':>10} {'share':>7}")
    for name in parser.parse_args().sites:
        site = load_site(name)
        first: float | None = None
        with tempfile.TemporaryDirectory(prefix="twinswarm-") as folder:
            for calm, price in SETTINGS:
                result = lived(site, calm, price, Path(folder))
                worth = worth_eur(result)
                first = worth if first is None else first
                gain, hold = ("-", "-") if calm is None else (f"{calm.min_gain_eur:g}", f"{calm.hold_s:g}")
                print(
                    f"{site.site:12} {gain:>12} {hold:>7} {price:6g} {result.setpoints_changed:8} "
                    f"{result.setpoints_reversed:10} {result.departure_shortfall_kwh:10.2f} {worth:10.2f} "
                    f"{first - worth:10.3f} {(first - worth) / abs(first):7.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
