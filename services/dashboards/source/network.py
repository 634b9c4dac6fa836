"""The low-voltage network, as the network twin solves it: voltages, loadings, losses."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from services.dashboards.source import variables
from services.dashboards.source.alarms import ALARM, alarms
from services.dashboards.source.flux import LATEST, SERIES, any_of, gained, limit, named, told
from services.dashboards.source.panels import (
    COUNT,
    KW,
    KWH,
    PU,
    RATIO,
    SHARE,
    chart,
    dashboard,
    marks,
    number,
)

UID = "twinswarm-network"

_GRID = 'r._measurement == "network_telemetry"'


def _rest(prefix: str) -> str:
    return f'strings.trimPrefix(v: r._field, prefix: "{prefix}_")'


def _each(prefix: str) -> str:
    """Fields of the network twin that begin so, by node or element."""
    return f"""import "strings"

{told(_GRID, f"r._field =~ /^{prefix}_/")}{LATEST}\
{named(_rest(prefix))}{SERIES}"""


def _extreme(prefix: str, least: bool = False) -> str:
    return f"""{told(_GRID, f"r._field =~ /^{prefix}_/")}
    |> group()
    |> {"min" if least else "max"}()
    |> keep(columns: ["_value"])"""


_FACTOR = told(_GRID, any_of("power_factor"))
_FACTORS = f"""{_FACTOR}{LATEST}{named('"power factor"')}{SERIES}"""
_LEAST_FACTOR = f"""{_FACTOR}
    |> map(fn: (r) => ({{_value: if r._value < 0.0 then -r._value else r._value}}))
    |> min()"""
_RESIDUAL = f"""{told(_GRID, any_of("residual_kwh"))}{LATEST}{named('"residual"')}{SERIES}"""
_ALARM_COUNT = f"""{told(ALARM, any_of("code"))}
    |> group()
    |> count()
    |> keep(columns: ["_value"])"""
_FULL = f"""import "array"

array.from(rows: [
    {{_time: v.timeRangeStart, _value: 1.0, _field: "upper limit"}},
    {{_time: v.timeRangeStop, _value: 1.0, _field: "upper limit"}},
]){SERIES}"""


def build() -> Dashboard:
    return dashboard(
        UID,
        "4 Network",
        "As the network twin solved it, at the instants of its telemetry; a site of real devices alone has none.",
        [variables.bucket(), variables.site(), variables.run()],
        [
            number("Lowest voltage", "Of any node.", PU, _extreme("voltages_pu", least=True), decimals=4),
            number("Highest voltage", "Of any node.", PU, _extreme("voltages_pu"), decimals=4),
            number(
                "Highest loading",
                "Of any cable or transformer, of its rated current or power.",
                SHARE,
                _extreme("loadings_frac"),
                worst=1.0,
            ),
            number("Losses", "Of cables and transformer, by their register.", KWH, gained(_GRID, "losses_kwh")),
            number(
                "Lowest power factor",
                "At the PCC, of import or export: where most of the current is reactive.",
                RATIO,
                _LEAST_FACTOR,
                decimals=3,
            ),
            number(
                "Alarms told",
                "Beginnings and ends of alarms in the time range.",
                COUNT,
                _ALARM_COUNT,
                decimals=0,
                worst=1,
            ),
            marks(
                chart(
                    "Voltages by node",
                    "Per unit of the rated voltage; where phases differ, of the one farthest from 1. The limits are "
                    "the site's.",
                    PU,
                    [
                        _each("voltages_pu"),
                        limit("voltage_min_pu", "lower limit"),
                        limit("voltage_max_pu", "upper limit"),
                    ],
                    decimals=3,
                    height=10,
                ),
                "lower limit",
                "upper limit",
            ),
            marks(
                chart(
                    "Loadings by element",
                    "Of the rated current of a cable or the rated power of the transformer; of the worst phase.",
                    SHARE,
                    [_each("loadings_frac"), _FULL],
                    height=10,
                ).min(0),
                "upper limit",
            ),
            chart(
                "Losses by element",
                "Cables and transformer, iron loss included; stacked they are the network's losses.",
                KW,
                [_each("element_losses_kw")],
                stacked=True,
                height=10,
            ),
            chart(
                "Residual of the energy balance",
                "Difference of the PCC register minus those of the devices minus losses, by interval: what the network "
                "twin could not see.",
                KWH,
                [_RESIDUAL],
                height=10,
            ),
            chart(
                "Power factor at the PCC",
                "Active over apparent power. It has the sign of the active power, so it is negative on export; where "
                "hardly any power flows there is none.",
                RATIO,
                [_FACTORS],
                decimals=2,
                width=24,
                height=8,
            )
            .min(-1)
            .max(1),
            alarms("Alarms", "Voltages and loadings out of bounds, devices unknown to the network; newest first."),
        ],
    )
