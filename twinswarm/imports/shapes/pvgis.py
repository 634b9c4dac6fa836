"""PVGIS: hourly series and typical years, read by ``pvlib.iotools``.

Hourly times are the instants of the satellite's pictures, such as minute 10. Times of a typical year are whole hours;
of irradiance an *Irradiance Time Offset* says the instant, where the file states it. PVGIS, © European Union.
"""

import io
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any

from schemas.errors import Code, InputError
from schemas.site import IntervalLabel
from twinswarm.imports.imported import Imported
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.regular import Grid
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import decoded

if TYPE_CHECKING:
    import pandas as pd

_HOUR_S = 3600
_LOW_SUN_DEG = 3.0
_SLOPE = re.compile(r"Slope: *([-\d.]+)|\"slope\": *\{ *\"value\": *([-\d.]+)")
_OFFSET = re.compile(r"Irradiance Time Offset \(h\): *([-+\d.]+)|\"irradiance_time_offset\": *([-+\d.]+)")


def hourly_recognises(file: RawFile) -> bool:
    return ("Radiation database" in file.begin and "time," in file.begin) or (
        '"seriescalc"' in file.begin or ('"mounting_system"' in file.begin and '"hourly"' in file.begin)
    )


def tmy_recognises(file: RawFile) -> bool:
    return "month,year" in file.begin or '"tmy_hourly"' in file.begin or '"months_selected"' in file.begin


def read_hourly(wanted: Wanted) -> Imported:
    """Irradiance and temperature, or PV power where the file has it. Raises InputError."""
    from pvlib.iotools import read_pvgis_hourly

    data, meta = _parsed(wanted, read_pvgis_hourly)
    if wanted.kind is Kind.PV:
        return _power(wanted, data)
    columns = _horizontal(wanted, data, meta)
    return _weather(wanted, columns, "pvgis", 0.0)


def _power(wanted: Wanted, data: "pd.DataFrame") -> Imported:
    if "P" not in data:
        raise wanted.file.refuse("has no PV power; download it with PV power calculation, or import it as weather")
    wanted.notes.assumed.append("the power of an instant is the mean of its hour, from the whole hour on")
    grid = _grid(wanted, data["P"] / 1000.0 * wanted.options.factor)
    return Imported(Kind.PV, "pvgis", {"pv": _whole_hours(grid)}, wanted.notes)


def _whole_hours(grid: Grid) -> Grid:
    return Grid(grid.start_s // _HOUR_S * _HOUR_S, grid.step_s, grid.values)


def _horizontal(wanted: Wanted, data: "pd.DataFrame", meta: dict[str, Any]) -> dict[str, "pd.Series"]:
    """Raises InputError for irradiance in an inclined plane."""
    slope = _slope(meta, wanted.file)
    beam, diffuse = data.get("poa_direct"), data.get("poa_sky_diffuse")
    if slope not in {0.0, None} or beam is None or diffuse is None:
        what = (
            "needs irradiance on the horizontal plane by its components: download it with slope 0 and radiation "
            "components, or a typical year (TMY); PV power of an inclined plane can be imported as pv"
        )
        raise wanted.file.refuse(what, f"slope {slope}", code=Code.INVALID)
    ground = data.get("poa_ground_diffuse", 0.0)
    wanted.notes.read.append("global irradiance is beam, diffuse and reflected irradiance on the horizontal plane")
    found = {"ghi": beam + diffuse + ground, "temp_air": data["temp_air"]}
    elevation = data.get("solar_elevation")
    if elevation is None or not (elevation > _LOW_SUN_DEG).any():
        wanted.notes.assumed.append("the file has no height of the sun: direct irradiance is estimated from the global")
        return found
    return found | _components(beam, diffuse + ground, elevation)


def _components(beam: "pd.Series", diffuse: "pd.Series", elevation_deg: "pd.Series") -> dict[str, "pd.Series"]:
    """Direct normal irradiance from that on the horizontal plane; that of a sun so low that it cannot be divided by its
    height counts as diffuse, so that the global irradiance stays."""
    import numpy as np

    high = elevation_deg > _LOW_SUN_DEG
    sine = np.sin(np.radians(elevation_deg.where(high, 90.0)))
    return {"dni": (beam / sine).where(high, 0.0), "dhi": diffuse + beam.where(~high, 0.0)}


def _slope(meta: dict[str, Any], file: RawFile) -> float | None:
    found = _SLOPE.search(file.begin)
    if found:
        return float(found[1] or found[2])
    value = meta.get("Slope") or meta.get("slope")
    return float(re.sub(r"[^\d.-]", "", str(value))) if value not in {None, ""} else None


def read_tmy(wanted: Wanted) -> Imported:
    """A typical year, put into the year of ``--year``. Raises InputError."""
    import pandas as pd
    from pvlib.iotools import read_pvgis_tmy

    data, _ = _parsed(wanted, read_pvgis_tmy)
    year = wanted.options.year
    if year is None:
        raise InputError.one(
            "--year", "a typical year has no year of its own; say for which it stands", code=Code.MISSING
        )
    stamps = pd.DatetimeIndex(data.index)
    data = data[~((stamps.month == 2) & (stamps.day == 29))]
    moved = pd.DatetimeIndex([time.replace(year=year) for time in data.index])
    data.index = moved
    data = data.sort_index()
    if pd.Timestamp(year, 2, 28).is_leap_year:
        before = data[(moved.month == 2) & (moved.day == 28)]
        leap = before.set_axis(before.index + pd.Timedelta(days=1))
        data = pd.concat([data, leap]).sort_index()
        wanted.notes.assumed.append(f"29 February {year} is as the 28th")
    # The year goes round: a local year begins or ends beside that of UTC.
    length = data.index[-1] - data.index[0] + pd.Timedelta(hours=1)
    before, after = data.tail(24), data.head(24)
    data = pd.concat([before.set_axis(before.index - length), data, after.set_axis(after.index + length)])
    found = _OFFSET.search(wanted.file.raw[:100_000].decode("utf-8", "replace"))
    offset_s = 0.0 if found is None else float(found[1] or found[2]) * _HOUR_S
    if found is None:
        wanted.notes.assumed.append("irradiance is of its whole hours, for the file states no Irradiance Time Offset")
    else:
        wanted.notes.read.append(f"irradiance is of {offset_s:.0f} s after its times (Irradiance Time Offset)")
    wanted.notes.assumed.append(f"the typical year stands for {year} (--year), and goes on for a day at both ends")
    columns = {name: data[name] for name in ("ghi", "dni", "dhi", "temp_air") if name in data}
    return _weather(wanted, columns, "pvgis-tmy", round(offset_s, 1))


def _weather(wanted: Wanted, columns: dict[str, "pd.Series"], name: str, offset_s: float) -> Imported:
    series = {
        column: _grid(wanted, values.clip(lower=None if column == "temp_air" else 0.0))
        for column, values in columns.items()
    }
    wanted.notes.read.append(f"values of instants: {', '.join(series)}; PVGIS, © European Union")
    return Imported(Kind.WEATHER, name, series, wanted.notes, IntervalLabel.INSTANT, offset_s)


def _grid(wanted: Wanted, values: "pd.Series") -> Grid:
    """Raises InputError for missing hours, of which PVGIS has none."""
    import numpy as np
    import pandas as pd

    index = pd.DatetimeIndex(values.index)
    index = index.tz_localize(UTC) if index.tz is None else index.tz_convert(UTC)
    seconds = index.as_unit("s").asi8
    if len(seconds) < 2 or (np.diff(seconds) != _HOUR_S).any() or not np.isfinite(values.to_numpy(dtype=float)).all():
        raise wanted.file.refuse("is not of every hour: a row is missing, empty or there twice", code=Code.INVALID)
    return Grid(int(seconds[0]), _HOUR_S, values.to_numpy(dtype=float))


def _parsed(wanted: Wanted, parse: Any) -> tuple[Any, Any]:
    """Raises InputError for what pvlib cannot read."""
    text = decoded(wanted.file, wanted.options, wanted.notes)
    form = "json" if text.lstrip()[:1] == "{" else "csv"
    binary = form == "csv" and parse.__name__ == "read_pvgis_tmy"
    buffer = io.BytesIO(text.encode()) if binary else io.StringIO(text)
    try:
        data, meta = parse(buffer, pvgis_format=form)
    except Exception as error:  # whatever pvlib meets in a text that is not of its form
        raise wanted.file.refuse(f"cannot be read by pvlib: {type(error).__name__}: {error}"[:300]) from None
    return data, meta


SHAPES = (
    Shape("pvgis-tmy", "typical year of PVGIS", frozenset({Kind.WEATHER}), read_tmy, tmy_recognises),
    Shape("pvgis", "hourly series of PVGIS", frozenset({Kind.WEATHER, Kind.PV}), read_hourly, hourly_recognises),
)
