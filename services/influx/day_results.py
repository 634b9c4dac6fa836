"""Results of local days in InfluxDB, for whoever plots them: measurement ``day_result`` beside the quarter-hours.

One point a day, run and reference, at the day's local midnight: written again it is the same point.
"""

from collections.abc import Mapping
from datetime import datetime

from services.history.store import to_us
from services.influx.downsample import QUARTERS
from services.influx.points import line
from services.influx.server import ALL_TIME, InfluxServer, flux_text

DAY_RESULT = "day_result"
_KIND = "analysis"
_HOURS = "hours"


def write_day(
    server: InfluxServer,
    bucket: str,
    *,
    site: str,
    run: str,
    reference: str,
    midnight: datetime,
    values: Mapping[str, float],
) -> None:
    """``bucket``: the live site's, whose quarters the points go to. Raises InfluxError."""
    point = line(DAY_RESULT, (reference, _KIND, run, site), dict(values), to_us(midnight) * 1000)
    server.write(f"{bucket}{QUARTERS}", [point])


def written_days(server: InfluxServer, bucket: str, reference: str) -> dict[tuple[str, datetime], float]:
    """By run and local midnight how many hours of the day are settled there. Raises InfluxError."""
    flux = (
        f"from(bucket: {flux_text(bucket + QUARTERS)}) |> {ALL_TIME}\n"
        f'|> filter(fn: (r) => r._measurement == "{DAY_RESULT}" and r._field == "{_HOURS}"'
        f' and r.device == {flux_text(reference)}) |> keep(columns: ["_time", "run", "_value"])'
    )
    return {(row["run"], datetime.fromisoformat(row["_time"])): float(row["_value"]) for row in server.query(flux)}
