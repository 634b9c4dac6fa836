"""What a site file refers to, read and put in its place: profiles, sessions and cables from CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from schemas.errors import Fault, InputError
from schemas.site import Cable, Session
from schemas.site.written import CablesFile, DayFile, SessionsFile, TimeFile
from sites.csv_table import Table, number, raise_some, read_csv
from sites.fault_paths import faults_in
from sites.nearest import did_you_mean

_PROFILE: TypeAdapter[DayFile | TimeFile] = TypeAdapter(Annotated[DayFile | TimeFile, Field(discriminator="type")])
_SESSIONS = TypeAdapter(SessionsFile)
_CABLES = TypeAdapter(CablesFile)

TEXT_COLUMNS = frozenset({"vehicle", "arrival", "departure", "announced_departure", "from_node", "to_node"})


@dataclass
class Resolver:
    """Reads the files of one site. ``faults`` collects all there are; ``unknown`` the paths that stay without value."""

    path: Path
    faults: list[Fault] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
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
        if isinstance(network := data.get("network"), dict) and isinstance(network.get("cables"), dict):
            data["network"] = network | {"cables": self._cables(network["cables"])}
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
                mine = [row for row, cell in enumerate(table.cells("charge_point")) if cell == wanted.charge_point]
                if not mine:
                    raise InputError.one(str(table.path), "no row has this charge_point", wanted.charge_point)
                sessions = self._rows(table, Session, mine, others=("charge_point",))
            except InputError as error:
                self._add(error, place)
        return given | {"sessions": sessions}

    def _cables(self, given: dict[str, Any]) -> list[Any]:
        place = ("network", "cables")
        wanted = self._validate(_CABLES, given, place)
        table = None if wanted is None else self._table(wanted.file, place)
        cables: list[Any] = []
        if table is not None:
            try:
                cables = self._rows(table, Cable, range(len(table.rows)), others=None)
            except InputError as error:
                self._add(error, place)
        if not cables:
            self.unknown.add("network.cables")
        return cables

    def _rows(
        self, table: Table, model: type[Session | Cable], rows: Sequence[int], others: tuple[str, ...] | None
    ) -> list[Any]:
        """Rows as data of ``model``. Columns beyond its fields and ``others`` are refused (None: passed over)."""
        fields = model.model_fields
        faults = [
            Fault(str(table.path), "there is no such column; it is needed", name)
            for name, info in fields.items()
            if info.is_required() and name not in table.columns
        ]
        if others is not None:
            faults += [
                Fault(str(table.path), f"unknown column{did_you_mean(name, fields)}", name)
                for name in table.columns
                if name not in fields and name not in others
            ]
        raise_some(faults, table.path)
        found = []
        for row in rows:
            record: dict[str, Any] = {}
            bad_cells = []
            for name, cell in zip(table.columns, table.rows[row], strict=True):
                if name not in fields or cell == "":
                    continue
                value: float | str | None = cell if name in TEXT_COLUMNS else number(cell)
                if value is None:
                    bad_cells.append(Fault(table.where(row, name), "is not a finite number", repr(cell)))
                else:
                    record[name] = value
            faults += bad_cells or self._row_faults(model, record, f"{table.path}: line {table.lines[row]}")
            found.append(record)
        raise_some(faults, table.path)
        return found

    @staticmethod
    def _row_faults(model: type[Session | Cable], record: dict[str, Any], where: str) -> list[Fault]:
        try:
            model.model_validate_json(to_json(record), strict=True)
        except ValidationError as error:
            return faults_in(error, record, model, where)
        return []

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
