"""The savings of one run against the baseline, split by what made them; an identity, so that it adds up.

In each settled step t the site imports I and exports E at the prices b (purchase) and s (sale); 0 marks the baseline.
With the net energy that is no longer drawn, Δ = (I₀ − E₀) − (I − E), what is saved in the step is

    b (I₀ − I) − s (E₀ − E) = (b − s)(E₀ − E) + b Δ = (b − s)(E₀ − E) + (b − b̄) Δ + b̄ Δ

where b̄ is the mean purchase price of the whole time. The first term is export avoided, worth the spread between
purchase and sale: **PV used here**. The second is net energy moved from dear to cheap steps: **arbitrage**. The third
is energy at the mean price, and the energy balance splits its sum: Σ Δ = ΔPV − Δstored − Δlosses, with **curtailment
avoided** ΔPV (production above the baseline's), energy **left in batteries** Δstored, the electricity for heat in
buffers with it, and **losses** of converters, cables and storage as the rest, which includes heat that a heat pump made
more or less. **Peak** is the difference of the demand charges.
"""

import numpy as np
from numpy.typing import NDArray

from twinswarm.attribution.lived import Measured

PV_USED, ARBITRAGE, CURTAILMENT, STORED, LOSSES, PEAK = (
    *("PV used here", "arbitrage", "curtailment avoided", "left in batteries", "losses", "peak"),
)
ENERGY = (PV_USED, ARBITRAGE, CURTAILMENT, STORED, LOSSES)
"""The parts of the energy bill, which are known by day. The peak is not a sum over days."""
MECHANISMS = (*ENERGY, PEAK)
_SAME_KWH = 1e-6


def energy_saved(run: Measured, baseline: Measured) -> NDArray[np.float64]:
    """By mechanism of `ENERGY` and local day [€]."""
    days = len(run.stored_by_day_kwh)
    spread = baseline.purchase_eur_per_kwh - baseline.sale_eur_per_kwh
    mean = float(baseline.purchase_eur_per_kwh.mean())

    def by_day(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(run.day_of_step, values, days).astype(np.float64)

    less_export = baseline.export_kwh - run.export_kwh
    less_drawn = (baseline.import_kwh - baseline.export_kwh) - (run.import_kwh - run.export_kwh)
    more_pv = by_day(run.pv_kwh - baseline.pv_kwh)
    more_stored = run.stored_by_day_kwh - baseline.stored_by_day_kwh
    more_lost = more_pv - more_stored - by_day(less_drawn)
    return np.array(
        [
            by_day(spread * less_export),
            by_day((baseline.purchase_eur_per_kwh - mean) * less_drawn),
            mean * more_pv,
            -mean * more_stored,
            -mean * more_lost,
        ]
    )


def price_between(run: Measured, baseline: Measured) -> NDArray[np.float64]:
    """The price of a kWh at the PCC by step [€/kWh], as the site goes from the baseline to this run.

    On that way, which changes all devices in the same proportion, it is the purchase price as long as the site imports
    and the sale price as long as it exports; this is the mean (Aumann and Shapley 1974). So what devices drew less,
    at this price, adds up to what the step saved. Where nothing changed it is what a little more would have cost.
    """
    net, before = run.import_kwh - run.export_kwh, baseline.import_kwh - baseline.export_kwh
    buying, selling = baseline.purchase_eur_per_kwh, baseline.sale_eur_per_kwh
    less_drawn = before - net
    saved = buying * (baseline.import_kwh - run.import_kwh) - selling * (baseline.export_kwh - run.export_kwh)
    changed = np.abs(less_drawn) > _SAME_KWH
    mean = np.divide(saved, less_drawn, out=np.where(before >= 0, buying, selling), where=changed)
    # A step that imports and exports one after the other has a mean beyond both prices; the rest takes the difference.
    return np.clip(mean, np.minimum(buying, selling), np.maximum(buying, selling))
