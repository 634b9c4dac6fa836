"""Tables of charging sessions: begin, end and energy; charge point and card where there are any."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.clock import local_instants, looks_like_times, read_clock
from twinswarm.imports.columns import with_half
from twinswarm.imports.imported import ImportedSession
from twinswarm.imports.notes import Notes, some
from twinswarm.imports.numbers import numbers_of
from twinswarm.imports.options import Options
from twinswarm.imports.sheet import Sheet
from twinswarm.imports.units import ENERGY
from twinswarm.imports.zones import zone_said

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_START = (
    r"start(ed)?|begin|beginn|anfang|von|arrival|ankunft|plug(ged)?.?in|connect(ion|ed)?|inizio|inicio|d(é|e)but|from"
)
_END = (
    r"stop(ped)?|end(ed)?|ende|bis|departure|abfahrt|plug.?out|unplug(ged)?|disconnect(ion|ed)?|fine?|finish(ed)?|eind\w*|"
    r"slut\w*|until"
)
_WHOSE = r"((session|car|charging|lade|laden|date de|fecha)[ _.]?)?"
_CLOCK = r"time|date|datum|zeit|stamp|uhr|ora|transaction"
_CUT = r"(\b|_|(?=(?-i:[A-Z])))"


def _time_header(word: str) -> str:
    return rf"(utc)?_?(trans\w*)?{_WHOSE}({word}){_CUT}.*|.*({_CLOCK}).*({word})|({word}).*({_CLOCK}).*"


_FIELDS = {
    "start": _time_header(_START),
    "end": _time_header(_END),
    "energy": r".*(energy|energie|energia|kwh|consumption|verbrauch|charged|geladen|arbeit).*",
    "meter_start": r"meter.?start.*|start.?(value|meter|reading).*|.*z(ä|ae)hlerstand.*(start|beginn|anfang).*",
    "meter_end": r"meter.?(stop|end).*|(stop|end).?(value|meter|reading).*|.*z(ä|ae)hlerstand.*(stop|end).*",
    "charge_point": r"(charge|charging)?.?(point|box|station|er)(.?(id|name|code))?|lade(punkt|station).*|"
    r"evse.*|spaceid|colonnina.*",
    "connector": r"connector.?(id)?|stecker.*|outlet.*",
    "card": r"(start)?card|(ocpp )?(id.?)?tag.?(id)?|(user|driver|vehicle).?(id)?|rfid.*|"
    r"(karte|fahrzeug|nutzer|kunde).*",
    "announced": r"(requested|announced|planned|estimated).?departure.*",
}
_CHARGING = re.compile(r"charg|lade", re.IGNORECASE)
_NO_TIME = re.compile(r"value|meter|reading|card|soc|reason|id\b|energy|kwh", re.IGNORECASE)
_NO_ENERGY = re.compile(r"price|cost|preis|kosten|tarif|€|co.?2|co₂|/ ?kwh", re.IGNORECASE)
_READING = re.compile(f"{_FIELDS['meter_start']}|{_FIELDS['meter_end']}", re.IGNORECASE)
_LONG_S = 7 * 86_400
MOST_KWH = 100_000.0
"""No vehicle takes more in a session."""


def sessions_of(sheet: Sheet, home: tzinfo | None, options: Options, notes: Notes) -> tuple[ImportedSession, ...]:
    """Raises InputError naming the columns that lack."""
    columns = _columns_of(sheet, options, notes)
    where = str(sheet.file.path)
    ended = sheet.cells[columns["end"]].str.contains(r"\d", regex=True)
    begun = sheet.cells[columns["start"]].str.contains(r"\d", regex=True)
    if (open_ := int((~ended | ~begun).sum())) > 0:
        notes.repaired.append(f"{open_} sessions without begin or end were left out")
    if not (ended & begun).any():
        raise InputError.one(where, "has no session with begin and end", code=Code.EMPTY)
    sheet = replace(sheet, cells=sheet.cells[ended & begun])
    start = _instants(sheet, columns["start"], home, options, notes)
    end = _instants(sheet, columns["end"], home, options, Notes())
    announced = None
    if (column := columns.get("announced")) is not None and (sheet.cells[column] != "").all():
        announced = _instants(sheet, column, home, options, Notes())
    energy = _energies(sheet, columns, options, notes)
    if (far := abs(energy) > MOST_KWH).any():
        place = int(far.argmax())
        what = f"a session has at most {MOST_KWH:g} kWh; another --unit?"
        at = sheet.place(sheet.cells.index[place], columns.get("energy", columns.get("meter_end", "")))
        raise InputError.one(f"{where}: {at}", what, f"{energy[place]:g} kWh", code=Code.RANGE)
    points = _points(sheet, columns, notes)
    cards = sheet.cells[columns["card"]].tolist() if "card" in columns else None
    rows = [
        ImportedSession(
            points[n],
            "" if cards is None else cards[n],
            datetime.fromtimestamp(int(start[n]), UTC),
            datetime.fromtimestamp(int(end[n]), UTC),
            float(energy[n]),
            None if announced is None else datetime.fromtimestamp(int(announced[n]), UTC),
        )
        for n in range(len(start))
    ]
    return tidied(rows, where, notes)


_WRONG: tuple[tuple[Callable[[ImportedSession], bool], str], ...] = (
    (lambda s: s.departure <= s.arrival, "end before they begin"),
    (lambda s: s.energy_kwh < 0, "have a negative energy, as of a meter that was exchanged or rolled over"),
    (lambda s: s.energy_kwh == 0, "have no energy"),
    (lambda s: (s.departure - s.arrival).total_seconds() > _LONG_S, "last longer than a week"),
)


def tidied(sessions: Sequence[ImportedSession], where: str, notes: Notes) -> tuple[ImportedSession, ...]:
    """By arrival, each once, none without energy or time, none before the one before has left; cards are numbered.

    Raises InputError when none is left.
    """
    kept = sorted(set(sessions), key=lambda s: (s.arrival, s.departure, s.charge_point, s.vehicle))
    if (same := len(sessions) - len(kept)) > 0:
        notes.repaired.append(f"{same} rows repeat a session; they were left out")
    for is_wrong, what in _WRONG:
        gone = [s for s in kept if is_wrong(s)]
        if gone:
            names = some([f"{s.arrival:%Y-%m-%d %H:%M}Z {s.charge_point}".strip() for s in gone])
            notes.repaired.append(f"{len(gone)} sessions {what}; they were left out: {names}")
            kept = [s for s in kept if not is_wrong(s)]
    if not kept:
        raise InputError.one(where, "has no session with a stay and energy", code=Code.EMPTY)
    kept = _one_after_the_other(kept, notes)
    numbers: dict[str, int] = {}
    for session in kept:
        if session.vehicle:
            numbers.setdefault(session.vehicle, len(numbers) + 1)
    if numbers:
        notes.read.append(f"{len(numbers)} cards or vehicles; they are numbered, their names are not kept")
    return tuple(
        replace(s, vehicle=f"car{numbers[s.vehicle]}" if s.vehicle else f"stay{n}", announced_departure=_later(s))
        for n, s in enumerate(kept, 1)
    )


def _later(session: ImportedSession) -> datetime | None:
    """What the driver announced, if it lies after the arrival."""
    said = session.announced_departure
    return said if said is not None and said > session.arrival else None


def _one_after_the_other(sessions: list[ImportedSession], notes: Notes) -> list[ImportedSession]:
    """At a charge point a vehicle leaves before the next one comes."""
    by_point: dict[str, list[ImportedSession]] = {}
    for session in sessions:
        by_point.setdefault(session.charge_point, []).append(session)
    cut: list[str] = []
    left_out: list[ImportedSession] = []
    result: list[ImportedSession] = []
    for point, mine in by_point.items():
        if not point:  # no charge point is known: they are given to chargers later
            result += mine
            continue
        for one, after in pairwise([*mine, mine[-1]]):
            if one is after or one.departure <= after.arrival:
                result.append(one)
            elif after.arrival <= one.arrival:
                left_out.append(one)
            else:
                cut.append(f"{one.arrival:%Y-%m-%d %H:%M}Z {point}")
                result.append(replace(one, departure=after.arrival))
    if cut:
        notes.repaired.append(
            f"{len(cut)} sessions are not over when the next one at their charge point begins; they end then: "
            f"{some(cut)}"
        )
    if left_out:
        kwh = sum(one.energy_kwh for one in left_out)
        names = some([f"{one.arrival:%Y-%m-%d %H:%M}Z {one.charge_point}" for one in left_out])
        notes.repaired.append(
            f"{len(left_out)} sessions with {kwh:.1f} kWh begin with a longer one at their charge point; they were "
            f"left out: {names}"
        )
    return sorted(result, key=lambda s: (s.arrival, s.charge_point))


def _columns_of(sheet: Sheet, options: Options, notes: Notes) -> dict[str, str]:
    """Raises InputError for a table without begin, end and energy, or with several energies."""
    found = _said_times(sheet, options)
    for field, pattern in _FIELDS.items():
        if field in found:
            continue
        fits = [name for name in sheet.columns if re.fullmatch(pattern, name.strip(), re.IGNORECASE)]
        fits = [name for name in fits if name not in found.values() or field == "energy"]
        if field == "start" and not fits:  # as of evcc; beside a begin it is that of the row
            fits = [name for name in sheet.columns if name.strip().casefold() == "created"]
        if field in {"start", "end"}:
            fits = [one for one in fits if not _NO_TIME.search(one) and looks_like_times(sheet.cells[one])]
            # A vehicle may stay when it is charged.
            fits = [one for one in fits if not _CHARGING.search(one)] or fits
        if field == "energy":
            fits = _energy_column(sheet, fits, options)
        if fits:
            found[field] = fits[0]
    energy = "energy" in found or {"meter_start", "meter_end"} <= found.keys()
    lacking = [name for name in ("start", "end") if name not in found] + ([] if energy else ["energy"])
    if lacking:
        what = (
            f"a session needs its begin, its end and its energy (or both meter readings); no column is named as "
            f"{' and '.join(lacking)}; say --time-column BEGIN+END and --column ENERGY. It has {sheet.listed()}"
        )
        raise InputError.one(str(sheet.file.path), what, code=Code.MISSING)
    notes.read.append("columns: " + ", ".join(f"{field} {name!r}" for field, name in found.items()))
    return found


def _said_times(sheet: Sheet, options: Options) -> dict[str, str]:
    """Begin and end as ``--time-column BEGIN+END`` says them. Raises InputError for anything but two columns."""
    if options.time_column is None:
        return {}
    names = [sheet.pick(name.strip(), "--time-column") for name in options.time_column.split("+")]
    if len(names) != 2:
        what = "of sessions it is the columns of begin and end, with a plus between them"
        raise InputError.one("--time-column", what, options.time_column, code=Code.FORMAT)
    return {"start": names[0], "end": names[1]}


def _energy_column(sheet: Sheet, fits: list[str], options: Options) -> list[str]:
    """The column of energies, or none where meter readings are. Raises InputError where several may be meant."""
    if options.column is not None:
        return [sheet.pick(options.column, "--column")]
    fits = [name for name in fits if not _NO_ENERGY.search(name) and not _READING.fullmatch(name.strip())]
    kwh = [name for name in fits if "kwh" in name.casefold()]
    fits = kwh or fits
    if len(fits) > 1:
        what = f"may be any of {', '.join(map(repr, fits))}; say --column NAME"
        raise InputError.one(f"{sheet.file.path}, the energy of a session", what, code=Code.CONFLICT)
    return fits


def _instants(sheet: Sheet, column: str, home: tzinfo | None, options: Options, notes: Notes) -> "np.ndarray":
    where = f"{sheet.file.path}, column {column}"
    cells, _ = with_half(sheet, column, sheet.cells[column])
    clock = read_clock(cells, where, sheet.line, options, notes)
    return local_instants(clock, zone_said(clock, column, home, where, options, notes), where, notes)


def _energies(sheet: Sheet, columns: dict[str, str], options: Options, notes: Notes) -> "np.ndarray":
    """Energies at the meter [kWh]. Raises InputError where the unit is not known."""
    import numpy as np

    if {"meter_start", "meter_end"} <= columns.keys() and "energy" not in columns:
        first = numbers_of(sheet, columns["meter_start"], options, notes)
        last = numbers_of(sheet, columns["meter_end"], options, notes)
        unit = options.unit or _unit_named(columns["meter_end"])
        if unit is None:
            notes.assumed.append("meter readings are in Wh, as OCPP has them (--unit)")
        return np.asarray(np.nan_to_num(last - first) * _factor(unit or "Wh") * options.factor)
    column = columns["energy"]
    values = np.nan_to_num(numbers_of(sheet, column, options, notes))
    unit = options.unit or _unit_named(column)
    if unit is None:
        raise InputError.one(
            f"{sheet.file.path}, column {column}", "names no unit; say --unit kWh or Wh", code=Code.MISSING
        )
    return np.asarray(values * _factor(unit) * options.factor)


def _unit_named(column: str) -> str | None:
    named = re.search(r"(?<![A-Za-z])(MWh|kWh|Wh)(?![A-Za-z])|(?<=[a-z_])(KWH|kwh|Kwh|kWh)", column)
    return named[0] if named else None


def _factor(unit: str) -> float:
    by_name = {name.casefold(): factor for name, factor in ENERGY.items()}
    if unit.casefold() not in by_name:
        raise InputError.one("--unit", f"one of {', '.join(ENERGY)} is allowed", unit, code=Code.UNKNOWN)
    return by_name[unit.casefold()]


def _points(sheet: Sheet, columns: dict[str, str], notes: Notes) -> list[str]:
    """Names of charge points; a station's connectors are charge points of their own."""
    empty: pd.Series = sheet.cells.iloc[:, 0].str.slice(0, 0)
    points = sheet.cells[columns["charge_point"]] if "charge_point" in columns else empty
    if "connector" in columns:
        several = sheet.cells[columns["connector"]].groupby(points).nunique().max() > 1
        if several:
            points = points + "-" + sheet.cells[columns["connector"]]
    names = sorted(set(points) - {""})
    notes.read.append(f"{len(names)} charge points: {some(names)}" if names else "no charge points")
    return [str(point) for point in points]
