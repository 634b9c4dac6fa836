"""Flux that several panels share, as text. The schema it reads is told in ``docs/history.md``.

A series is named by its column ``_field``: Grafana calls a frame by it, so that colours can be given by name. Every
query ends with `SERIES` (a chart) or as one table of plain columns, which leaves Grafana nothing to guess.

Powers are means between two registers wherever a device has registers: they say what was paid for. A point of such a
mean lies at the end of what it is the mean of, and is drawn from the point before it (`stepBefore`).
"""

from schemas.capabilities import Group
from schemas.kinds import kinds_of

ALWAYS = "range(start: 1970-01-01T00:00:00Z, stop: 2262-01-01T00:00:00Z)"
"""For what lies where it was said, not where the dashboard looks. Without a stop a query ends now."""
LIVE_BUCKET = 'strings.trimSuffix(v: "${bucket}", suffix: "-simulated")'
"""With ``import "strings"``: the bucket that ``${bucket}`` belongs to."""

QUARTERS_BUCKET = f'{LIVE_BUCKET} + "-quarters"'
"""The same with the quarter-hours and results of days, both of the live site and of simulated runs."""
SIMULATED = 'strings.hasSuffix(v: "${bucket}", suffix: "-simulated")'
"""The same: whether the chosen bucket is that of simulated runs."""

SERIES = """
    |> keep(columns: ["_time", "_value", "_field"])
    |> group(columns: ["_field"])
    |> sort(columns: ["_time"])"""
LATEST = """
    |> window(every: v.windowPeriod)
    |> last()
    |> window(every: inf)"""
"""At most one row for each point of the panel: the newest one, where and as it was told."""
ALIGNED = """
    |> aggregateWindow(
        every: if int(v: v.windowPeriod) <= int(v: 5m) then 5m
            else duration(v: (int(v: v.windowPeriod) + int(v: 15m) - 1) / int(v: 15m) * int(v: 15m)),
        fn: first,
        timeSrc: "_start",
        createEmpty: false,
    )"""
"""The same for series that are added up: at common times. They are those of a simulation's quarter-hours, too: five
minutes, or the quarter-hours that a point of the panel takes."""
TELEMETRY = "r._measurement =~ /_telemetry$/"
BY_DEVICE = 'r.kind + " " + r.device'
"""Names a series by kind and device."""
COLUMNS = """
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")"""


def told(*where: str, within: str = "range(start: v.timeRangeStart, stop: v.timeRangeStop)") -> str:
    """The chosen run's records for which all these conditions hold."""
    return f"""from(bucket: "${{bucket}}")
    |> {within}
    |> filter(fn: (r) => r.site == "${{site}}" and r.run == "${{run}}" and {" and ".join(where)})"""


def named(name: str) -> str:
    """Names the series."""
    return f"""
    |> map(fn: (r) => ({{r with _field: {name}}}))"""


def any_of(*fields: str) -> str:
    """The condition to be one of these fields."""
    condition = " or ".join(f'r._field == "{field}"' for field in fields)
    return f"({condition})" if len(fields) > 1 else condition


def counted(each: str) -> str:
    """Adds up what each row counts. Not by map and sum: of a constant in a map, Flux's sum is null."""
    return f"""
    |> reduce(identity: {{_value: 0}}, fn: (r, accumulator) => ({{_value: accumulator._value + ({each})}}))"""


def mean_power(where: str, thinned: str = LATEST) -> str:
    """Defines ``power``: `_value` [kW] by device and kind, the mean since the point before, from the registers.

    Of a device without registers it is what it told last. There is none over registers that went back.
    """
    fields = any_of("power_kw", "energy_import_kwh", "energy_export_kwh")
    return f"""telemetry = {told(TELEMETRY, where, fields)}{thinned}
    |> keep(columns: ["_time", "_field", "_value", "device", "kind"]){COLUMNS}

metered = telemetry
    |> filter(fn: (r) => exists r.energy_import_kwh)
    |> derivative(unit: 1h, nonNegative: true, columns: ["energy_import_kwh", "energy_export_kwh"])
    |> filter(fn: (r) => exists r.energy_import_kwh and exists r.energy_export_kwh)
    |> map(fn: (r) => ({{r with _value: r.energy_import_kwh - r.energy_export_kwh}}))
    |> keep(columns: ["_time", "_value", "device", "kind"])

sampled = telemetry
    |> filter(fn: (r) => not exists r.energy_import_kwh)
    |> map(fn: (r) => ({{r with _value: r.power_kw}}))
    |> keep(columns: ["_time", "_value", "device", "kind"])

power = union(tables: [metered, sampled])
"""


def quarter_energy(where: str, register: str) -> str:
    """The register's difference [kWh] of each whole quarter-hour, at its start; `_field` stays the register's name.

    A quarter-hour in which the register went back has none, as in the bucket of quarter-hours.
    """
    return f"""{told(TELEMETRY, where, any_of(register))}
    |> aggregateWindow(every: 15m, fn: first, timeSrc: "_start", createEmpty: false)
    |> difference(nonNegative: true, keepFirst: true)
    |> elapsed(unit: 1s)
    |> filter(fn: (r) => r.elapsed == 900 and exists r._value)
    |> timeShift(duration: -15m)
    |> keep(columns: ["_time", "_value", "_field", "device"])"""


def gained(where: str, register: str) -> str:
    """Increase of registers in the time range [kWh], added up; a register that went back counts on from there."""
    return f"""{told(where, any_of(register))}
    |> difference(nonNegative: true)
    |> group()
    |> sum()"""


def limit(field: str, name: str, sign: str = "") -> str:
    """A series of two points, at both ends of the time range: a limit of the site's description."""
    return f"""limit = {told('r._measurement == "run"', any_of(field), within=ALWAYS)}
    |> last()
    |> group()
    |> map(fn: (r) => ({{r with _value: {sign}r._value, _field: "{name}"}}))

union(tables: [
    limit |> map(fn: (r) => ({{r with _time: v.timeRangeStart}})),
    limit |> map(fn: (r) => ({{r with _time: v.timeRangeStop}})),
]){SERIES}"""


def kinds(column: str, *groups: Group) -> str:
    """A condition: the kind is one of those whose devices belong to the groups, by `schemas.kinds`."""
    names = "|".join(kind for group in groups for kind in kinds_of(group))
    return f"{column} =~ /^({names})$/"
