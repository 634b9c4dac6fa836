"""Limits from outside in a recorded run: whose, how low, when, and by how much they were exceeded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.limits import PCC, Allowed, InForce, Limits
from schemas.participant import Received
from services.analysis.quarters import Quarter


@dataclass(frozen=True, slots=True)
class OutsideLimitResult:
    """One direction of one scope over the quarters in which a limit was known and held from beginning to end."""

    scope: str
    """``pcc``, or the name of a group."""
    direction: str
    """``import`` or ``export``."""
    sources: tuple[str, ...]
    lowest_kw: float
    start: datetime
    end: datetime
    failsafe: bool
    """A failsafe held in some of them."""
    exceeded_kwh: float
    """Energy above the limit; of a quarter in which the limit changed, above the milder value."""
    exceeded_quarters: int
    unknown_quarters: int
    """Quarters whose power is not known."""


def outside_limits(
    messages: Iterable[Received], quarters: Sequence[Quarter], groups: Mapping[str, Sequence[str]]
) -> tuple[OutsideLimitResult, ...]:
    """The limits of a run. ``messages``: all limits, by time; ``groups``: devices of the groups that the site names."""
    waiting, limits = list(messages), Limits()
    found: dict[tuple[str, str], list[tuple[Quarter, Allowed, Allowed]]] = {}
    for quarter in quarters:
        end = quarter.time + quarter.length
        known = _take(waiting, limits, quarter.time)
        before = {group: known.at(group, quarter.time) for group in (None, *groups)}
        later = _take(waiting, limits, end)
        for group, then in before.items():
            now = later.over(group, end - _INSTANT, end - _INSTANT, end - _INSTANT)
            for direction, first, last in _ways(then, now):
                found.setdefault((group or PCC, direction), []).append((quarter, first, last))
    return tuple(_result(scope, direction, held, groups) for (scope, direction), held in sorted(found.items()))


_INSTANT = datetime.resolution


def _take(waiting: list[Received], limits: Limits, until: datetime) -> Limits:
    while waiting and waiting[0].stamp.ts <= until:
        limits.receive(waiting.pop(0))
    return limits


def _ways(then: InForce, now: InForce) -> Iterable[tuple[str, Allowed, Allowed]]:
    for direction, first, last in (("import", then.import_, now.import_), ("export", then.export, now.export)):
        if first is not None and last is not None:
            yield direction, first, last


def _result(
    scope: str, direction: str, held: list[tuple[Quarter, Allowed, Allowed]], groups: Mapping[str, Sequence[str]]
) -> OutsideLimitResult:
    over: list[float] = []
    unknown = 0
    for quarter, first, last in held:
        power = _power_kw(quarter, scope, groups)
        if power is None:
            unknown += 1
            continue
        kw = power if direction == "import" else -power
        above = max(kw - max(first.kw, last.kw), 0.0)
        over.append(above * quarter.length.total_seconds() / 3600)
    allowed = [each for _, first, last in held for each in (first, last)]
    last_quarter = held[-1][0]
    return OutsideLimitResult(
        scope=scope,
        direction=direction,
        sources=tuple(dict.fromkeys(each.source for each in allowed)),
        lowest_kw=min(each.kw for each in allowed),
        start=held[0][0].time,
        end=last_quarter.time + last_quarter.length,
        failsafe=any(each.failsafe for each in allowed),
        exceeded_kwh=sum(over),
        exceeded_quarters=sum(kwh > 0 for kwh in over),
        unknown_quarters=unknown,
    )


def _power_kw(quarter: Quarter, scope: str, groups: Mapping[str, Sequence[str]]) -> float | None:
    if scope == PCC:
        return quarter.pcc_kw
    powers = [quarter.power_kw[device] for device in groups[scope] if device in quarter.power_kw]
    known = [power for power in powers if power is not None]
    return sum(known) if powers and len(known) == len(powers) else None
