"""Reads a scenario: scripted events of a run, each with its file and line where it is wrong; all faults at once."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from schemas.errors import Code, InputError, shorten
from schemas.kinds import kinds_with
from schemas.site import (
    NETWORK,
    CarLeaves,
    Charger,
    ScenarioEvent,
    Site,
)
from schemas.site.scenario import LASTING
from schemas.topics import Kind
from sites.loader.places import Faults, Finding, Path_
from sites.loader.text import read_yaml
from sites.loader.validation import INVALID, validated

_LOCAL = re.compile(r"\d{2}:\d{2}")
_TIMES = ("at", "start", "end")
EVENTS = "events"


def load_scenario(file: str | Path, site: Site, day: date, t0: datetime, t_end: datetime | None) -> Site:
    """The site with the events of a file. ``day``: the local day of ``10:15``; a time may be given in full, too.

    ``t0`` and ``t_end`` of the run, within which events have to lie. Raises InputError with every fault.
    """
    path = Path(file)
    data, root = read_yaml(path)
    faults = Faults(root)
    if not isinstance(data, dict) or not isinstance(data.get(EVENTS), list):
        what = "a scenario is a group with the field events, a list"
        raise InputError.one(str(path), what, data, code=Code.FORMAT)
    faults.add(
        *(Finding((name,), "unknown field; there is events", code=Code.UNKNOWN) for name in data if name != EVENTS)
    )
    events: list[ScenarioEvent] = []
    for place, described in enumerate(data[EVENTS]):
        where: Path_ = (EVENTS, place)
        times = _in_utc(described, day, site, where)
        if isinstance(times, Finding):
            faults.add(times)
            continue
        event, found = validated(ScenarioEvent, times, where)
        if event is not INVALID:
            found = list(_faults(event, site, where, t0, t_end))
            events.append(event)
        faults.add(*found)
    if faults:
        raise InputError(faults.faults())
    return site.model_copy(update={"scenario": tuple(events)})


def _in_utc(described: Any, day: date, site: Site, where: Path_) -> Any:
    """The event with its local times as points in time; a Finding where that cannot be."""
    if not isinstance(described, dict):
        return described
    times = dict(described)
    for name in _TIMES:
        text = times.get(name)
        if isinstance(text, str) and _LOCAL.fullmatch(text):
            try:
                local = datetime.combine(day, time.fromisoformat(text), site.zone)
            except ValueError:
                return Finding((*where, name), "a local time is written 10:15", shorten(text), code=Code.FORMAT)
            times[name] = local.astimezone(UTC).isoformat()
        elif isinstance(text, int):
            what = 'a local time is written "10:15", in quotes'
            return Finding((*where, name), what, shorten(text), code=Code.FORMAT)
    return times


def _faults(
    event: ScenarioEvent, site: Site, where: Path_, t0: datetime, t_end: datetime | None
) -> "Sequence[Finding]":
    """Of an event that is valid by itself."""
    found = []
    begin, name = (event.at, "at") if isinstance(event, CarLeaves) else (event.start, "start")
    end = event.end if isinstance(event, LASTING) else begin
    if end < t0 or (t_end is not None and begin >= t_end):
        what = f"is outside the run, which goes from {t0.isoformat()} to {t_end.isoformat() if t_end else 'no end'}"
        found.append(Finding((*where, name), what, begin.isoformat(), code=Code.RANGE))
    device = site.devices.get(event.device)
    kinds = kinds_with(event)
    names = sorted(name for name, each in site.devices.items() if each.kind in kinds)
    names += [NETWORK] if Kind.NETWORK in kinds else []
    if event.device not in names:
        what = f"the event {event.type} happens to {', '.join(names) or 'no device of this site'}"
        found.append(Finding((*where, "device"), what, shorten(event.device), code=Code.UNKNOWN))
    elif isinstance(event, CarLeaves) and isinstance(device, Charger):
        sessions = device.sessions_between(event.at, event.at.replace(microsecond=1), site.zone)
        if not any(session.arrival < event.at < session.departure for session in sessions):
            what = f"no vehicle is at {event.device} then"
            found.append(Finding((*where, "at"), what, event.at.isoformat(), code=Code.CONFLICT))
    return found
