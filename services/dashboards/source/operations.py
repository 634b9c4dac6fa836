"""Whether the services do their work: who is there, what is late, refused, lost, or done by a fallback."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from services.dashboards.source import device, variables
from services.dashboards.source.alarms import alarms
from services.dashboards.source.colours import BAD, GOOD, LOAD, WARNING
from services.dashboards.source.flux import (
    ALWAYS,
    BY_DEVICE,
    COLUMNS,
    LATEST,
    LIVE_BUCKET,
    SERIES,
    any_of,
    counted,
    named,
    told,
)
from services.dashboards.source.panels import (
    COUNT,
    EUR,
    SECONDS,
    SHARE,
    chart,
    dashboard,
    dots,
    number,
    rows,
    states,
    to_dashboard,
)

UID = "twinswarm-operations"

_LETTER = 'r._measurement == "dead_letter"'
_PLAN = 'r._measurement == "ems_plan"'

_PLAN_COLOURS = {"optimal": GOOD, "incumbent": WARNING, "previous": WARNING, "safe_rule": BAD}
_STATE_COLOURS = {"online": GOOD, "offline": LOAD, "fault": BAD, "unknown": WARNING}


def _metric(*values: str) -> str:
    """Numbers of services about themselves, by service."""
    fields = any_of(*(f"values_{value}" for value in values))
    name = BY_DEVICE
    if len(values) > 1:
        name = f'strings.trimPrefix(v: r._field, prefix: "values_") + " of " + {name}'
    head = 'import "strings"\n\n' if len(values) > 1 else ""
    return f"""{head}{told("r._measurement =~ /_metric$/", fields)}{LATEST}{named(name)}{SERIES}"""


def _spool(within: str) -> str:
    return f"""import "strings"

from(bucket: {LIVE_BUCKET})
    |> {within}
    |> filter(fn: (r) => r._measurement == "recorder_spool" and r.site == "${{site}}")"""


_UNTIL_THEN = "range(start: 1970-01-01T00:00:00Z, stop: v.timeRangeStop)"
_OWN = ("r._measurement !~ /_(step|setpoint)$/", any_of("seq"))
"""Messages of their sender: a set-point stands under the device that is to obey it."""

_SPOOL = f"""{_spool("range(start: v.timeRangeStart, stop: v.timeRangeStop)")}{LATEST}{SERIES}"""

_MEMBERS = f"""states = {told("r._measurement =~ /_state$/", any_of("state"), within=_UNTIL_THEN)}
    |> last()
    |> map(fn: (r) => ({{kind: r.kind, member: r.device, heard: r._time, state: r._value}}))

messages = {told(*_OWN, within=_UNTIL_THEN)}
    |> last()
    |> map(fn: (r) => ({{kind: r.kind, member: r.device, heard: r._time, state: "unknown"}}))

members = union(tables: [states, messages])
    |> group(columns: ["kind", "member"])
    |> reduce(
        identity: {{heard: time(v: 0), state: "unknown"}},
        fn: (r, accumulator) => ({{
            heard: if r.heard > accumulator.heard then r.heard else accumulator.heard,
            state: if r.state == "unknown" then accumulator.state else r.state,
        }}),
    )
    |> group()
    |> map(fn: (r) => ({{r with
        silent: float(v: int(v: v.timeRangeStop) - int(v: r.heard)) / 1000000000.0,
    }}))
"""
"""Defines ``members``: whoever was ever heard, also when it told nothing in the time range. A state is told once, and a
bucket with a retention loses it during a long session."""

_MEMBER_TABLE = f"""{_MEMBERS}
members
    |> keep(columns: ["kind", "member", "state", "heard", "silent"])
    |> sort(columns: ["kind", "member"])"""

_IS_THERE = 'r.state == "online" or (r.state == "unknown" and r.heard >= v.timeRangeStart)'
_MISSING_MEMBERS = f"""{_MEMBERS}
members{counted(f"if {_IS_THERE} then 0 else 1")}"""

_MESSAGES = f"""{told(*_OWN)}
    |> aggregateWindow(every: 15m, fn: count, createEmpty: true)
    |> group(columns: ["device", "kind", "_time"])
    |> sum(){named(BY_DEVICE)}\
{SERIES}"""

_OF_RECORDER = 'r._measurement == "recorder_metric"'
_MISSING = f"""{told(_OF_RECORDER, any_of("values_missing"))}
    |> last()
    |> keep(columns: ["_value"])"""
_RECORDED = f"""import "strings"

{told(_OF_RECORDER, any_of("values_stored", "values_missing", "values_dead_letters"))}{LATEST}{
    named('strings.replaceAll(v: strings.trimPrefix(v: r._field, prefix: "values_"), t: "_", u: " ")')
}{SERIES}"""

_LETTERS_SHOWN = 200
_LETTERS = f"""{told(_LETTER, any_of("topic", "reason", "bytes", "times"), within=ALWAYS)}
    |> keep(columns: ["_time", "_field", "_value"]){COLUMNS}
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: {_LETTERS_SHOWN})
    |> rename(columns: {{_time: "received"}})
    |> keep(columns: ["received", "topic", "reason", "bytes", "times"])"""

_LETTER_COUNT = f"""{told(_LETTER, any_of("times"), within=ALWAYS)}
    |> group()
    |> sum()"""

_REJECTS = f"""{told("r._measurement =~ /_reject$/", any_of("topic", "reason"))}
    |> keep(columns: ["_time", "_field", "_value", "device"]){COLUMNS}
    |> group()
    |> sort(columns: ["_time"], desc: true)
    |> rename(columns: {{_time: "time", device: "by"}})"""

_PLAN_FIELDS = (
    "status",
    "mode",
    "objective_eur",
    "wear_eur",
    "demand_eur",
    "penalty_eur",
    "mip_gap",
    "binaries",
    "iterations",
    "reason",
)
_PLANS = f"""{told(_PLAN, any_of(*_PLAN_FIELDS))}
    |> keep(columns: ["_time", "_field", "_value"]){COLUMNS}
    |> map(fn: (r) => ({{r with reason: if exists r.reason then r.reason else ""}}))
    |> sort(columns: ["_time"], desc: true)
    |> rename(columns: {{_time: "time"}})"""

_FALLBACKS = f"""{told(_PLAN, any_of("status"))}
    |> group(){counted('if r._value == "optimal" then 0 else 1')}"""

_EFFORT = f"""{told(_PLAN, any_of("iterations"))}{named('"iterations"')}{SERIES}"""


def _latest(field: str) -> str:
    return f"""{_spool("range(start: -1d)")}
    |> filter(fn: (r) => r._field == "{field}")
    |> last()
    |> keep(columns: ["_value"])"""


def build() -> Dashboard:
    to_device = to_dashboard("Detail of this device", device.UID, device="${__data.fields.member}")
    return dashboard(
        UID,
        "5 Operations",
        "Members, lag, rejects, the recorder and its spool, the EMS's plans. Metrics are told in wall time only: "
        "in lock-step seconds have no meaning.",
        [variables.bucket(), variables.site(), variables.run()],
        [
            number(
                "Members not online",
                "By the state that each told last; where the bucket keeps none any more, who told nothing in the time "
                "range.",
                COUNT,
                _MISSING_MEMBERS,
                decimals=0,
                worst=1,
            ),
            number(
                "Plans by fallback",
                "Not optimal: incumbent (the best in the solver's budget), previous (the plan before), safe rule.",
                COUNT,
                _FALLBACKS,
                decimals=0,
                worst=1,
            ),
            number(
                "Missing messages",
                "Gaps in the sequence numbers of what was recorded, by the recorder's metric.",
                COUNT,
                _MISSING,
                decimals=0,
                worst=1,
            ),
            number(
                "Dead letters of this run",
                "How many messages were not of the contract, whenever they came; one that came again counts again.",
                COUNT,
                _LETTER_COUNT,
                decimals=0,
                worst=1,
            ),
            number(
                "Waiting in the spool now",
                "Messages on disk that are not in InfluxDB yet, whatever the time range.",
                COUNT,
                _latest("waiting"),
                decimals=0,
                worst=10_000,
            ),
            number(
                "In quarantine now",
                "Points that InfluxDB refused, with its reason in the history file, whatever the time range.",
                COUNT,
                _latest("quarantined"),
                decimals=0,
                worst=1,
            ),
            states(
                rows(
                    "Members",
                    "state: what it told last, or its last will; unknown: the bucket has none, or keeps it no "
                    "longer. silent: from its last message, in the time range or before it, to the range's end; "
                    "several periods of its telemetry mean trouble.",
                    _MEMBER_TABLE,
                    ("member", "kind", "state", "heard", "silent"),
                    units={"silent": SECONDS},
                    links={"member": [to_device]},
                    width=12,
                    height=10,
                ),
                "state",
                _STATE_COLOURS,
            ),
            chart(
                "Messages by member",
                "Of each quarter-hour; who falls to zero is silent.",
                COUNT,
                [_MESSAGES],
                height=10,
            ),
            chart(
                "Lag",
                "Of each minute the longest time from a telemetry's own to its arrival, at those who read any, in "
                "seconds of the machine.",
                SECONDS,
                [_metric("lag_s")],
            ),
            chart(
                "Rejected messages",
                "By each member since its process began: not of the contract, and of another run.",
                COUNT,
                [_metric("rejected", "other_runs")],
            ),
            dots(
                chart(
                    "Solve time",
                    "Of each plan, the solver alone, in seconds of the machine.",
                    SECONDS,
                    [_metric("solve_s")],
                    decimals=3,
                )
            ),
            dots(
                chart(
                    "Age of the plan",
                    "How long before its start each plan was solved: 0 for a new one, more for a fallback to an older "
                    "one.",
                    SECONDS,
                    [_metric("plan_age_s")],
                )
            ),
            chart(
                "Late turns",
                "Instants that a member passed over since its process began because it was late by more than a period.",
                COUNT,
                [_metric("skipped")],
            ),
            chart(
                "Longest turn",
                "Of each minute, how long a member took to act, in seconds of the machine.",
                SECONDS,
                [_metric("turn_s")],
                decimals=3,
            ),
            states(
                rows(
                    "Plans",
                    "One a quarter-hour, the newest first. Costs, and the penalty of wishes that cannot be met, are of "
                    "the plan's whole window.",
                    _PLANS,
                    ("time", *_PLAN_FIELDS),
                    units={"mip_gap": SHARE} | {name: EUR for name in _PLAN_FIELDS if name.endswith("_eur")},
                ),
                "status",
                _PLAN_COLOURS,
            ),
            dots(
                chart(
                    "Effort of the solver",
                    "Simplex iterations of each plan; the same in every run of the same day.",
                    COUNT,
                    [_EFFORT],
                )
            ),
            chart(
                "Recorded",
                "By the recorder's metric: what of this run is on disk, which gaps its sequence numbers have, what was "
                "not of the contract.",
                COUNT,
                [_RECORDED],
            ),
            chart(
                "Spool",
                "What waits for InfluxDB and what it refused, by the machine's clock: of a simulated day look at now.",
                COUNT,
                [_SPOOL],
            ),
            rows(
                "Rejects",
                "Who ignored which message, and why.",
                _REJECTS,
                ("time", "by", "topic", "reason"),
                width=12,
                height=9,
            ),
            rows(
                "Dead letters",
                f"The newest {_LETTERS_SHOWN} of what was not of the contract, by the machine's clock, whatever the "
                "time range.",
                _LETTERS,
                ("received", "topic", "reason", "bytes", "times"),
            ),
            alarms("Alarms", "Of any member, the newest first."),
        ],
    )
