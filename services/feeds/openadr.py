"""Prices and emissions of an OpenADR server as a reading."""

import math
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.site.feeds import OpenAdrFeed, OpenAdrPayload
from services.feeds.fetch import FetchError
from services.feeds.reading import BadAnswerError, Reading, reading_of
from services.openadr.client import VtnClient, VtnError
from services.openadr.events import Payload, Span, course, spans_of

STEP_S = 900
BEFORE, AFTER = timedelta(days=1), timedelta(days=3)
"""How far from now values are taken."""
_PER_KWH = {"": 1.0, "KWH": 1.0, "MWH": 0.001}
_GRAMS = {"": 1.0, "GHG": 1.0}


def openadr_reading(feed: OpenAdrFeed, now: datetime) -> Reading:
    """The values of the server's events around now. Raises FetchError, BadAnswerError."""
    try:
        client = VtnClient(feed)
        try:
            events, programs = client.events()
        finally:
            client.close()
    except VtnError as error:
        raise FetchError(str(error)) from None
    emissions = feed.payload is OpenAdrPayload.GHG
    payload = Payload(
        feed.payload.value,
        _GRAMS if emissions else _PER_KWH,
        currency=None if emissions else feed.currency,
        smallest_first=False,
        least=0.0 if emissions else -math.inf,
    )
    begins = now - BEFORE
    spans, wrong = spans_of(events, programs, payload, begins, feed.client_id or "")
    values = course(spans, begins)
    if not values:
        raise BadAnswerError("; ".join(wrong)[:300] or f"{client.host} has no event with {feed.payload.value}")
    if wrong:
        raise BadAnswerError("; ".join(wrong)[:300])
    return _reading(values, begins, now + AFTER, client.host)


def _reading(values: list[Span], begins: datetime, until: datetime, host: str) -> Reading:
    """Values in steps that every boundary is a multiple of, a quarter-hour at most; between spans there are holes."""
    spans = [(max(each.begins, begins), min(each.ends or until, until), each.value) for each in values]
    spans = [each for each in spans if each[0] < each[1]]
    if not spans:
        raise BadAnswerError(f"{host} has values for another time only, from {values[0].begins.isoformat()}")
    # What began before is cut at a step of its own, so that the grid does not depend on the second of the request.
    marks = [
        int(mark.timestamp()) for (first, last, _) in spans for mark in (first, last) if mark not in (begins, until)
    ]
    step_s = math.gcd(STEP_S, *(int(b - a) for a, b in pairwise(sorted(marks)))) if len(marks) > 1 else STEP_S
    anchor = marks[0] % step_s if marks else 0
    pairs = []
    for first, last, value in spans:
        at = math.ceil((first.timestamp() - anchor) / step_s) * step_s + anchor
        while at < last.timestamp():
            pairs.append((datetime.fromtimestamp(at, tz=first.tzinfo), value))
            at += step_s
    return reading_of(pairs, None, f"the answer of {host}")
