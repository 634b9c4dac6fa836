"""What a site file refers to, read and put in its place: profiles, sessions and cables from CSV."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from schemas.errors import Fault, InputError
from schemas.site import ChargingSession
from sites.loader.cables import FIELDS, TEXT_FIELDS, WAYS, resolved, ways_in
from sites.loader.csv_table import Table, number, raise_some, read_csv
from sites.loader.fault_locations import faults_in
from sites.loader.nearest import did_you_mean
from sites.written import CablesFile, DayFile, SessionsFile, TimeFile

_PROFILE: TypeAdapter[DayFile | TimeFile] = TypeAdapter(Annotated[DayFile | TimeFile, Field(discriminator="type")])
_SESSIONS = TypeAdapter(SessionsFile)
_CABLES = TypeAdapter(CablesFile)

TEXT_COLUMNS = frozenset({"vehicle", "arrival", "departure", "announced_departure", *TEXT_FIELDS})
WHOLE_COLUMNS = frozenset({"parallel"})


@dataclass
class Resolver:
    """Reads the files of one site. ``faults`` collects all there are; ``unknown`` the paths that stay without value.

    ``cable_lines``: of cables in a file, where each one stands there.
    """

    path: Path
    faults: list[Fault] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    cable_lines: list[str] = field(default_factory=list)
    _tables: dict[Path, Table | None] = field(default_factory=dict)

    def resolve(self, data: dict[str, Any]) -> dict[str, Any]:
        """The site's data with every reference to a file replaced. What cannot be read is replaced by a stand-in,
        named in ``unknown``, so that the rest can still be checked.
        """
        data = dict(data)
        if isinstance(profiles := data.get("profiles"), dict):
            data["profiles"] = {name: self._profile(name, given) for name, given in profiles.items()}
        if isinstance(devices := data.get("devices"), dict):
            data["devices"] = {name: self._device(name, given) for name, given in devices.items()}
        if isinstance(network := data.get("network"), dict):
            if isinstance(cables := network.get("cables"), dict):
                data["network"] = network | {"cables": self._cables_file(cables)}
            elif isinstance(cables, list):
                data["network"] = network | {"cables": self._cables(cables)}
        return data

    def _profile(self, name: str, given: Any) -> Any:
        if not isinstance(given, dict) or "values" in given:
            return given
        stand_in = {"type": "day", "values": [0.0]}
        place = ("profiles", name)
        wanted = self._validate(_PROFILE, given, place)
        if wanted is None:
            return stand_in
        table = self._table(wanted.file, place)
        if table is None:
            return stand_in
        try:
            resolved: dict[str, Any] = {"type": wanted.type, "values": table.numbers(wanted.column)}
            if isinstance(wanted, TimeFile):
                resolved["start"], resolved["step_s"] = table.times(wanted.time_column)
        except InputError as error:
            self._add(error, place)
            return stand_in
        return resolved

    def _device(self, name: str, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("sessions"), dict):
            return given
        place = ("devices", name, "sessions")
        wanted = self._validate(_SESSIONS, given["sessions"], place)
        table = None if wanted is None else self._table(wanted.file, place)
        sessions: list[Any] = []
        if wanted is not None and table is not None:
            try:
                mine = [
                    row for row, cell in enumerate(table.cells("charge_point")) if cell.strip() == wanted.charge_point
                ]
                if not mine:
                    raise InputError.one(str(table.path), "no row has this charge_point", wanted.charge_point)
                sessions = self._sessions(table, mine)
            except InputError as error:
                self._add(error, place)
        return given | {"sessions": sessions}

    def _cables(self, given: list[Any]) -> list[Any]:
        cables = []
        for index, row in enumerate(given):
            place = ("network", "cables", index)
            try:
                cables.append(resolved(row, str(self.path), place, of_file=False) if isinstance(row, dict) else row)
            except InputError as error:
                self.faults += error.faults
                cables.append(self._stand_in(row))
        return cables

    def _stand_in(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """For a faulty cable: one between its ends, so that they are still checked and no other fault is invented."""
        ends = {name: row.get(name) for name in ("from_node", "to_node")}
        if not all(isinstance(end, str) and end for end in ends.values()):
            ends = dict.fromkeys(ends, "?")
            self.unknown.add("network.cables")
        return ends | {"r_mohm": 1.0, "x_mohm": 0.0, "ampacity_a": 1.0}

    def _cables_file(self, given: dict[str, Any]) -> list[Any]:
        place = ("network", "cables")
        wanted = self._validate(_CABLES, given, place)
        table = None if wanted is None else self._table(wanted.file, place)
        cables: list[Any] = []
        if table is not None:
            try:
                cables = self._cable_rows(table, place)
            except InputError as error:
                self._add(error, place)
        if not cables:
            self.unknown.add("network.cables")
        return cables

    def _cable_rows(self, table: Table, place: tuple[str, ...]) -> list[Any]:
        """Raises InputError when the columns are not those of cables; faults of rows are added to the others."""
        ways = ways_in(table.columns)
        if not ways:
            near = "".join(
                did_you_mean(name, FIELDS - set(table.columns)) for name in table.columns if name not in FIELDS
            )
            raise InputError.one(str(table.path), f"has no columns {WAYS}{near}")
        raise_some(
            [
                Fault(str(table.path), "there is no such column; it is needed", name)
                for name, info in ways[0].model_fields.items()
                if info.is_required() and name not in table.columns and len(ways) == 1
            ],
            table.path,
        )
        faults: list[Fault] = []
        found = []
        for row in range(len(table.rows)):
            record, bad_cells = _record(table, row, FIELDS)
            faults += bad_cells
            line = f"{table.path}: line {table.lines[row]}"
            self.cable_lines.append(line)
            try:
                found.append(resolved(record, line, of_file=True))
            except InputError as error:
                faults += () if bad_cells else error.faults
                found.append(self._stand_in(record))
        try:
            raise_some(faults, table.path)
        except InputError as error:
            self._add(error, place)
        return found

    def _sessions(self, table: Table, rows: Sequence[int]) -> list[Any]:
        """Rows as data of sessions. Columns beyond its fields and the charge point are refused."""
        fields = ChargingSession.model_fields
        faults = [
            Fault(str(table.path), "there is no such column; it is needed", name)
            for name, info in fields.items()
            if info.is_required() and name not in table.columns
        ]
        faults += [
            Fault(str(table.path), f"unknown column{did_you_mean(name, fields)}", name)
            for name in table.columns
            if name not in fields and name != "charge_point"
        ]
        raise_some(faults, table.path)
        found = []
        for row in rows:
            record, bad_cells = _record(table, row, fields.keys())
            faults += bad_cells or _session_faults(record, f"{table.path}: line {table.lines[row]}")
            found.append(record)
        raise_some(faults, table.path)
        return found

    def _validate(self, adapter: TypeAdapter[Any], given: dict[str, Any], place: tuple[str, ...]) -> Any:
        try:
            return adapter.validate_json(to_json(given, inf_nan_mode="constants"), strict=True)
        except ValidationError as error:
            model = DayFile | TimeFile if adapter is _PROFILE else SessionsFile if adapter is _SESSIONS else CablesFile
            self.faults += faults_in(error, given, model, str(self.path), place)
            return None

    def _table(self, name: str, place: tuple[str, ...]) -> Table | None:
        file = self.path.parent / name
        if file not in self._tables:
            self._tables[file] = None
            try:
                self._tables[file] = read_csv(file)
            except InputError as error:
                self._add(error, place)
        return self._tables[file]

    def _add(self, error: InputError, place: tuple[str, ...]) -> None:
        """A fault of a file is told with the field of the site that names the file."""
        named = f"{'.'.join(place)} of {self.path}"
        self.faults += [Fault(fault.where, f"{fault.what} [for {named}]", fault.received) for fault in error.faults]


def _record(table: Table, row: int, fields: Collection[str]) -> tuple[dict[str, Any], list[Fault]]:
    """The cells of a row that belong to ``fields`` and are not empty, and the faults of those that are no numbers."""
    record: dict[str, Any] = {}
    faults = []
    for name, cell in zip(table.columns, table.rows[row], strict=True):
        text = cell.strip()
        if name not in fields or text == "":
            continue
        value: float | str | None = text if name in TEXT_COLUMNS else number(cell)
        if value is None:
            faults.append(Fault(table.where(row, name), "is not a finite number", repr(cell)))
        else:
            record[name] = int(value) if name in WHOLE_COLUMNS and value == int(value) else value
    return record, faults


def _session_faults(record: dict[str, Any], where: str) -> list[Fault]:
    try:
        ChargingSession.model_validate_json(to_json(record), strict=True)
    except ValidationError as error:
        return faults_in(error, record, ChargingSession, where)
    return []
