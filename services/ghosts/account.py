"""The ghosts' account: energy, cost and peak at the PCC by local day, month and as a whole, of the compared sites."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import GhostBill, PccCost, Quantity
from schemas.participant import Json
from schemas.site import Site, step_start
from services.analysis.quarters import quarter_length
from services.history.prices import Prices
from services.history.settlement import demand_charges_eur, energy_cost_eur, savings_eur

REAL, GHOSTS, UNMANAGED = "real", "ghosts", "unmanaged"
_HOUR = timedelta(hours=1)
_BILLS = ("day", "month", "total")


@dataclass(frozen=True, slots=True)
class Flow:
    """Energy at a PCC in a step [kWh]."""

    import_kwh: float
    export_kwh: float
    over_limit_kwh: float = 0.0


class Account:
    """Adds step by step. A step belongs to the local day in which it begins, whole."""

    def __init__(self, site: Site, step_s: int) -> None:
        self._tariff, self._zone = site.tariff, site.zone
        self._step = timedelta(seconds=step_s)
        self._quarter = quarter_length(self._step)
        self._bills: dict[str, GhostBill] = {}
        self._span = ""
        """Local day of what was added last."""
        self._peaks: dict[str, dict[str, float]] = {}
        """By site and local month [kW]."""
        self._open: tuple[datetime, dict[str, float]] | None = None
        """Beginning of the quarter that has not ended, and the net import in it so far [kWh]."""

    @property
    def date(self) -> str:
        """The local day of the last step."""
        return self._span

    def bill(self, name: str) -> GhostBill:
        """``day``, ``month`` or ``total``."""
        return self._bills.get(name, GhostBill())

    def add(
        self, start: datetime, flows: Mapping[str, Flow], estimated: float, prices: Prices, wear_eur: float | None
    ) -> bool:
        """A step. ``estimated``: hours of it that are. Returns whether its prices are known."""
        end = start + self._step
        day = start.astimezone(self._zone).date().isoformat()
        fresh = {name for name in _BILLS[:2] if _part(self._span, name) != _part(day, name)}
        self._span = day
        bought = prices.mean(Quantity.PURCHASE_PRICE, start, end)
        sold = prices.mean(Quantity.SALE_PRICE, start, end)
        costs = {site: energy_cost_eur(flow.import_kwh, flow.export_kwh, bought, sold) for site, flow in flows.items()}
        priced = None not in costs.values()
        self._count_quarter(start, flows)
        hours = self._step / _HOUR
        for name in _BILLS:
            bill = GhostBill() if name in fresh else self.bill(name)
            sides = {
                site: _added(getattr(bill, site) or PccCost(), flow, (costs[site] or 0.0) if priced else 0.0)
                for site, flow in flows.items()
            }
            update = {
                **sides,
                "hours": bill.hours + hours,
                "estimated_hours": bill.estimated_hours + estimated,
                "unpriced_hours": bill.unpriced_hours + (0.0 if priced else hours),
                "wear_eur": None if wear_eur is None else (bill.wear_eur or 0.0) + wear_eur,
            }
            self._bills[name] = bill.model_copy(update=update)
        self._conclude(end)
        return priced

    def _count_quarter(self, start: datetime, flows: Mapping[str, Flow]) -> None:
        """Net imports of the settlement quarter, the mean of which may be a peak."""
        begin = step_start(start, self._quarter, self._zone)
        if self._open is None or self._open[0] != begin:
            self._open = begin, dict.fromkeys(flows, 0.0)
        for site, flow in flows.items():
            self._open[1][site] += flow.import_kwh - flow.export_kwh

    def _conclude(self, end: datetime) -> None:
        """Peaks and what follows from them."""
        month = _part(self._span, "month")
        if self._open is not None and self._open[0] + self._quarter <= end:
            for site, net_kwh in self._open[1].items():
                mean_kw = max(net_kwh / (self._quarter / _HOUR), 0.0)
                peaks = self._peaks.setdefault(site, {})
                peaks[month] = max(peaks.get(month, 0.0), mean_kw)
                for name in _BILLS:
                    side = getattr(self._bills[name], site)
                    higher = side.model_copy(update={"peak_kw": max(side.peak_kw, mean_kw)})
                    self._bills[name] = self._bills[name].model_copy(update={site: higher})
            self._open = None
        for name in _BILLS:
            bill = self._bills[name]
            if name == "month":
                bill = self._with_demand(bill, month)
            base = bill.unmanaged or bill.real
            earned = savings_eur(bill.ghosts.energy_eur, base.energy_eur)
            self._bills[name] = bill.model_copy(update={"earned_eur": earned})

    def _with_demand(self, bill: GhostBill, month: str) -> GhostBill:
        update: dict[str, object] = {}
        charges: dict[str, float] = {}
        for site, peaks in self._peaks.items():
            found = demand_charges_eur(self._tariff, peaks)
            if found is None or month not in found:
                return bill
            charges[site] = found[month]
            update[site] = getattr(bill, site).model_copy(update={"demand_eur": found[month]})
        if charges:
            base = charges[UNMANAGED] if UNMANAGED in charges else charges[REAL]
            update["earned_demand_eur"] = savings_eur(charges[GHOSTS], base)
        return bill.model_copy(update=update)

    def snapshot(self) -> Json:
        return {
            "bills": {name: json.loads(bill.model_dump_json()) for name, bill in self._bills.items()},
            "span": self._span,
            "peaks": self._peaks,
            "open": None if self._open is None else [self._open[0].isoformat(), self._open[1]],
        }

    def restore(self, state: Json) -> None:
        self._bills = {name: GhostBill.model_validate_json(json.dumps(bill)) for name, bill in state["bills"].items()}
        self._span = state["span"]
        self._peaks = {site: dict(peaks) for site, peaks in state["peaks"].items()}
        opened = state["open"]
        self._open = None if opened is None else (datetime.fromisoformat(opened[0]), dict(opened[1]))


def _part(day: str, name: str) -> str:
    return day if name == "day" else day[:7]


def _added(side: PccCost, flow: Flow, energy_eur: float) -> PccCost:
    return side.model_copy(
        update={
            "import_kwh": side.import_kwh + flow.import_kwh,
            "export_kwh": side.export_kwh + flow.export_kwh,
            "energy_eur": side.energy_eur + energy_eur,
            "over_limit_kwh": side.over_limit_kwh + flow.over_limit_kwh,
        }
    )
