"""Settlement quarters of a run: mean powers by register differences, SOCs, prices."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.capabilities import Capability
from schemas.messages import Quantity
from schemas.site import step_start
from services.analysis.balance import losses_track
from services.history.prices import Prices
from services.history.reader import pcc_of
from services.history.tracks import Track, mean_kw, soc_of

_QUARTER = timedelta(minutes=15)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Quarter:
    """Mean powers of [time, time + length) [kW] and what held at ``time``; None: not known."""

    time: datetime
    length: timedelta
    pcc_kw: float | None
    """Positive on import."""
    purchase_price_eur_per_kwh: float | None
    sale_price_eur_per_kwh: float | None
    power_kw: Mapping[str, float | None]
    """Per device, sign of `schemas.units`."""
    soc_frac: Mapping[str, float | None]
    """Per store, at ``time``; of a charger the plugged vehicle's."""
    losses_kw: float | None


def quarter_length(step: timedelta) -> timedelta:
    """The least multiple of the step that is no shorter than a quarter-hour and divides the hour."""
    length = step
    while length < _QUARTER or _HOUR % length:
        length += step
    return length


def quarter_grid(times: Sequence[datetime], step: timedelta, zone: ZoneInfo) -> tuple[datetime, ...]:
    """Every instant of the grid that bounds a quarter: counted from local midnight, whatever the run's beginning."""
    length = quarter_length(step)
    return tuple(time for time in times if step_start(time, length, zone) == time)


def quarters_of(
    tracks: Mapping[str, Track], prices: Prices, times: Sequence[datetime], step: timedelta, zone: ZoneInfo
) -> list[Quarter]:
    """The whole quarters within ``times``. What lies before the first and after the last is left out."""
    grid = quarter_grid(times, step, zone)
    pcc = pcc_of(dict(tracks))
    devices = {name: track for name, track in tracks.items() if track is not pcc}
    spans = list(itertools.pairwise(grid))
    means = {
        name: [mean_kw(flow, end - start) for flow, (start, end) in zip(track.flows(grid), spans, strict=True)]
        for name, track in tracks.items()
    }
    losses = losses_track(pcc)
    lost = [mean_kw(flow, e - s) for flow, (s, e) in zip(losses.flows(grid), spans, strict=True)] if losses else None
    return [
        Quarter(
            time=start,
            length=end - start,
            pcc_kw=means[pcc.device][index] if pcc is not None else None,
            purchase_price_eur_per_kwh=prices.mean(Quantity.PURCHASE_PRICE, start, end),
            sale_price_eur_per_kwh=prices.mean(Quantity.SALE_PRICE, start, end),
            power_kw={name: means[name][index] for name in devices},
            soc_frac={
                name: None if (body := track.at(start, step)) is None else soc_of(body)
                for name, track in devices.items()
                if Capability.STORAGE in track.capabilities
            },
            losses_kw=lost[index] if lost is not None else None,
        )
        for index, (start, end) in enumerate(spans)
    ]
