"""Standard load profiles of the BDEW where there is no measurement, by the library ``oemof-demand`` (MIT licence).

The numbers are the representative profiles of VDEW 1999 (h0 households, g0 to g6 trade, l0 to l2 farms) as the library
has them; the BDEW states no licence with them. h0 is not made dynamic.
"""

from datetime import UTC, date
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from schemas.errors import Code, InputError
from schemas.site import Site
from sites.loader.holiday_dates import holidays_of
from twinswarm.imports.imported import Imported
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.regular import Grid
from twinswarm.imports.target import Target

if TYPE_CHECKING:
    import pandas as pd

BDEW = "bdew"
PROFILES = ("h0", "g0", "g1", "g2", "g3", "g4", "g5", "g6", "l0", "l1", "l2")


def without_measurement(kind: Kind, file: Path | None, target: Target, options: Options) -> Imported:
    """The profile of ``--as bdew``. Raises InputError for what it needs, and for an import without a file."""
    if options.shape != BDEW:
        raise InputError.one("FILE", "is needed; a load without measurement is --as bdew", code=Code.MISSING)
    if file is not None:
        raise InputError.one("FILE", "is not read with --as bdew, a profile of tables", str(file), code=Code.CONFLICT)
    if kind is not Kind.LOAD:
        raise InputError.one("--as", "bdew is a load", kind.value, code=Code.CONFLICT)
    if target.site is None:
        raise InputError.one("--site", "is needed with --as bdew, for zone and holidays", code=Code.MISSING)
    name = (options.column or "g0").lower()
    if name not in PROFILES:
        raise InputError.one("--column", f"of BDEW's profiles one of {', '.join(PROFILES)}", name, code=Code.UNKNOWN)
    if options.year is None or options.annual_kwh is None:
        raise InputError.one("--year, --annual-kwh", "are needed with --as bdew", code=Code.MISSING)
    return standard_load(name, options.year, options.annual_kwh, target.site)


def standard_load(name: str, year: int, annual_kwh: float, site: Site) -> Imported:
    """Quarter-hours of a local year with that energy [kWh]."""
    import numpy as np
    import pandas as pd

    notes = Notes()
    free = _holidays(year, site, notes)
    clock = _by_clock(name, year, free)
    start = pd.Timestamp(year, 1, 1, tz=site.zone)
    steps = pd.date_range(start, pd.Timestamp(year + 1, 1, 1, tz=site.zone), freq="15min", inclusive="left")
    values = clock.reindex(steps.tz_localize(None)).to_numpy(dtype=float)
    values = values * (annual_kwh / (values.sum() / 4))
    notes.read.append(f"standard load profile {name} of the BDEW (VDEW 1999), {annual_kwh:g} kWh in {year}")
    notes.assumed.append(f"the load is as that of all customers of the kind {name} together (--column)")
    grid = Grid(int(start.tz_convert(UTC).timestamp()), 900, np.asarray(values))
    return Imported(Kind.LOAD, BDEW, {"load": grid}, notes)


def _by_clock(name: str, year: int, free: list[date]) -> "pd.Series":
    """Powers by the local clock."""
    from oemof.demand import bdew

    profiles = bdew.ElecSlp(year, holidays=free)
    return profiles.get_scaled_power_profiles({name: 1000.0}, conversion_factor=4)[name]


def _holidays(year: int, site: Site, notes: Notes) -> list[date]:
    zone: ZoneInfo = site.zone
    found = holidays_of(site.location, date(year, 7, 1))
    if isinstance(found, str):
        notes.assumed.append(f"no public holidays in {zone.key}: {found}")
        return []
    return [day for day in found if day.year == year]
