"""Where one begins: a simulated day lies anywhere in time, and this page leads there."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from services.dashboards.source import overview, savings, variables
from services.dashboards.source.flux import ALWAYS, any_of
from services.dashboards.source.panels import COUNT, TIME_MS, dashboard, link, rows

UID = "twinswarm-runs"

_RUNS = f"""from(bucket: "${{bucket}}")
    |> {ALWAYS}
    |> filter(fn: (r) => r._measurement == "run" and r.site == "${{site}}")
    |> filter(fn: (r) => {any_of("label", "mode", "t0_us", "up_to_us", "started_us", "stray")})
    |> last()
    |> keep(columns: ["run", "site", "_field", "_value", "_time"])
    |> pivot(rowKey: ["run", "site"], columnKey: ["_field"], valueColumn: "_value")
    |> group()
    |> map(fn: (r) => ({{
        run: r.run,
        site: r.site,
        label: r.label,
        mode: r.mode,
        from: r.t0_us / 1000,
        to: r.up_to_us / 1000 + 1000,
        begun: r.started_us / 1000,
        strays: r.stray,
    }}))
    |> sort(columns: ["run"], desc: true)"""

_OF_RUN = (
    "?${bucket:queryparam}&var-site=${__data.fields.site}&var-run=${__data.fields.run}"
    "&from=${__data.fields.from.numeric}&to=${__data.fields.to.numeric}"
)
_SAVINGS_OF_RUN = _OF_RUN.replace("var-run", "var-runs")
_NOW = "?${bucket:queryparam}&var-site=${__data.fields.site}&var-run=${__data.fields.run}&from=now-24h&to=now"


def build() -> Dashboard:
    links = [
        link("Site overview of this run", f"/d/{overview.UID}{_OF_RUN}"),
        link("Savings of this run", f"/d/{savings.UID}{_SAVINGS_OF_RUN}"),
        link("Its last 24 hours (live)", f"/d/{overview.UID}{_NOW}"),
    ]
    return dashboard(
        UID,
        "0 Runs",
        "Simulated runs and live sessions; a click on one leads to its day, wherever in time that lies.",
        [variables.bucket(), variables.site()],
        [
            rows(
                "Runs",
                "One line a run, the last begun first. from, to: what of its own time is recorded, and one second. "
                "label main: what was run; reference:RUN: the replay that RUN is compared with. strays: messages that "
                "nobody announced.",
                _RUNS,
                ("run", "site", "label", "mode", "from", "to", "begun", "strays"),
                height=20,
                units={"from": TIME_MS, "to": TIME_MS, "begun": TIME_MS, "strays": COUNT},
                links={"run": links},
            )
        ],
    )
