"""What events say: spans of time with a value, by priority, as one course without overlaps."""

import copy
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openadr3.entities.models import Event

LONG = timedelta(days=20_000)
"""What lasts longer, as ``P9999Y`` does, has no end."""
ENDLESS = "P100Y"
MOST_SPANS = 2_000
AT_ONCE = ("0000-00-00", "0001-01-01")
"""Beginnings of a start that means: as soon as the event is there."""
MOST = 1e6
"""The largest value that is believed, in the unit of the contract."""
AHEAD = timedelta(days=7)
"""How far intervals that loop are laid out."""


@dataclass(frozen=True, slots=True)
class Span:
    """A value in the half-open [begins, ends)."""

    begins: datetime
    ends: datetime | None
    value: float
    rank: tuple[float, float]
    """The lower counts where spans overlap: the event's priority, then what the payload's kind prefers."""
    event: str
    """Its name, or its identifier."""

    def holds_at(self, instant: datetime) -> bool:
        return self.begins <= instant and (self.ends is None or instant < self.ends)


@dataclass(frozen=True, slots=True)
class Payload:
    """A type of payload, its units with their factor, and which of two events with equal priority counts."""

    type: str
    factors: Mapping[str, float]
    """By the unit, as OpenADR names it; empty: that of an event that names none."""
    currency: str | None = None
    smallest_first: bool = True
    """Of two with equal priority the smaller value counts, as of limits; else that which was changed last."""
    least: float = -math.inf


class UnusableError(Exception):
    """An event that cannot be used; the text says what is wrong with it."""


def spans_of(
    events: Iterable[Mapping[str, Any]],
    programs: Mapping[str, Mapping[str, Any]],
    payload: Payload,
    now: datetime,
    ven: str,
) -> tuple[list[Span], list[str]]:
    """All spans of a payload that are not over, and what is wrong with the events that have none of it.

    ``ven``: by its name the random part of a start is drawn, the same one each time.
    """
    found: list[Span] = []
    wrong: list[str] = []
    for raw in events:
        if not _mentions(raw, payload.type):
            continue
        name = _name(raw)
        try:
            found += _spans(raw, programs.get(str(raw.get("programID")), {}), payload, now, f"{ven}/{raw.get('id')}")
        except UnusableError as error:
            wrong.append(f"event {name}: {error}")
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            wrong.append(f"event {name} is not of OpenADR 3: {str(error).splitlines()[0][:100]}")
    if len(found) > MOST_SPANS:
        return [], [*wrong, f"{len(found)} intervals of {payload.type}, and at most {MOST_SPANS} are taken"]
    return found, wrong


def _mentions(raw: Mapping[str, Any], kind: str) -> bool:
    intervals = raw.get("intervals")
    return isinstance(intervals, list) and any(
        isinstance(each, dict)
        and any(isinstance(one, dict) and one.get("type") == kind for one in each.get("payloads") or ())
        for each in intervals
    )


def _spans(
    raw: Mapping[str, Any], program: Mapping[str, Any], payload: Payload, now: datetime, seed: str
) -> list[Span]:
    """Raises UnusableError."""
    from openadr3.entities.models import Event

    event = Event.from_raw(_cleaned(raw))
    factor = _factor(raw, program, payload)
    changed = (event.modified or event.created or now).timestamp()
    found = []
    for interval in event.resolved_intervals():
        values = [each for each in interval.payloads if each.type == payload.type]
        if not values:
            continue
        period = interval.interval_period
        if period is None or period.start is None:
            raise UnusableError(f"interval {interval.id} has no start")
        begins, ends = _plain(period.start), None if period.period is None else _plain(period.period[1])
        if ends is not None and ends <= begins:
            raise UnusableError(f"interval {interval.id} lasts {ends - begins}")
        if ends is not None and ends - begins > LONG:
            ends = None
        value = _number(values[0].values, factor, payload, interval.id)
        rank = (math.inf if event.priority is None else event.priority, value if payload.smallest_first else -changed)
        late = _late(period.randomize_start, f"{seed}/{interval.id}")
        found.append(Span(begins + late, None if ends is None else ends + late, value, rank, _name(raw)))
    whole = _late(None if event.interval_period is None else event.interval_period.randomize_start, seed)
    laps = _laps(event, found, now)
    moved = [_moved(span, lap + whole) for lap in laps for span in found]
    return [span for span in moved if span.ends is None or span.ends > now]


def _plain(time: datetime) -> datetime:
    """As one of the standard library in UTC: those of pendulum lose their zone in sums."""
    return datetime.fromtimestamp(time.timestamp(), UTC)


def _laps(event: "Event", spans: Sequence[Span], now: datetime) -> list[timedelta]:
    """By how much the intervals are repeated: they loop while the event lasts longer than they do."""
    if event.duration is None or not spans or any(span.ends is None for span in spans):
        return [timedelta()]
    first, last = min(span.begins for span in spans), max(span.ends for span in spans if span.ends is not None)
    length, whole = last - first, timedelta(seconds=event.duration.total_seconds())
    if whole <= length:
        return [timedelta()]
    lap = max(0, (now - first) // length)
    laps: list[timedelta] = []
    while lap * length < whole and first + lap * length <= now + AHEAD and len(laps) * len(spans) <= MOST_SPANS:
        laps.append(lap * length)
        lap += 1
    return laps


def _moved(span: Span, by: timedelta) -> Span:
    return replace(span, begins=span.begins + by, ends=None if span.ends is None else span.ends + by)


def _late(randomised: Any, seed: str) -> timedelta:
    """A part of the span by which a start may be late, drawn by a name: the same one each time it is asked for."""
    if randomised is None:
        return timedelta()
    drawn = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") / 2**64
    return timedelta(seconds=round(drawn * max(0.0, randomised.total_seconds())))


def _name(raw: Mapping[str, Any]) -> str:
    return str(raw.get("eventName") or raw.get("id"))[:60]


def _number(values: list[Any], factor: float, payload: Payload, interval: int) -> float:
    """Raises UnusableError."""
    from decimal import Decimal

    where = f"interval {interval}, {payload.type}"
    if len(values) != 1 or isinstance(values[0], bool) or not isinstance(values[0], int | float | Decimal):
        raise UnusableError(f"{where} has {str(values)[:60]}, and one number is allowed")
    value = float(values[0]) * factor
    if not math.isfinite(value) or not payload.least <= value <= MOST:
        raise UnusableError(f"{where} is {values[0]}, and {max(payload.least, -MOST):g} to {MOST:g} are allowed")
    return value


def _factor(raw: Mapping[str, Any], program: Mapping[str, Any], payload: Payload) -> float:
    """By the descriptor of the event, or else of its program. Raises UnusableError."""
    descriptors = [*(raw.get("payloadDescriptors") or ()), *(program.get("payloadDescriptors") or ())]
    mine: Mapping[str, Any] = next((each for each in descriptors if each.get("payloadType") == payload.type), {})
    unit, currency = mine.get("units"), mine.get("currency")
    if currency is not None and payload.currency is not None and currency != payload.currency:
        raise UnusableError(f"{payload.type} is in {currency}, and {payload.currency} is allowed")
    factor = payload.factors.get(unit or "")
    if factor is None:
        allowed = ", ".join(each for each in payload.factors if each)
        raise UnusableError(f"{payload.type} is in {str(unit)[:30]}, and {allowed} are allowed")
    return factor


def _cleaned(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The event with what the library cannot read put as it can: spans without an end, and a start that means now.

    Raises UnusableError for a time without a zone.
    """
    event: dict[str, Any] = copy.deepcopy(dict(raw))
    now = raw.get("modificationDateTime") or raw.get("createdDateTime")
    for part in (event, *event["intervals"]):
        if str(part.get("duration", "")).startswith("P9999Y"):
            part["duration"] = ENDLESS
        period = part.get("intervalPeriod")
        if period is None:
            continue
        if str(period.get("duration", "")).startswith("P9999Y"):
            period["duration"] = ENDLESS
        start = period.get("start")
        if start is not None and str(start).startswith(AT_ONCE):
            period["start"] = now
        elif start is not None and datetime.fromisoformat(str(start)).tzinfo is None:
            raise UnusableError(f"its start {start} has no time zone")
    return event


def course(spans: Sequence[Span], now: datetime) -> list[Span]:
    """The spans as one course without overlaps, from now on: at each instant that of the lowest rank."""
    edges = sorted({now, *(edge for span in spans for edge in (span.begins, span.ends) if edge and edge > now)})
    found: list[Span] = []
    for begins, ends in pairwise([*edges, None]):
        assert begins is not None
        best = min((span for span in spans if span.holds_at(begins)), key=lambda span: span.rank, default=None)
        if best is None:
            continue
        if found and found[-1].ends == begins and (found[-1].event, found[-1].value) == (best.event, best.value):
            found[-1] = replace(found[-1], ends=ends)
        else:
            found.append(replace(best, begins=max(begins, best.begins) if begins > now else best.begins, ends=ends))
    return found
