"""Doubtful values of a recorded run: recorded as they came, not settled with, named beside the numbers.

The rules are those of `schemas.plausibility`, `schemas.register_reading` and `schemas.soc_trust`, as everywhere. What a
forecast announced is judged by the EMS alone; its alarms are in the history.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.messages import Alarm, Quantity
from schemas.participant import Received
from schemas.plausibility import price_doubt, step_limit_kwh
from schemas.register_reading import CAME_BACK
from schemas.site.tariff import MAX_PRICE_EUR_PER_KWH
from schemas.soc_trust import SocTrust, StorePlate
from services.history.prices import Prices
from services.history.tracks import Track, soc_of

IMPLAUSIBLE = "implausible"
"""Code of the EMS' alarm."""

BEYOND, LEAPT, WENT_BACK, CAME_BACK_AGAIN = "beyond", "leapt", "went back", "came back"

POWER_INTEGRATED = "power integrated"
LAST_PLAUSIBLE = "the last plausible one"
NONE = "none: the step is not settled"

PRICES = (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE)


@dataclass(frozen=True, slots=True)
class DoubtfulValue:
    """Values of one field of one device that cannot be true for the same reason."""

    device: str
    field: str
    """As in the message; its name has the unit."""
    reason: str
    """In a word: beyond its bounds, leapt, went back, came back."""
    value: float | None
    """The farthest out: of a register the step, else the value itself. None: the bound's text has it."""
    bound: str
    """What a plausible value keeps to."""
    instead: str
    """What was used in its place."""
    first: datetime
    last: datetime
    count: int


def doubtful_values(
    tracks: Mapping[str, Track],
    prices: Prices,
    alarms: Iterable[tuple[Received, Alarm]],
    times: Sequence[datetime],
) -> tuple[DoubtfulValue, ...]:
    """From the first of ``times``, which bound the settled steps, to the last; by device and field."""
    start, end = times[0], times[-1]
    of_tracks = (doubt for track in tracks.values() for doubt in _of_track(track, start, end))
    return merged_doubts((*of_tracks, *_of_prices(prices, times), *_of_forecasts(alarms, start, end)))


def merged_doubts(doubts: Iterable[DoubtfulValue]) -> tuple[DoubtfulValue, ...]:
    """Those of one device, field and reason as one."""
    found: dict[tuple[str, str, str], DoubtfulValue] = {}
    for doubt in doubts:
        key = doubt.device, doubt.field, doubt.reason
        found[key] = _merged(found[key], doubt) if key in found else doubt
    return tuple(found[key] for key in sorted(found))


def _merged(one: DoubtfulValue, other: DoubtfulValue) -> DoubtfulValue:
    """The value that is farther out, from the first to the last."""
    worse = max((one, other), key=lambda doubt: abs(doubt.value or 0.0))
    first, last = min(one.first, other.first), max(one.last, other.last)
    return replace(worse, first=first, last=last, count=one.count + other.count)


def _of_track(track: Track, start: datetime, end: datetime) -> Iterator[DoubtfulValue]:
    bounds = track.bounds
    trust = SocTrust()
    for sample in track.samples:
        body, inside = sample.body, start <= sample.ts <= end
        if inside and bounds is not None and bounds.doubt(body.power_kw) is not None:
            yield _one(track, "power_kw", BEYOND, body.power_kw, str(bounds), LAST_PLAUSIBLE, sample.ts)
        soc_frac = soc_of(body)
        if isinstance(track.nameplate, StorePlate) and soc_frac is not None:
            why = trust.doubt(sample.boot, sample.ts, soc_frac, track.nameplate)
            if why is not None and inside:
                yield _one(track, "soc_frac", LEAPT, soc_frac, why, "the one before", sample.ts)
    for step in track.register_steps():
        inside = start < step.after.ts <= end
        grown = step.earlier.grown_until(step.later)
        if not inside or grown is None or (track.lockstep and step.earlier.boot != step.later.boot):
            continue
        why = step.earlier.doubt_until(step.later, bounds)
        if why is None:
            continue
        went_back = min(grown) < 0
        value = min(grown) if went_back else max(grown)
        field = ("energy_import_kwh", "energy_export_kwh")[grown.index(value)]
        if went_back:
            reason, bound = WENT_BACK, "a register only grows"
        elif why == CAME_BACK:
            reason, bound = CAME_BACK_AGAIN, "it had gone back before: counted already"
        else:
            assert bounds is not None
            limits_kwh = step_limit_kwh(step.earlier.lasted_until(step.later), bounds)
            reason, bound = LEAPT, f"at most {limits_kwh[grown.index(value)]:.6g} kWh can flow; {bounds.reason}"
        yield _one(track, field, reason, value, bound, POWER_INTEGRATED, step.after.ts)


def _one(track: Track, field: str, reason: str, value: float, bound: str, instead: str, ts: datetime) -> DoubtfulValue:
    return DoubtfulValue(track.device, field, reason, value, bound, instead, ts, ts, 1)


def _of_prices(prices: Prices, times: Sequence[datetime]) -> Iterator[DoubtfulValue]:
    """Those that would have held: one for each settled step, or piece of it."""
    bound = f"within ±{MAX_PRICE_EUR_PER_KWH:g} €/kWh"
    for quantity, (start, end) in itertools.product(PRICES, itertools.pairwise(times)):
        for begin, until, value in prices.steps(quantity, start, end):
            if price_doubt((value,)) is not None:
                yield DoubtfulValue("tariff", str(quantity), BEYOND, value, bound, NONE, begin, until, 1)


def _of_forecasts(alarms: Iterable[tuple[Received, Alarm]], start: datetime, end: datetime) -> Iterator[DoubtfulValue]:
    """As the EMS named them, each from its alarm to the alarm's end."""
    since: dict[str, tuple[datetime, str]] = {}
    for received, alarm in alarms:
        subject, ts = alarm.element, received.stamp.ts
        if alarm.code != IMPLAUSIBLE or alarm.device is not None or subject is None:
            continue
        if alarm.active:
            since.setdefault(subject, (ts, alarm.text))
        elif subject in since:
            yield from _of_forecast(subject, *since.pop(subject), ts, start, end)
    for subject, (ts, text) in since.items():
        yield from _of_forecast(subject, ts, text, end, start, end)


def _of_forecast(
    subject: str, first: datetime, text: str, last: datetime, start: datetime, end: datetime
) -> Iterator[DoubtfulValue]:
    sender, _, about = subject.partition(": ")
    if first > end or last < start or sender.startswith("tariff/"):
        return
    bound = text.removeprefix(f"{subject}: ").removesuffix("; it is recorded and not acted on")
    device, field = (sender.rpartition("/")[2], about) if about else ("forecast", subject)
    yield DoubtfulValue(device, field, BEYOND, None, bound, "as if it had not come", first, last, 1)
