"""Times of a table: with their zone they are read, and of others it is said what they are and how to write them."""

import re
from datetime import UTC, datetime

_ISO = "2018-05-14T00:15:00+02:00 or 2018-05-13T22:15:00Z"
_CLOCK = r"\d{1,2}[:.]\d{2}([:.]\d{2})?"
_DAY_FIRST = rf"\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{2,4}}([ T,]+{_CLOCK})?( ?[AaPp][Mm])?"
_YEAR_FIRST = rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}([ T]+{_CLOCK})?"
_DASH = "\N{EN DASH}"
_KINDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), what)
    for pattern, what in (
        (rf"({_DAY_FIRST}|{_YEAR_FIRST}) +(-|{_DASH}|to|bis) +({_DAY_FIRST}|{_YEAR_FIRST}|{_CLOCK})",
         "two times, the begin and the end of a span; keep the begin alone"),
        (rf"({_CLOCK}) *(-|{_DASH}) *({_CLOCK})", "a span of the clock without its date; keep date and begin"),
        (r"\d{1,2}[./]\d{1,2}[./]\d{2,4}", "a date without the time of day; join it with the column of times"),
        (r"\d{4}-\d{2}-\d{2}", "a date without the time of day; join it with the column of times"),
        (_CLOCK, "a time of day without its date; join it with the column of dates"),
        (_DAY_FIRST, "a local time without its offset, and not written year first"),
        (_YEAR_FIRST, "a local time without its offset"),
        (r"\d{10}(\.\d+)?", "seconds since 1970"),
        (r"\d{13}", "milliseconds since 1970"),
        (r"\d{5}([.,]\d+)?", "a spreadsheet's number of days"),
        (r"", "empty"),
    )
)  # fmt: skip


def moment_of(cell: str) -> tuple[datetime | None, str]:
    """The time in UTC, or None and what is wrong with the cell."""
    text = cell.strip()
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC), ""
        known = "a local time without its offset" if len(text) > len("2018-05-14") else None
    except (ValueError, OverflowError):
        known = None
    kind = next((what for pattern, what in _KINDS if pattern.fullmatch(text)), None) or known
    return None, f"is not a time with its zone{f': {kind}' if kind else ''}; write it as {_ISO}"
