"""Cost of the energy at the PCC meter: equation (1), from register differences, never from a plan."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.messages import Quantity
from schemas.site import Site, Tariff, profile_mean
from services.history.prices import Prices
from services.history.tracks import Track


def energy_cost_eur(
    import_kwh: float | None,
    export_kwh: float | None,
    purchase_price_eur_per_kwh: float | None,
    sale_price_eur_per_kwh: float | None,
) -> float | None:
    """Cost of energy at the PCC [€], equation (1): import at the purchase price minus export at the sale price.

    A price matters only where energy flowed. None where an energy, or a price that matters, is not known. Every cost
    that Python works out, in the live view, of a run, of a day, in the study, is this one.
    """
    if import_kwh is None or export_kwh is None:
        return None
    cost = 0.0
    for energy, price, sign in (
        (import_kwh, purchase_price_eur_per_kwh, 1.0),
        (export_kwh, sale_price_eur_per_kwh, -1.0),
    ):
        if energy:
            if price is None:
                return None
            cost += sign * energy * price
    return cost


def savings_eur(cost_eur: float, reference_cost_eur: float) -> float:
    """Positive is money saved. The published Table II has the other sign; only whoever prints it turns it round."""
    return reference_cost_eur - cost_eur


@dataclass(frozen=True, slots=True)
class SettledStep:
    """One interval at the PCC meter. Prices are its mean where they change within it; None: not known."""

    start: datetime
    end: datetime
    import_kwh: float | None
    export_kwh: float | None
    purchase_price_eur_per_kwh: float | None
    sale_price_eur_per_kwh: float | None
    co2_g_per_kwh: float | None = None
    """Intensity of imports, as it was announced."""
    estimated: str | None = None
    """Why the energies are not plain register differences."""

    @property
    def cost_eur(self) -> float | None:
        """See `energy_cost_eur`."""
        return energy_cost_eur(
            self.import_kwh, self.export_kwh, self.purchase_price_eur_per_kwh, self.sale_price_eur_per_kwh
        )


@dataclass(frozen=True, slots=True)
class Settlement:
    """The steps of a run and their sum."""

    steps: tuple[SettledStep, ...]

    @property
    def cost_eur(self) -> float:
        """Cost of all steps that could be settled [€]; positive is paid."""
        return math.fsum(step.cost_eur for step in self.steps if step.cost_eur is not None)

    @property
    def import_kwh(self) -> float:
        return math.fsum(step.import_kwh for step in self.steps if step.import_kwh is not None)

    @property
    def export_kwh(self) -> float:
        return math.fsum(step.export_kwh for step in self.steps if step.export_kwh is not None)

    @property
    def unsettled(self) -> int:
        """Steps without known energy or price; they are not in the cost."""
        return sum(step.cost_eur is None for step in self.steps)

    @property
    def estimated(self) -> tuple[str, ...]:
        """Why steps were estimated, each reason once."""
        return tuple(dict.fromkeys(step.estimated for step in self.steps if step.estimated is not None))

    @property
    def mean_purchase_price_eur_per_kwh(self) -> float | None:
        """Over time, not over energy: what a stored kWh is valued at."""
        priced = [(s.purchase_price_eur_per_kwh, s.end - s.start) for s in self.steps]
        known = [(price, length) for price, length in priced if price is not None]
        total = sum((length for _, length in known), timedelta())
        return math.fsum(price * (length / total) for price, length in known) if known else None


def settle(pcc: Track, prices: Prices, times: Sequence[datetime]) -> Settlement:
    """Costs of the intervals between ``times`` at the meter ``pcc``."""
    return Settlement(
        tuple(
            SettledStep(
                start,
                end,
                flow.import_kwh,
                flow.export_kwh,
                prices.mean(Quantity.PURCHASE_PRICE, start, end),
                prices.mean(Quantity.SALE_PRICE, start, end),
                prices.mean(Quantity.CO2_INTENSITY, start, end),
                flow.cause if flow.estimated else None,
            )
            for flow, (start, end) in zip(pcc.flows(times), itertools.pairwise(times), strict=True)
        )
    )


def co2_import_kg(site: Site, settlement: Settlement) -> float | None:
    """Emissions of imported energy by the intensity [g/kWh] at the time of each import, as it was announced.

    Where none was announced the site's profile holds. None where the site names no intensity, or an import is not
    known.
    """
    if site.connection.co2_profile is None or any(step.import_kwh is None for step in settlement.steps):
        return None
    profile = site.profiles[site.connection.co2_profile]
    grams = [
        (step.import_kwh or 0.0)
        * (profile_mean(profile, step.start, step.end, site.zone) if step.co2_g_per_kwh is None else step.co2_g_per_kwh)
        for step in settlement.steps
    ]
    return math.fsum(grams) / 1000


def demand_charges_eur(tariff: Tariff, peaks_kw: Mapping[str, float]) -> dict[str, float] | None:
    """Demand charge of each local month [€] of ``peaks_kw``, the highest mean import of a settlement quarter [kW].

    On the peak that the tariff bills, which may look back to months before: those of the tariff and of ``peaks_kw``.
    In the month of ``tariff.month_peak``, which is paid whatever the run does, it is what the run adds. Listed apart
    from the energy cost: a day's share of a month's peak is not a sum. None without such a tariff.
    """
    price, before = tariff.demand_charge_eur_per_kw, tariff.month_peak
    if price is None:
        return None
    billing, known, found = tariff.demand_billing, tariff.past_peaks_kw, {}
    for month, import_kw in sorted(peaks_kw.items()):
        peak_kw, paid_kw = max(import_kw, 0.0), 0.0
        if before is not None and before.month == month:
            peak_kw, paid_kw = max(peak_kw, before.import_kw), billing.billed_kw(month, before.import_kw, known)
        found[month] = (billing.billed_kw(month, peak_kw, known) - paid_kw) * price
        known[month] = peak_kw
    return found


def month_peaks_kw(times: Iterable[datetime], pcc_kw: Iterable[float | None], zone: ZoneInfo) -> dict[str, float]:
    """The highest of the mean imports ``pcc_kw`` by local month; ``times`` are their beginnings. None is unknown."""
    peaks: dict[str, float] = {}
    for time, power_kw in zip(times, pcc_kw, strict=True):
        if power_kw is not None:
            month = f"{time.astimezone(zone):%Y-%m}"
            peaks[month] = max(peaks.get(month, 0.0), power_kw)
    return peaks
