"""The table of alarms, which two dashboards have."""

from grafana_foundation_sdk.builders.table import Panel

from services.dashboards.source.colours import BAD, GOOD, LOAD, WARNING
from services.dashboards.source.flux import COLUMNS, any_of, told
from services.dashboards.source.panels import rows, states

ALARM = "r._measurement =~ /_alarm$/"
_FIELDS = ("code", "severity", "active", "about_device", "element", "value", "limit", "text")


def alarms(title: str, description: str, where: str = "true") -> Panel:
    """Those for which ``where`` holds, a condition on `device`, `about_device`, `element`."""
    query = f"""{told(ALARM, any_of(*_FIELDS))}
    |> keep(columns: ["_time", "_field", "_value", "device"]){COLUMNS}
    |> map(fn: (r) => ({{
        time: r._time,
        state: if r.active then "active" else "over",
        severity: r.severity,
        code: r.code,
        about: if exists r.about_device then r.about_device else if exists r.element then r.element else "",
        value: r.value,
        limit: r.limit,
        text: r.text,
        sender: r.device,
    }}))
    |> filter(fn: (r) => {where})
    |> group()
    |> sort(columns: ["time"], desc: true)"""
    panel = rows(
        title,
        description,
        query,
        ("time", "state", "severity", "code", "about", "value", "limit", "text", "sender"),
    )
    states(panel, "severity", {"info": LOAD, "warning": WARNING, "critical": BAD})
    return states(panel, "state", {"active": BAD, "over": GOOD})
