"""Savings and peak shaving by day. `twinswarm savings` writes the results."""

from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.models.common import BarAlignment
from grafana_foundation_sdk.models.dashboard import Dashboard

from services.dashboards.source import overview, variables
from services.dashboards.source.flux import COLUMNS, QUARTERS_BUCKET, SERIES, SIMULATED, any_of
from services.dashboards.source.panels import (
    COUNT,
    EUR,
    KW,
    KWH,
    RATIO,
    chart,
    dashboard,
    link,
    number,
    rows,
)

UID = "twinswarm-savings"

_FIELDS = (
    "cost_eur",
    "reference_cost_eur",
    "savings_eur",
    "psf",
    "peak_kw",
    "reference_peak_kw",
    "export_peak_kw",
    "reference_export_peak_kw",
    "import_kwh",
    "export_kwh",
    "losses_kwh",
    "stored_change_kwh",
    "stored_change_eur",
    "residual_kwh",
    "doubtful_values",
    "setpoints_late",
    "setpoints_sent",
    "periods_without_setpoints",
    "hours",
    "complete",
)


def _results(*fields: str) -> str:
    return f"""from(bucket: {QUARTERS_BUCKET})
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: (r) => r._measurement == "day_result" and r.site == "${{site}}" and r.run =~ /^${{runs:regex}}$/)
    |> filter(fn: (r) => r.device =~ /^${{reference:regex}}$/ and {any_of(*fields)})"""


def _days(reduced: str, *fields: str) -> str:
    """One row for each local day, field and reference, of all runs chosen.

    Live sessions of one day lie one after the other and are brought together by ``reduced``. Simulated runs of one day
    are each the whole of it: the newest one counts.
    """
    return f"""{_results(*fields)}
    |> group(columns: ["device", "_field", "_time"])
    |> sort(columns: ["run"])
    |> tail(n: if {SIMULATED} then 1 else 1000)
    |> {reduced}()"""


def _by_day(reduced: str = "sum", **names: str) -> str:
    """A series for each field and reference; `names` tells how a field is called."""
    name = "".join(f'if r._field == "{field}" then {text} else ' for field, text in names.items())
    return f"""import "strings"

{_days(reduced, *names)}
    |> map(fn: (r) => ({{r with _field: {name}r._field}})){SERIES}"""


def _total(field: str, reduced: str = "sum") -> str:
    return f"""import "strings"

{_days(reduced, field)}
    |> group()
    |> {reduced}()"""


_AGAINST = '"against " + r.device'
_TABLE = f"""import "date"
import "strings"

{_results(*_FIELDS)}
    |> group(columns: ["device", "run"])
    |> keep(columns: ["device", "run", "_time", "_field", "_value"]){COLUMNS}
    |> group()
    |> sort(columns: ["_time", "run"], desc: true)
    |> map(fn: (r) => ({{r with end: date.add(d: 1d, to: r._time)}}))
    |> rename(columns: {{_time: "day", device: "reference"}})"""


_OF_DAY = (
    "?${bucket:queryparam}&${site:queryparam}&var-run=${__data.fields.run}"
    "&from=${__data.fields.day.numeric}&to=${__data.fields.end.numeric}"
)


def build() -> Dashboard:
    return dashboard(
        UID,
        "2 Savings and peak shaving",
        "Results by local day, against references that are replayed from what was recorded. Live sessions of one day "
        "are taken together; of simulated runs of one day the newest counts.",
        [variables.bucket(), variables.site(), variables.runs(), variables.reference()],
        [
            number(
                "Savings",
                "Cost of the reference minus cost, summed over the days shown.",
                EUR,
                _total("savings_eur"),
                width=6,
                decimals=2,
            ),
            number(
                "Cost",
                "Settled at the PCC, losses included; what is left in the batteries is beside it, not in it.",
                EUR,
                _total("cost_eur"),
                width=6,
                decimals=2,
            ),
            number(
                "PSF, mean of the days",
                "Peak-shaving factor: power at the PCC relative to the reference's; below 1 the peaks are lower.",
                RATIO,
                _total("psf", "mean"),
                width=6,
                decimals=3,
            ),
            number(
                "Whole days",
                "Days that were recorded and settled from midnight to midnight.",
                COUNT,
                _total("complete"),
                width=6,
                decimals=0,
            ),
            number(
                "Highest import, reference",
                "Highest mean import of a quarter-hour at the reference's PCC; the run's is beside it.",
                KW,
                _total("reference_peak_kw", "max"),
                width=6,
            ),
            number(
                "Highest import",
                "Highest mean import of a quarter-hour at the PCC.",
                KW,
                _total("peak_kw", "max"),
                width=6,
            ),
            number(
                "Doubtful values",
                "Recorded values that cannot be true. They are not settled with; twinswarm savings names them.",
                COUNT,
                _total("doubtful_values"),
                width=6,
                decimals=0,
                worst=1,
            ),
            number(
                "Late set-points",
                "Answered late by their devices or refused because they were over: the savings are not the plan's. All "
                "set-points are in the table.",
                COUNT,
                _total("setpoints_late"),
                width=6,
                decimals=0,
                worst=1,
            ),
            _bars(
                "Savings by day",
                "Positive: cheaper than the reference. A bar stands at the local day's midnight.",
                EUR,
                _by_day(savings_eur=_AGAINST),
            ),
            _bars(
                "Cost and reference by day",
                "At the PCC, energy alone.",
                EUR,
                _by_day(cost_eur='"cost"', reference_cost_eur='"reference"'),
            ),
            _bars(
                "Peak-shaving factor by day",
                "Mean over the quarter-hours of import relative to the reference's; below 1 the peaks are lower.",
                RATIO,
                _by_day("mean", psf=_AGAINST),
            ),
            _bars(
                "Highest import by day",
                "Highest mean import of a quarter-hour at the PCC.",
                KW,
                _by_day("max", peak_kw='"PCC"', reference_peak_kw='"reference"'),
            ),
            _bars(
                "Highest export by day",
                "Highest mean export of a quarter-hour at the PCC.",
                KW,
                _by_day("max", export_peak_kw='"PCC"', reference_export_peak_kw='"reference"'),
            ),
            _bars(
                "Doubtful values and late set-points by day",
                "Values that cannot be true, and what came too late. Both are 0 on a sound day.",
                COUNT,
                _by_day(
                    doubtful_values='"doubtful values"',
                    setpoints_late='"late set-points"',
                    periods_without_setpoints='"periods without set-points"',
                ),
            ),
            _bars(
                "Energy by day",
                "Registers of the PCC meter, and losses of cables and transformer.",
                KWH,
                _by_day(import_kwh='"import"', export_kwh='"export"', losses_kwh='"losses"'),
            ),
            _bars(
                "Left in the batteries",
                "More than the reference's day left in them; not in the savings.",
                KWH,
                _by_day(stored_change_kwh=_AGAINST),
            ),
            rows(
                "Results",
                "One line a day and run; a click on a run leads to its day. residual: the largest error of the energy "
                "balance in a step, complete: 1 for a whole day.",
                _TABLE,
                ("day", "run", "reference", *_FIELDS, "end"),
                hidden=("end",),
                links={"run": [link("Site overview of this day", f"/d/{overview.UID}{_OF_DAY}")]},
                units={
                    "psf": RATIO,
                    "hours": "h",
                    "complete": COUNT,
                    "doubtful_values": COUNT,
                    "setpoints_late": COUNT,
                    "setpoints_sent": COUNT,
                    "periods_without_setpoints": COUNT,
                    **{name: EUR for name in _FIELDS if name.endswith("_eur")},
                    **{name: KWH for name in _FIELDS if name.endswith("_kwh")},
                    **{name: KW for name in _FIELDS if name.endswith("_kw")},
                },
            ),
        ],
        begin="now-30d",
    )


def _bars(title: str, description: str, unit: str, query: str) -> Panel:
    return chart(title, description, unit, [query], bars=True).bar_alignment(BarAlignment.AFTER).interval("1d")
