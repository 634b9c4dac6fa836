"""What is chosen at the top of a dashboard. Grafana takes the first text column of a query's answer as options."""

from grafana_foundation_sdk.builders.dashboard import QueryVariable
from grafana_foundation_sdk.models.dashboard import VariableHide, VariableOption, VariableRefresh, VariableSort

from services.grafana.dashboards.flux import ALWAYS, any_of, told
from services.grafana.dashboards.query import DATA_SOURCE

_RUNS = f"""from(bucket: "${{bucket}}")
    |> {ALWAYS}
    |> filter(fn: (r) => r._measurement == "run" and r._field == "label")
    |> last()
    |> group()"""

_ROLES = told("r._measurement =~ /_birth$/", any_of("nameplate_role"), within=ALWAYS)


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


def pcc() -> QueryVariable:
    """Whose telemetry is the connection point's: the meter with that role; where its birth is gone, any other."""
    flux = f"""meters = {told("r._measurement =~ /^(feeder|meter)_telemetry$/", any_of("power_kw"))}
    |> last()
    |> group()
    |> map(fn: (r) => ({{device: r.device, rank: if r.kind == "feeder" then 1 else 2}}))

births = {_ROLES}
    |> last()
    |> group()
    |> filter(fn: (r) => r._value == "pcc")
    |> map(fn: (r) => ({{device: r.device, rank: 0}}))

union(tables: [births, meters])
    |> group()
    |> sort(columns: ["rank", "device"])
    |> unique(column: "device")
    |> keep(columns: ["device"])"""
    return _query(
        "pcc",
        "Meter at PCC",
        "The point of common coupling: the meter with that role, or the network twin.",
        flux,
        VariableRefresh.ON_TIME_RANGE_CHANGED,
    )


def load() -> QueryVariable:
    flux = f"""{_ROLES}
    |> last()
    |> group()
    |> filter(fn: (r) => r._value == "load")
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
    flux = f"""{told("r._measurement =~ /^(bess|charger|meter|pv)_birth$/", any_of("software"), within=ALWAYS)}
    |> last()
    |> group()
    |> sort(columns: ["kind", "device"])
    |> keep(columns: ["device"])"""
    return _query("device", "Device", "With power of its own.", flux, VariableRefresh.ON_TIME_RANGE_CHANGED)


def reference() -> QueryVariable:
    flux = """import "strings"

from(bucket: strings.trimSuffix(v: "${bucket}", suffix: "-simulated") + "-quarters")
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: (r) => r._measurement == "day_result" and r.site == "${site}" and r._field == "cost_eur")
    |> group()
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
