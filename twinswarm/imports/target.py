"""Where an import goes: into a site, into a folder, or nowhere, to be looked at first."""

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

from schemas.errors import Code, InputError
from schemas.site import Charger, Site
from sites.loader.box import data_folder, site_path
from sites.loader.loading import load_description
from twinswarm.imports.imported import Imported, ImportedSessions
from twinswarm.imports.into_site import beside, change_site, changes_of, check_replaceable, session_changes
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.picture import picture_of
from twinswarm.imports.sessions_picture import picture_of_sessions
from twinswarm.imports.statistics import sessions_statistics
from twinswarm.imports.vehicles import HEADER, placed, rows_of
from twinswarm.imports.writing import (
    provenance,
    rows_text,
    sessions_provenance,
    table_of,
    taken_back_if_refused,
    write_all,
)
from twinswarm.imports.zones import zone_of


@dataclass(frozen=True)
class Target:
    """``site_file`` and ``site`` are None without a site, ``folder`` as well where nothing is written."""

    folder: Path | None
    site_file: Path | None
    site: Site | None
    name: str

    @property
    def home(self) -> tzinfo | None:
        """The zone of the site."""
        return None if self.site is None else self.site.zone

    def put(self, imported: Imported, options: Options) -> tuple[list[Path], list[str]]:
        """Writes table, provenance and picture, and changes the site; returns the files and the changes in words.

        Raises InputError, and then the site is as it was.
        """
        text = table_of(imported)
        if self.folder is None:
            return [], []
        table = self.folder / f"{self.name}.csv"
        check_replaceable(table, imported.kind)
        shown = self.home or (UTC if options.time_zone is None else zone_of(options.time_zone))
        contents: dict[Path, str | bytes] = {
            table: text,
            beside(table): provenance(imported, options),
            table.with_suffix(".png"): picture_of(imported, shown).png(),
        }
        said: list[str] = []
        with taken_back_if_refused(contents):
            write_all(contents)
            if self.site is not None and self.site_file is not None:
                changes, said = changes_of(imported, table.name, self.name, self.site)
                change_site(self.site_file, changes)
        return list(contents), said

    def put_sessions(
        self, found: ImportedSessions, options: Options, wanted: str | None
    ) -> tuple[list[Path], list[str], dict[str, Any]]:
        """As `put`, of charging sessions, with their statistics.

        ``wanted``: the chargers that get them, separated by commas; None: all of the site.
        """
        chargers = self._chargers(wanted)
        points = sorted({session.charge_point or "CP1" for session in found.sessions})
        there = placed(found.sessions, list(chargers) or points, found.notes)
        rows = rows_of(there, chargers, options, found.notes)
        numbers = sessions_statistics(there)
        if self.folder is None:
            return [], [], numbers
        table = self.folder / f"{self.name}.csv"
        check_replaceable(table, Kind.SESSIONS)
        contents: dict[Path, str | bytes] = {
            table: rows_text(HEADER, rows),
            beside(table): sessions_provenance(found, there, options),
            table.with_suffix(".png"): picture_of_sessions(there, self.home or UTC).png(),
        }
        said: list[str] = []
        with taken_back_if_refused(contents):
            write_all(contents)
            if self.site is not None and self.site_file is not None:
                changes, said = session_changes(there, table.name, list(chargers), self.site)
                change_site(self.site_file, changes)
        return list(contents), said, numbers

    def _chargers(self, wanted: str | None) -> dict[str, Charger]:
        """Raises InputError for names that are no chargers of the site, and for a site without any."""
        if self.site is None:
            return {}
        there = {name: device for name, device in self.site.devices.items() if isinstance(device, Charger)}
        names = list(there) if wanted is None else [name.strip() for name in wanted.split(",")]
        if unknown := [name for name in names if name not in there]:
            raise InputError.one(
                "--chargers", f"the site's chargers are {', '.join(there) or 'none'}", unknown[0], code=Code.UNKNOWN
            )
        if not names:
            raise InputError.one(
                "--site", "has no charger that sessions could be at", self.site.site, code=Code.MISSING
            )
        return {name: there[name] for name in names}


def target_of(site: str | None, out: Path | None, name: str) -> Target:
    """Raises InputError for both at once, a site in the box, one that is not valid, or a name that none can have."""
    if re.fullmatch(r"[a-z0-9_]{1,64}", name) is None:
        what = "a profile's name is of small letters, digits and underscores"
        raise InputError.one("--name", what, name, code=Code.FORMAT)
    if site is not None and out is not None:
        raise InputError.one("--out", "is for an import without --site", str(out), code=Code.CONFLICT)
    if site is None:
        return Target(out, None, None, name)
    file = site_path(site)
    if file.is_relative_to(data_folder()) or file.suffix == ".json":
        what = "is a site in the box or a resolved one, which nothing is imported into; `twinswarm init` writes one"
        raise InputError.one("--site", what, site, code=Code.INVALID)
    return Target(file.parent, file, load_description(file), name)
