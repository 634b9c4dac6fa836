"""An import put into a site: its table beside site.yaml, its profiles and who uses them in site.yaml."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from schemas.errors import Code, InputError
from schemas.site import Pv, Site, TimeProfile, next_midnight
from sites.loader.editing import Change, edited
from sites.loader.loading import load_description
from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Kind
from twinswarm.imports.vehicles import Placed
from twinswarm.imports.writing import profiles_of, write_all
from twinswarm.simulation.coverage import impossible_weather

PROVENANCE = ".import.json"
"""End of the name of the file beside a table."""


def check_replaceable(table: Path, kind: Kind) -> None:
    """Raises InputError for a table that no import of this kind has written: it is not overwritten."""
    if not table.exists():
        return
    written = _kind_written(beside(table))
    if written is None:
        what = "is there already, and no import has written it; move it away, or say another --name"
        raise InputError.one(str(table), what, code=Code.EXISTS)
    if written != kind.value:
        what = f"holds the {written} of an earlier import; say another --name for the {kind.value}, or move it away"
        raise InputError.one(str(table), what, code=Code.EXISTS)


def _kind_written(provenance: Path) -> str | None:
    """What an import says that it has written; None: none has."""
    try:
        said = json.loads(provenance.read_bytes())
    except (OSError, ValueError):
        return None
    return str(said["kind"]) if isinstance(said, dict) and "kind" in said else None


def beside(table: Path) -> Path:
    """The small file of where a table comes from."""
    return table.with_name(table.stem + PROVENANCE)


def changes_of(imported: Imported, file: str, name: str, site: Site) -> tuple[list[Change], list[str]]:
    """Fields of site.yaml, and what they mean in words. ``name``: of the profile, where there is one."""
    entries = profiles_of(imported, file)
    if len(entries) == 1:
        entries = {name: next(iter(entries.values()))}
    changes: list[Change] = [(("profiles", profile), entry) for profile, entry in entries.items()]
    said = [f"profile {profile}: {entry['file']}, column {entry['column']}" for profile, entry in entries.items()]
    if imported.kind in {Kind.PV, Kind.WEATHER}:
        more, words = _pv_sources(imported, name, entries, site)
        changes += more
        said += words
    elif imported.kind is Kind.CO2:
        changes.append((("connection", "co2_profile"), name))
        said.append(f"connection.co2_profile: {name}")
    elif not _used(name, site):
        said.append(f"nothing in the site names the profile {name} yet")
    found = _day_within(imported, entries, site)
    if found is not None:
        day, why = found
        changes.append((("date",), day))
        said.append(f"date: {day}, {why}")
    elif not _covers_a_day(imported, site):
        said.append("the import covers no whole local day, and so no day of a run")
    return changes, said


def session_changes(
    placed: Sequence[Placed], file: str, chargers: Sequence[str], site: Site
) -> tuple[list[Change], list[str]]:
    """Fields of site.yaml by which the chargers have the sessions, and what they mean in words."""
    changes: list[Change] = []
    busy = {place.charger for place in placed}
    for charger in chargers:
        changes.append((("devices", charger, "daily"), None))
        sessions = {"file": file, "charge_point": charger} if charger in busy else None
        changes.append((("devices", charger, "sessions"), sessions))
    said = [f"sessions of {', '.join(name for name in chargers if name in busy)}: {file}"]
    if idle := [name for name in chargers if name not in busy]:
        said.append(f"no sessions at {', '.join(idle)}")
    days = sorted({place.session.arrival.astimezone(site.zone).date() for place in placed})
    if site.date not in days:
        spans = [(p.begin, p.end) for p in site.profiles.values() if isinstance(p, TimeProfile)]
        fitting = [day for day in days if all(_whole(day, start, end, site.zone) for start, end in spans)]
        if fitting:
            changes.append((("date",), fitting[0]))
            said.append(f"date: {fitting[0]}, the first day with sessions that all profiles cover")
        else:
            said.append(f"the site's date, {site.date}, has no sessions, and its profiles cover no day that has")
    return changes, said


def _used(name: str, site: Site) -> bool:
    used = {profile for device in site.devices.values() for _, profile in device.profiles_used}
    return name in used | {profile for _, profile in site.tariff.profiles_used}


def _pv_sources(
    imported: Imported, name: str, entries: dict[str, dict[str, Any]], site: Site
) -> tuple[list[Change], list[str]]:
    """Sources and forecasts of the PV plants."""
    plants = {device: part for device, part in site.devices.items() if isinstance(part, Pv)}
    if imported.kind is Kind.PV:
        if len(plants) != 1:
            return [], [f"the site has {len(plants)} PV plants; give one source: {{type: power, profile: {name}}}"]
        device = next(iter(plants))
        source = {"type": "power", "profile": name}
        changes: list[Change] = [(("devices", device, field), source) for field in ("source", "forecast")]
        return changes, [f"source and forecast of {device}: the profile {name}; the EMS expects what really comes"]
    changes, said = [], []
    for device, part in plants.items():
        kept: dict[str, Any] = {
            field: int(value) if (value := float(getattr(part.source, field))).is_integer() else value
            for field in ("peak_kw", "tilt_deg", "azimuth_deg", "system_losses_frac")
            if hasattr(part.source, field)
        }
        if "peak_kw" not in kept:
            said.append(f"{device} keeps its source, which has no peak_kw, tilt_deg and azimuth_deg")
            continue
        source = {"type": "irradiance", **kept, **{f"{profile}_profile": profile for profile in entries}}
        changes += [(("devices", device, field), source) for field in ("source", "forecast")]
        said.append(f"source and forecast of {device}: irradiance; the EMS expects what really comes")
    return changes, said


def _day_within(imported: Imported, replaced: Collection[str], site: Site) -> tuple[date, str] | None:
    """The first whole local day that all profiles cover, if the site's date is none; without any, of the import."""
    grid = next(iter(imported.series.values()))
    others = [
        (profile.begin, profile.end)
        for name, profile in site.profiles.items()
        if isinstance(profile, TimeProfile) and name not in replaced
    ]
    spans = [(grid.start, grid.end), *others]
    if all(_whole(site.date, start, end, site.zone) for start, end in spans):
        return None
    day = _first_day(spans, site.zone)
    if day is not None:
        return day, f"the first whole day that all profiles cover; {site.date} lies outside"
    if _whole(site.date, grid.start, grid.end, site.zone):
        return None
    day = _first_day(spans[:1], site.zone)
    return (
        None if day is None else (day, "the first whole day of the import; the site's other profiles do not cover it")
    )


def _covers_a_day(imported: Imported, site: Site) -> bool:
    grid = next(iter(imported.series.values()))
    return _first_day([(grid.start, grid.end)], site.zone) is not None


def _first_day(spans: Sequence[tuple[datetime, datetime]], zone: ZoneInfo) -> date | None:
    """The first whole local day within all spans, if it is the one in which the last of them begins or the next."""
    first = max(start for start, _ in spans).astimezone(zone).date()
    days = (first, first + timedelta(days=1))
    return next((day for day in days if all(_whole(day, start, end, zone) for start, end in spans)), None)


def _whole(day: date, start: datetime, end: datetime, zone: ZoneInfo) -> bool:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return start <= midnight and next_midnight(midnight, zone) <= end


def change_site(path: Path, changes: list[Change]) -> None:
    """Changes site.yaml. Raises InputError, having left it as it was, when it would not be valid."""
    text = edited(path, changes)
    trial = path.with_name(f".{path.stem}.trial.yaml")
    write_all({trial: text})
    try:
        faults = list(impossible_weather(load_description(trial)))
    except InputError as error:
        faults = list(error.faults)
    finally:
        trial.unlink(missing_ok=True)
    if faults:
        raise InputError(
            replace(f, where=_named(f.where, trial, path), what=_named(f.what, trial, path)) for f in faults
        )
    write_all({path: text})


def _named(text: str, trial: Path, path: Path) -> str:
    return text.replace(str(trial), str(path)).replace(trial.name, path.name)
