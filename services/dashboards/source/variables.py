"""Variables at the top of a dashboard. Grafana takes the first text column of a query's answer as options."""

from grafana_foundation_sdk.builders.dashboard import QueryVariable
from grafana_foundation_sdk.models.dashboard import VariableHide, VariableOption, VariableRefresh, VariableSort

from schemas.kinds import DEVICE_KINDS
from services.dashboards.source.flux import ALWAYS, LIVE_BUCKET, QUARTERS_BUCKET, SIMULATED, any_of, told
from services.dashboards.source.query import DATA_SOURCE

_RUNS = f"""from(bucket: "${{bucket}}")
    |> {ALWAYS}
    |> filter(fn: (r) => r._measurement == "run" and r._field == "label")
    |> last()
    |> group()"""

_DAYS = f"""from(bucket: {QUARTERS_BUCKET})
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: (r) => r._measurement == "day_result" and r.site == "${{site}}" and r._field == "cost_eur")
    |> group()"""

_METERS = f"""import "regexp"

telling = {told("r._measurement =~ /^(network|meter)_telemetry$/", any_of("power_kw"))}
    |> last()
    |> group()
    |> keep(columns: ["device", "kind", "run"])

births = {told("r._measurement =~ /_birth$/", any_of("nameplate_role"), within=ALWAYS)}
    |> last()
    |> group()
    |> map(fn: (r) => ({{device: r.device, kind: r.kind, role: r._value, by: "birth"}}))

row = {told('r._measurement == "run"', any_of("json"), within=ALWAYS)}
    |> last()
    |> group()
    |> map(fn: (r) => ({{run: r.run, row: r._value}}))

told_role = (row, device) => regexp.findString(
    r: regexp.compile(v: "/meter/" + device + "/birth.*?role[^a-z]+(pcc|load|submeter)"),
    v: row,
)

others = join(tables: {{meter: telling, run: row}}, on: ["run"])
    |> map(fn: (r) => ({{r with told: told_role(row: r.row, device: r.device)}}))
    |> map(fn: (r) => ({{
        device: r.device,
        kind: r.kind,
        role: if r.kind == "network" or r.told =~ /pcc$/ then "pcc"
            else if r.told =~ /submeter$/ then "submeter"
            else if r.told =~ /load$/ then "load"
            else "unknown",
        by: "row",
    }}))

meters = union(tables: [births, others])
    |> group(columns: ["device"])
    |> sort(columns: ["by"])
    |> limit(n: 1)
    |> group()
"""
"""Defines ``meters``: device, kind and role of each. A birth is told once, and a bucket with a retention loses it
during a long session. Then meters are those that told telemetry, with the roles of the births in the run's row."""


_KINDS = "|".join(DEVICE_KINDS)
_DEVICES = f"""born = {told(f"r._measurement =~ /^({_KINDS})_birth$/", any_of("seq"), within=ALWAYS)}
    |> last()

telling = {told(f"r._measurement =~ /^({_KINDS})_telemetry$/", any_of("seq"))}
    |> last()

"""


def _query(name: str, label: str, description: str, flux: str, refresh: VariableRefresh) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATA_SOURCE)
        .query({"query": flux, "refId": f"variable-{name}"})
        .refresh(refresh)
        .sort(VariableSort.DISABLED)
    )


def bucket() -> QueryVariable:
    return _query(
        "bucket",
        "Bucket",
        "NAME: the live site. NAME-simulated: simulated runs.",
        """buckets()
    |> filter(fn: (r) => r.name !~ /^_/ and r.name !~ /-quarters$/)
    |> sort(columns: ["name"], desc: true)
    |> keep(columns: ["name"])""",
        VariableRefresh.ON_DASHBOARD_LOAD,
    ).current(VariableOption(text="twinswarm-simulated", value="twinswarm-simulated"))


def site() -> QueryVariable:
    flux = f"""{_RUNS}
    |> unique(column: "site")
    |> sort(columns: ["site"])
    |> keep(columns: ["site"])"""
    return _query("site", "Site", "The building.", flux, VariableRefresh.ON_TIME_RANGE_CHANGED)


def run() -> QueryVariable:
    """The newest first; what it is compared with, replayed, after all of these."""
    flux = f"""import "strings"

{_RUNS}
    |> filter(fn: (r) => r.site == "${{site}}")
    |> map(fn: (r) => ({{run: r.run, replayed: strings.hasPrefix(v: r._value, prefix: "reference:")}}))
    |> sort(columns: ["run"], desc: true)
    |> sort(columns: ["replayed"])
    |> keep(columns: ["run"])"""
    return _query(
        "run",
        "Run",
        "A simulated run or a live session, named after when it was begun, newest first; replayed references last.",
        flux,
        VariableRefresh.ON_TIME_RANGE_CHANGED,
    )


def runs() -> QueryVariable:
    """Of the chosen bucket those with results of days: they outlast the runs themselves in a bucket with a retention,
    so that what is not among the simulated ones, which stay, is live."""
    flux = f"""import "strings"

days = {_DAYS}
    |> map(fn: (r) => ({{run: r.run, of: "days"}}))

simulated = from(bucket: {LIVE_BUCKET} + "-simulated")
    |> {ALWAYS}
    |> filter(fn: (r) => r._measurement == "run" and r._field == "label" and r.site == "${{site}}")
    |> last()
    |> group()
    |> map(fn: (r) => ({{run: r.run, of: "simulated"}}))

union(tables: [days, simulated])
    |> group(columns: ["run"])
    |> reduce(
        identity: {{settled: false, simulated: false}},
        fn: (r, accumulator) => ({{
            settled: accumulator.settled or r.of == "days",
            simulated: accumulator.simulated or r.of == "simulated",
        }}),
    )
    |> group()
    |> filter(fn: (r) => r.settled and r.simulated == {SIMULATED})
    |> sort(columns: ["run"], desc: true)
    |> keep(columns: ["run"])"""
    return (
        _query(
            "runs",
            "Runs",
            "Simulated runs or live sessions of which a day in the time range is settled.",
            flux,
            VariableRefresh.ON_TIME_RANGE_CHANGED,
        )
        .multi(True)
        .include_all(True)
        .current(VariableOption(text="All", value="$__all"))
    )


def pcc() -> QueryVariable:
    """The PCC meter: the meter with that role; where nobody has it, any other."""
    flux = f"""{_METERS}
meters
    |> map(fn: (r) => ({{device: r.device, rank: if r.role != "pcc" then 2 else if r.kind == "network" then 1 else 0}}))
    |> sort(columns: ["rank", "device"])
    |> keep(columns: ["device"])"""
    return _query(
        "pcc",
        "Meter at PCC",
        "The point of common coupling: the meter with that role, or the network twin.",
        flux,
        VariableRefresh.ON_TIME_RANGE_CHANGED,
    )


def load() -> QueryVariable:
    """With the role load; one whose role nobody knows is taken for such a meter, too."""
    flux = f"""{_METERS}
meters
    |> filter(fn: (r) => r.role == "load" or (r.role == "unknown" and r.device != "${{pcc}}"))
    |> sort(columns: ["device"])
    |> keep(columns: ["device"])"""
    return (
        _query(
            "load",
            "Load meters",
            "Meters with the role load; submeters are part of them.",
            flux,
            VariableRefresh.ON_TIME_RANGE_CHANGED,
        )
        .hide(VariableHide.HIDE_VARIABLE)
        .multi(True)
        .include_all(True)
        .current(VariableOption(text="All", value="$__all"))
    )


def device() -> QueryVariable:
    """Who told of itself or, in the time range, telemetry: a bucket with a retention loses births."""
    flux = f"""{_DEVICES}union(tables: [born, telling])
    |> group()
    |> keep(columns: ["kind", "device"])
    |> unique(column: "device")
    |> sort(columns: ["kind", "device"])
    |> keep(columns: ["device"])"""
    return _query("device", "Device", "With power of its own.", flux, VariableRefresh.ON_TIME_RANGE_CHANGED)


def reference() -> QueryVariable:
    flux = f"""import "strings"

{_DAYS}
    |> unique(column: "device")
    |> sort(columns: ["device"])
    |> keep(columns: ["device"])"""
    return _query(
        "reference",
        "Reference",
        "What savings and peak shaving are measured against; never with BESS or V2G.",
        flux,
        VariableRefresh.ON_TIME_RANGE_CHANGED,
    )
