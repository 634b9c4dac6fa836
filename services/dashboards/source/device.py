"""One device: what it was asked, what it said it would do, what it did."""

from grafana_foundation_sdk.models.common import BarAlignment, LineInterpolation
from grafana_foundation_sdk.models.dashboard import Dashboard

from services.dashboards.source import variables
from services.dashboards.source.alarms import alarms
from services.dashboards.source.colours import BAD, GOOD
from services.dashboards.source.flux import (
    COLUMNS,
    LATEST,
    SERIES,
    TELEMETRY,
    any_of,
    counted,
    mean_power,
    named,
    quarter_energy,
    told,
)
from services.dashboards.source.panels import (
    COUNT,
    KW,
    KWH,
    SECONDS,
    SHARE,
    chart,
    dashboard,
    dots,
    holds_from,
    number,
    rows,
    states,
)

UID = "twinswarm-device"

_LEAST_STEP_KW = "1.0"
_IT = 'r.device == "${device}"'
_SETPOINT_OF_IT = (_IT, "r._measurement =~ /_setpoint$/")
_ACK_OF_IT = (_IT, "r._measurement =~ /_ack$/")
_SIGNED = """
    |> map(fn: (r) => ({r with _value: if r._field =~ /limit_kw$/ then -r._value else r._value}))"""
"""A limit is the magnitude of a production, which is negative in the sign of powers."""

_SETPOINT = f"""{told(*_SETPOINT_OF_IT, any_of("power_kw", "limit_kw"))}{_SIGNED}{named('"set-point"')}{SERIES}"""
_ACKNOWLEDGED = f"""{told(*_ACK_OF_IT, any_of("applied_kw", "applied_limit_kw"))}{_SIGNED}\
{named('"acknowledged"')}{SERIES}"""
_AVAILABLE = f"""{told(_IT, TELEMETRY, any_of("available_kw"))}{LATEST}
    |> map(fn: (r) => ({{r with _value: -r._value, _field: "available"}})){SERIES}"""
_ACTUAL = f"""{mean_power(_IT)}
power{named('"actual"')}{SERIES}"""
_SOC = f"""{told(_IT, TELEMETRY, any_of("soc_frac", "vehicle_soc_frac"))}{LATEST}\
{named('"SOC"')}{SERIES}"""
_PLANNED_SOC = f"""import "date"

{told(_IT, 'r._measurement == "plan_step"', any_of("soc_frac", "step_s"))}
    |> toFloat()
    |> group()
    |> keep(columns: ["_time", "_field", "_value"]){COLUMNS}
    |> filter(fn: (r) => exists r.soc_frac)
    |> map(fn: (r) => ({{
        _time: date.add(d: duration(v: int(v: r.step_s) * 1000000000), to: r._time),
        _value: r.soc_frac,
        _field: "SOC, planned",
    }})){SERIES}"""

_DIRECTION = 'if r._field == "energy_import_kwh" then "import" else "export"'
_ENERGIES = f"""union(tables: [
    {quarter_energy(_IT, "energy_import_kwh")}{named('"import"')},
    {quarter_energy(_IT, "energy_export_kwh")}{named('"export"')},
]){SERIES}"""
_REGISTERS = (
    f"""{told(_IT, TELEMETRY, any_of("energy_import_kwh", "energy_export_kwh"))}{LATEST}{named(_DIRECTION)}{SERIES}"""
)

_ASKED = f"""{told(*_SETPOINT_OF_IT, any_of("id", "power_kw", "limit_kw", "ts_us", "reason"))}
    |> keep(columns: ["_time", "_field", "_value"]){COLUMNS}"""
_ANSWERS = f"""{told(*_ACK_OF_IT, any_of("id", "applied_kw", "applied_limit_kw", "ts_us", "accepted", "reason"))}
    |> keep(columns: ["_time", "_field", "_value"]){COLUMNS}"""
_PAIRS = f"""asked = {_ASKED}
    |> map(fn: (r) => ({{
        id: r.id,
        time: r._time,
        us: r.ts_us,
        asked: if exists r.power_kw then r.power_kw else -r.limit_kw,
        why: if exists r.reason then r.reason else "",
    }}))

answers = {_ANSWERS}
    |> map(fn: (r) => ({{
        id: r.id,
        us: r.ts_us,
        accepted: r.accepted,
        applied: if exists r.applied_kw then r.applied_kw else -r.applied_limit_kw,
        reason: if exists r.reason then r.reason else "",
    }}))

pairs = join(tables: {{asked: asked, answer: answers}}, on: ["id"])
    |> map(fn: (r) => ({{r with after_s: float(v: r.us_answer - r.us_asked) / 1000000.0}}))
    |> drop(columns: ["us_answer", "us_asked"])
"""
_TABLE = f"""{_PAIRS}
pairs
    |> group()
    |> sort(columns: ["time"], desc: true)"""
_OTHERWISE = f"""{_PAIRS}
pairs{counted("if r.accepted and exists r.applied and r.applied == r.asked then 0 else 1")}"""
_UNANSWERED = f"""union(tables: [{_ASKED}, {_ANSWERS}])
    |> group(){counted("if exists r.accepted then -1 else 1")}"""
_ANSWER_TIME = f"""{_PAIRS}
pairs
    |> map(fn: (r) => ({{_time: r.time, _value: r.after_s, _field: "until the answer"}})){SERIES}"""

_DEAD_TIME = f"""applied = {told(*_ACK_OF_IT, any_of("applied_kw"))}
    |> truncateTimeColumn(unit: 15m)
    |> keep(columns: ["_time", "_field", "_value", "device"])

import_kwh = {quarter_energy(_IT, "energy_import_kwh")}

export_kwh = {quarter_energy(_IT, "energy_export_kwh")}

union(tables: [applied, import_kwh, export_kwh])
    |> group(){COLUMNS}
    |> filter(fn: (r) => exists r.applied_kw and exists r.energy_import_kwh and exists r.energy_export_kwh)
    |> sort(columns: ["_time"])
    |> map(fn: (r) => ({{r with step_kw: r.applied_kw}}))
    |> difference(columns: ["step_kw"])
    |> filter(fn: (r) => r.step_kw > {_LEAST_STEP_KW} or r.step_kw < -{_LEAST_STEP_KW})
    |> map(fn: (r) => ({{
        _time: r._time,
        _value: 900.0 * (r.applied_kw - 4.0 * (r.energy_import_kwh - r.energy_export_kwh)) / r.step_kw,
        _field: "dead time",
    }}))
    |> filter(fn: (r) => r._value > -1.0 and r._value <= 900.0){SERIES}"""


def build() -> Dashboard:
    return dashboard(
        UID,
        "3 Device",
        "What the device was asked, what it answered, what it did. Power is positive when drawn from the bus; the "
        "limit of a PV inverter stands as the (negative) power that it allows.",
        [variables.bucket(), variables.site(), variables.run(), variables.device()],
        [
            holds_from(
                chart(
                    "Set-point, acknowledgement, power",
                    "Set-point and acknowledgement hold from their time on; the power is the mean between registers. "
                    "available: what a PV inverter could deliver.",
                    KW,
                    [_SETPOINT, _ACKNOWLEDGED, _ACTUAL, _AVAILABLE],
                    width=24,
                    height=10,
                ),
                "set-point",
                "acknowledged",
            ),
            number("Unanswered", "Set-points without an acknowledgement.", COUNT, _UNANSWERED, decimals=0, worst=2),
            number(
                "Answered otherwise",
                "Set-points that were refused, or of which something else is applied.",
                COUNT,
                _OTHERWISE,
                decimals=0,
                worst=1,
            ),
            dots(
                chart(
                    "Time until the answer",
                    "From the set-point's time to the acknowledgement's, each by its sender's clock. In lock-step "
                    "both are of the same instant: 0.",
                    SECONDS,
                    [_ANSWER_TIME],
                    width=8,
                    height=8,
                )
            ),
            dots(
                chart(
                    "Dead time, from energies",
                    "By how long the quarter-hour's energy lags behind what was acknowledged: (acknowledged power x "
                    "15 min - energy) / change of power, where that is more than 1 kW. As exact as the registers are "
                    "in time: in wall time to one telemetry period. Ramps and stores at their bound count in; beyond "
                    "15 min the device did something else, and nothing is shown.",
                    SECONDS,
                    [_DEAD_TIME],
                    width=8,
                    height=8,
                )
            ),
            chart(
                "State of charge",
                "As told, and as the last plan before each quarter-hour expected.",
                SHARE,
                [_SOC, _PLANNED_SOC],
            )
            .insert_nulls(30 * 60 * 1000)
            .line_interpolation(LineInterpolation.LINEAR),
            chart("Energy by quarter-hour", "Differences of the registers.", KWH, [_ENERGIES], bars=True).bar_alignment(
                BarAlignment.AFTER
            ),
            chart("Registers", "Cumulative; they survive a restart.", KWH, [_REGISTERS], width=24),
            alarms("Alarms about it", "The newest first.", 'r.about == "${device}" or r.sender == "${device}"'),
            states(
                rows(
                    "Set-points and answers",
                    "asked and applied in kW; after_s: seconds until the answer; why: the reason of the set-point, "
                    "reason: of the answer, when something else is applied or it was refused.",
                    _TABLE,
                    ("time", "id", "asked", "accepted", "applied", "after_s", "why", "reason"),
                    units={"asked": KW, "applied": KW, "after_s": SECONDS},
                ),
                "accepted",
                {"true": GOOD, "false": BAD},
            ),
        ],
    )
