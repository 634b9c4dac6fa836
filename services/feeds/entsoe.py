"""ENTSO-E's publication document A44, read by entsoe-py."""

from datetime import UTC

from services.feeds.reading import BadAnswerError, Reading, reading_of

PER_MWH = 0.001


def area_code(bidding_zone: str) -> str:
    """The EIC code of a bidding zone. Raises ValueError for a name that entsoe-py does not have."""
    from entsoe.mappings import lookup_area

    try:
        return str(lookup_area(bidding_zone).code)
    except (KeyError, ValueError):
        raise ValueError(f"{bidding_zone!r} is neither an EIC code nor a name of entsoe-py, such as DE_LU") from None


def day_ahead_prices(text: str) -> Reading:
    """The prices [€/kWh] of an answer. Where a document has several resolutions, the finest. Raises BadAnswerError."""
    from entsoe.parsers import parse_prices

    if "Acknowledgement_MarketDocument" in text:
        raise BadAnswerError(f"ENTSO-E has no prices for this time: {_reason(text)}")
    try:
        by_resolution = parse_prices(text)  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the parser meets in a text that is not of its form
        raise BadAnswerError(f"the answer is no price document: {type(error).__name__}: {error}"[:300]) from None
    for resolution in ("15min", "30min", "60min"):
        series = by_resolution[resolution]
        if len(series):
            pairs = [(time.to_pydatetime().astimezone(UTC), float(value) * PER_MWH) for time, value in series.items()]
            return reading_of(pairs, None, "the answer")
    raise BadAnswerError(f"the answer has no prices; it begins {text[:80]!r}")


def _reason(text: str) -> str:
    begin, end = text.find("<text>"), text.find("</text>")
    return text[begin + len("<text>") : end][:200] if 0 <= begin < end else "no reason given"
