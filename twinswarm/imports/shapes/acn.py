"""ACN-Data (Caltech, JPL): charging sessions as its API and web page give them, JSON with ``_items``.

Fields: connectionTime, disconnectTime, kWhDelivered, stationID or spaceID, userID, userInputs with requestedDeparture;
times as in HTTP headers (https://ev.caltech.edu/dataset).
"""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from schemas.errors import Code
from twinswarm.imports.imported import ImportedSession, ImportedSessions
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.sessions import MOST_KWH, tidied
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import decoded

_NEEDED = (
    "needs connectionTime and disconnectTime, times as Wed, 25 Apr 2018 11:08:04 GMT; kWhDelivered, a number up to "
    f"{MOST_KWH:g}; stationID or spaceID; and userInputs, where there are any, as a list of objects"
)


def recognises(file: RawFile) -> bool:
    return file.begin.lstrip()[:1] in {"{", "["} and '"connectionTime"' in file.begin and '"kWhDelivered"' in file.begin


def read(wanted: Wanted) -> ImportedSessions:
    """Raises InputError naming the item and field that cannot be read."""
    file = wanted.file
    try:
        data = json.loads(decoded(file, wanted.options, wanted.notes))
    except (ValueError, RecursionError) as error:
        raise file.refuse(f"is no JSON: {error}") from None
    items = data.get("_items") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise file.refuse("has no list of sessions, _items")
    sessions, open_ = [], 0
    for number, item in enumerate(items):
        try:
            if item["disconnectTime"] is None:
                open_ += 1
                continue
            sessions.append(_session(item))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            what = f"item {number} of _items: {_NEEDED}"
            raise file.refuse(what, item, code=Code.FORMAT) from None
    if open_:
        wanted.notes.repaired.append(f"{open_} sessions without an end were left out")
    wanted.notes.read.append(
        "energies are kWhDelivered, departures that drivers announce their last requestedDeparture"
    )
    return ImportedSessions(SHAPE.name, tidied(sessions, str(file.path), wanted.notes), wanted.notes)


def _session(item: dict[str, Any]) -> ImportedSession:
    wishes = item.get("userInputs") or [{}]
    said = wishes[-1].get("requestedDeparture")
    return ImportedSession(
        str(item.get("spaceID") or item["stationID"]),
        str(item.get("userID") or ""),
        _time(item["connectionTime"]),
        _time(item["disconnectTime"]),
        _energy_kwh(item["kWhDelivered"]),
        None if said is None else _time(said),
    )


def _energy_kwh(value: object) -> float:
    """Raises TypeError and ValueError."""
    energy = float(value)  # type: ignore[arg-type]
    if not abs(energy) <= MOST_KWH:  # nan as well
        raise ValueError
    return energy


def _time(text: str) -> datetime:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise
        return time.astimezone(UTC)


SHAPE = Shape("acn-data", "charging sessions of ACN-Data", frozenset({Kind.SESSIONS}), read, recognises)
