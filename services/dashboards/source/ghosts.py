"""What devices that do not exist yet would have earned beside the real site, see docs/ghosts.md."""

from grafana_foundation_sdk.models.common import LineInterpolation
from grafana_foundation_sdk.models.dashboard import Dashboard

from services.dashboards.source import variables
from services.dashboards.source.alarms import alarms
from services.dashboards.source.flux import COLUMNS, SERIES, any_of, named, told
from services.dashboards.source.panels import EUR, KW, KWH, SHARE, chart, dashboard, number, rows

UID = "twinswarm-ghosts"

_ACCOUNT = 'r._measurement == "ghosts_earnings"'
_HOURS = "suffix: h"
_AWAY_MS = 2 * 3600 * 1000
"""A charger without a vehicle has no SOC."""


def _last(field: str) -> str:
    return f"""{told(_ACCOUNT, any_of(field))}
    |> last()
    |> group()
    |> keep(columns: ["_value"])"""


def _each(quantity: str) -> str:
    """A series by ghost, whose name stands within that of the field."""
    return f"""import "strings"

{told(_ACCOUNT, f"r._field =~ /^devices_.*_{quantity}$/")}
    |> map(fn: (r) => ({{r with _field: strings.trimSuffix(
        v: strings.trimPrefix(v: r._field, prefix: "devices_"),
        suffix: "_{quantity}",
    )}})){SERIES}"""


_NAMES = (
    'if r._field == "real_kw" then "real site" else if r._field == "ghosts_kw" then "with ghosts" '
    'else "with their vehicles alone"'
)
_PCC = f"""{told(_ACCOUNT, any_of("real_kw", "ghosts_kw", "unmanaged_kw"))}{named(_NAMES)}{SERIES}"""

_EARNED = f"""{told(_ACCOUNT, any_of("total_earned_eur"))}{named('"earned"')}{SERIES}"""

_OF_DAY = (
    *("date", "day_earned_eur", "day_real_energy_eur", "day_ghosts_energy_eur", "day_real_peak_kw"),
    *("day_ghosts_peak_kw", "day_hours", "day_estimated_hours", "day_unpriced_hours"),
)
_DAYS = f"""{told(_ACCOUNT, any_of(*_OF_DAY))}
    |> keep(columns: ["_time", "_field", "_value", "device"]){COLUMNS}
    |> group(columns: ["date"])
    |> sort(columns: ["_time"])
    |> tail(n: 1)
    |> group()
    |> sort(columns: ["date"], desc: true)
    |> map(fn: (r) => ({{
        day: r.date,
        earned: r.day_earned_eur,
        cost: r.day_real_energy_eur,
        cost_with_ghosts: r.day_ghosts_energy_eur,
        peak: r.day_real_peak_kw,
        peak_with_ghosts: r.day_ghosts_peak_kw,
        hours: r.day_hours,
        estimated: r.day_estimated_hours,
        unpriced: r.day_unpriced_hours,
    }}))"""


def build() -> Dashboard:
    return dashboard(
        UID,
        "6 Ghosts",
        "Chargers and batteries that do not exist yet, beside the real meter, PV and prices: what they would have "
        "earned. Nobody can command them, and they command nobody.",
        [variables.bucket(), variables.site(), variables.run()],
        [
            number(
                "Earned since they began",
                "Cost of energy without them minus cost with them; with ghost chargers, without them means that the "
                "same vehicles are charged on arrival. What is left in the batteries is beside it.",
                EUR,
                _last("total_earned_eur"),
                decimals=2,
            ),
            number(
                "Energy left in ghosts", "More than they held when they began; in no cost.", KWH, _last("stored_kwh")
            ),
            number(
                "Month's peak, real",
                "Highest mean import of a settlement quarter of this month at the real PCC.",
                KW,
                _last("month_real_peak_kw"),
            ),
            number("Month's peak with ghosts", "The same with all ghosts.", KW, _last("month_ghosts_peak_kw")),
            number("Accounted for", "Time since they began that is in the account.", _HOURS, _last("total_hours")),
            number(
                "Of it estimated",
                "Time in which the real meter's energy is an estimate, as its registers cannot be believed.",
                _HOURS,
                _last("total_estimated_hours"),
                worst=1e-9,
            ),
            chart(
                "Power at the PCC, real and with ghosts",
                "Means of the settlement steps. Import is positive.",
                KW,
                [_PCC],
                width=24,
                height=10,
            ),
            chart(
                "Power of the ghosts", "Means of the settlement steps, positive when charging.", KW, [_each("power_kw")]
            ),
            chart(
                "State of charge of the ghosts",
                "Of every BESS and of every plugged vehicle.",
                SHARE,
                [_each("soc_frac")],
            )
            .insert_nulls(_AWAY_MS)
            .line_interpolation(LineInterpolation.LINEAR)
            .min(0)
            .max(1),
            chart("Earned", "Energy cost saved since they began.", EUR, [_EARNED], width=24, decimals=2),
            rows(
                "Days",
                "By local day, newest first: cost of energy and highest import of the real site and with its ghosts. "
                "estimated and unpriced: hours of which the energy is an estimate, or that are in no cost.",
                _DAYS,
                (
                    *("day", "earned", "cost", "cost_with_ghosts", "peak", "peak_with_ghosts"),
                    *("hours", "estimated", "unpriced"),
                ),
                units={
                    **dict.fromkeys(("earned", "cost", "cost_with_ghosts"), EUR),
                    **dict.fromkeys(("peak", "peak_with_ghosts"), KW),
                    **dict.fromkeys(("hours", "estimated", "unpriced"), _HOURS),
                },
            ),
            alarms("Alarms of the ghosts", "Why their account is less sure than usual.", 'r.sender == "ghosts"'),
        ],
    )
