"""A recorded run, or a window of it, settled, and compared with its reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.errors import Code, InputError
from services.analysis.balance import Balance, balance
from services.analysis.quarters import Quarter, quarters_of
from services.analysis.shaving import THRESHOLD_KW, ShavingFactor, peak_shaving_factor
from services.analysis.stored import StoredChange, stored_change
from services.analysis.timeliness import Timeliness, timeliness_of
from services.history.doubts import DoubtfulValue, doubtful_values
from services.history.prices import Prices
from services.history.reader import History, pcc_of
from services.history.settlement import Settlement, savings_eur, settle
from services.history.tracks import Track

_TOLERANCE_KW = 1e-3


@dataclass(frozen=True, slots=True)
class Settled:
    """The measurements of one run's meters between ``times``."""

    times: tuple[datetime, ...]
    tracks: dict[str, Track]
    pcc: Track
    settlement: Settlement
    quarters: tuple[Quarter, ...]
    stored: StoredChange

    @property
    def import_peak_kw(self) -> float | None:
        """Highest mean import of a settlement period; 0 where nothing was imported, None where nothing is known."""
        return max((max(0.0, q.pcc_kw) for q in self.quarters if q.pcc_kw is not None), default=None)

    @property
    def export_peak_kw(self) -> float | None:
        """The same of export, a magnitude."""
        return max((max(0.0, -q.pcc_kw) for q in self.quarters if q.pcc_kw is not None), default=None)

    def above_kw(self, import_limit_kw: float, export_limit_kw: float) -> int:
        """Settlement periods whose mean is above the connection's limit, the solver's tolerance aside."""
        limits = (import_limit_kw + _TOLERANCE_KW, -export_limit_kw - _TOLERANCE_KW)
        return sum(q.pcc_kw > limits[0] or q.pcc_kw < limits[1] for q in self.quarters if q.pcc_kw is not None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run and its reference over the same time, at the same prices; ``reference`` None: it stands alone."""

    run: Settled
    reference: Settled | None
    energy: Balance
    timeliness: Timeliness
    doubts: tuple[DoubtfulValue, ...]
    """Of the run; its reference lives on what was believed."""

    @property
    def pcc_kw(self) -> list[float | None]:
        """Quarter by quarter."""
        return [quarter.pcc_kw for quarter in self.run.quarters]

    @property
    def reference_kw(self) -> list[float | None]:
        """At the reference's PCC in the quarters of the run; None where it is not known."""
        told = {} if self.reference is None else {quarter.time: quarter.pcc_kw for quarter in self.reference.quarters}
        return [told.get(quarter.time) for quarter in self.run.quarters]

    @property
    def savings_eur(self) -> float | None:
        """Positive is money saved."""
        reference = self.reference
        return None if reference is None else savings_eur(self.run.settlement.cost_eur, reference.settlement.cost_eur)

    @property
    def stored_difference_kwh(self) -> float | None:
        """Energy that the run left in batteries above what its reference left."""
        return None if self.reference is None else self.run.stored.total_kwh - self.reference.stored.total_kwh

    @property
    def stored_difference_eur(self) -> float | None:
        """The same at the mean purchase price of the time."""
        difference, price = self.stored_difference_kwh, self.run.settlement.mean_purchase_price_eur_per_kwh
        return None if difference is None or price is None else difference * price

    def shaving(self, threshold_kw: float = THRESHOLD_KW) -> ShavingFactor:
        return peak_shaving_factor(self.pcc_kw, self.reference_kw, threshold_kw)


def compare(
    history: History, run: str, reference_history: History | None = None, reference_run: str | None = None
) -> Comparison:
    """``history`` may be a window. Raises InputError when there is no such run, or it was not measured at the PCC."""
    times, step, prices = history.grid(run), history.info(run).step, history.prices(run)
    settled = _settled(history, run, prices, times, step)
    if settled is None or len(times) < 2:
        raise InputError.one(
            str(history.path), "not one step of this run was measured at the PCC", run, code=Code.EMPTY
        )
    reference = None
    if reference_history is not None and reference_run is not None:
        reference = _settled(reference_history, reference_run, prices, times, step)
        if reference is None:
            raise InputError.one(
                str(reference_history.path), "the reference was not measured at the PCC", reference_run, code=Code.EMPTY
            )
    return Comparison(
        settled,
        reference,
        balance(settled.tracks, times),
        timeliness_of(history, run, settled.pcc),
        doubtful_values(settled.tracks, prices, history.alarms(run), times),
    )


def _settled(history: History, run: str, prices: Prices, times: Sequence[datetime], step: timedelta) -> Settled | None:
    """None: there is no PCC meter."""
    tracks = history.tracks(run)
    pcc = pcc_of(tracks)
    if pcc is None or not times:
        return None
    return Settled(
        tuple(times),
        tracks,
        pcc,
        settle(pcc, prices, times),
        tuple(quarters_of(tracks, prices, times, step, history.site(run).zone)),
        stored_change(tracks, times[0], times[-1]),
    )
