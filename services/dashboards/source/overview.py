"""The site at a glance: where power flows, what the connection allows, what it costs, what was planned."""

from grafana_foundation_sdk.models.common import LineInterpolation
from grafana_foundation_sdk.models.dashboard import Dashboard

from schemas.capabilities import Group
from services.dashboards.source import device, variables
from services.dashboards.source.flux import (
    ALIGNED,
    BY_DEVICE,
    COLUMNS,
    LATEST,
    SERIES,
    TELEMETRY,
    any_of,
    gained,
    kinds,
    limit,
    mean_power,
    named,
    quarter_energy,
    told,
)
from services.dashboards.source.panels import (
    EUR,
    EUR_PER_KWH,
    KW,
    KWH,
    SHARE,
    chart,
    dashboard,
    ends,
    holds_from,
    marks,
    number,
    rows,
    to_dashboard,
)

UID = "twinswarm-overview"

_AWAY_MS = 30 * 60 * 1000
"""A store that is silent so long has left."""

_LIFTED_MS = 61 * 60 * 1000
"""A limit from outside without a point for so long was lifted: settlement periods are an hour at the most."""

_PCC = 'r.device == "${pcc}"'
_PV = kinds("r.kind", Group.GENERATION)
_STORES_AND_PV = kinds("r.kind", Group.VEHICLES, Group.BATTERY, Group.HEAT, Group.GENERATION)
_MUCH = "1000000000.0"
_LOAD = "r.device =~ /^${load:regex}$/"

_PCC_POWER = f"{mean_power(_PCC)}\npower{{}}{SERIES}".replace("{}", named('"PCC"'))

_COMPONENTS = f"""{mean_power(f"({_STORES_AND_PV} or {_LOAD})", ALIGNED)}
within = (tables=<-, name, least, most) => tables
    |> map(fn: (r) => ({{r with
        _field: name,
        _value: if r._value < least then least else if r._value > most then most else r._value,
    }}))

vehicles = power |> filter(fn: (r) => {kinds("r.kind", Group.VEHICLES)})
batteries = power |> filter(fn: (r) => {kinds("r.kind", Group.BATTERY)})

union(tables: [
    power |> filter(fn: (r) => {kinds("r.kind", Group.LOAD)}) |> map(fn: (r) => ({{r with _field: "load"}})),
    power |> filter(fn: (r) => {kinds("r.kind", Group.HEAT)}) |> map(fn: (r) => ({{r with _field: "heat"}})),
    power |> filter(fn: (r) => {kinds("r.kind", Group.GENERATION)}) |> map(fn: (r) => ({{r with _field: "PV"}})),
    vehicles |> within(name: "cars, charging", least: 0.0, most: {_MUCH}),
    vehicles |> within(name: "cars, V2G", least: -{_MUCH}, most: 0.0),
    batteries |> within(name: "BESS, charging", least: 0.0, most: {_MUCH}),
    batteries |> within(name: "BESS, discharging", least: -{_MUCH}, most: 0.0),
])
    |> group(columns: ["_field", "_time"])
    |> sum(){SERIES}"""

_LOSSES = f"""{told(TELEMETRY, _PCC, any_of("losses_kwh"))}{ALIGNED}
    |> derivative(unit: 1h, nonNegative: true)
    |> filter(fn: (r) => exists r._value){named('"losses"')}{SERIES}"""

_PLANNED = f"""{told('r._measurement == "plan_step"', any_of("pcc_kw"))}{named('"PCC, planned"')}{SERIES}"""

_OUTSIDE = f"""{told('r._measurement == "plan_step"', any_of("outside_import_kw", "outside_export_kw"))}
    |> map(fn: (r) => ({{r with
        _value: if r._field == "outside_export_kw" then -r._value else r._value,
        _field: if r._field == "outside_export_kw" then "export limit from outside" else "import limit from outside",
    }})){SERIES}"""

_SOCS = f"""{told(TELEMETRY, any_of("soc_frac", "vehicle_soc_frac"))}{LATEST}\
{named(BY_DEVICE)}{SERIES}"""

_ANNOUNCED = (
    'r._measurement == "series_step"',
    'r.kind == "tariff"',
    any_of("purchase_price_eur_per_kwh", "sale_price_eur_per_kwh"),
)
_PRICES = f"""{told(*_ANNOUNCED)}
    |> toFloat()\
{named('if r._field == "sale_price_eur_per_kwh" then "sale" else "purchase"')}{SERIES}"""

_COST = f"""import "date"

prices = {told(*_ANNOUNCED, within="range(start: date.sub(from: v.timeRangeStart, d: 1d), stop: v.timeRangeStop)")}
    |> toFloat()
    |> keep(columns: ["_time", "_value", "_field"])

import_kwh = {quarter_energy(_PCC, "energy_import_kwh")}

export_kwh = {quarter_energy(_PCC, "energy_export_kwh")}

union(tables: [prices, import_kwh, export_kwh])
    |> group(){COLUMNS}
    |> sort(columns: ["_time"])
    |> fill(column: "purchase_price_eur_per_kwh", usePrevious: true)
    |> fill(column: "sale_price_eur_per_kwh", usePrevious: true)
    |> filter(fn: (r) => exists r.energy_import_kwh and exists r.energy_export_kwh)
    |> map(fn: (r) => ({{
        _time: date.add(d: 15m, to: r._time),
        _value: r.energy_import_kwh * r.purchase_price_eur_per_kwh - r.energy_export_kwh * r.sale_price_eur_per_kwh,
        _field: "cost",
    }}))
    |> cumulativeSum(){SERIES}"""

_DEVICES = f"""{told(TELEMETRY, any_of("power_kw", "soc_frac", "vehicle_soc_frac"))}
    |> last()
    |> map(fn: (r) => ({{r with _field: if r._field == "vehicle_soc_frac" then "soc_frac" else r._field}}))
    |> group(columns: ["device", "kind"])
    |> keep(columns: ["device", "kind", "_field", "_value", "_time"]){COLUMNS}
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 1)
    |> group()
    |> map(fn: (r) => ({{
        device: r.device,
        kind: r.kind,
        power: r.power_kw,
        soc: r.soc_frac,
        told: r._time,
    }}))
    |> sort(columns: ["kind", "device"])"""


_PEAK = f"""{quarter_energy(_PCC, "energy_import_kwh")}
    |> group()
    |> max()
    |> map(fn: (r) => ({{_value: r._value * 4.0}}))"""


def build() -> Dashboard:
    to_device = to_dashboard("Detail of this device", device.UID, device="${__data.fields.device}")
    return dashboard(
        UID,
        "1 Site overview",
        "Power is positive when drawn from the building's bus, at the PCC when imported. Powers are means between two "
        "registers, costs are settled by quarter-hour at the PCC.",
        [variables.bucket(), variables.site(), variables.run(), variables.pcc(), variables.load()],
        [
            number("Energy cost", "Settled at the PCC, of all whole quarter-hours; no demand charge.", EUR, _COST),
            number("Imported", "By the PCC meter's register.", KWH, gained(_PCC, "energy_import_kwh")),
            number("Exported", "By the PCC meter's register.", KWH, gained(_PCC, "energy_export_kwh")),
            number(
                "PV yield",
                "By the inverters' registers.",
                KWH,
                gained(_PV, "energy_export_kwh"),
            ),
            number(
                "Losses",
                "Cables and transformer, of the network twin; none on a site without it.",
                KWH,
                gained(_PCC, "losses_kwh"),
            ),
            number("Highest import", "Highest mean of a whole quarter-hour at the PCC.", KW, _PEAK),
            chart(
                "Power by component",
                "Means of five minutes, in lock-step of a quarter-hour, in a long time range of more. Above zero: "
                "drawn from the bus; below: fed into it. The sum is the power at the PCC, import positive.",
                KW,
                [_COMPONENTS, _LOSSES],
                width=24,
                height=10,
                stacked=True,
            ),
            holds_from(
                chart(
                    "Plan against actual at the PCC",
                    "Import is positive. The plan is for each step the last one made before it.",
                    KW,
                    [_PCC_POWER, _PLANNED],
                ),
                "PCC, planned",
            ),
            ends(
                holds_from(
                    marks(
                        chart(
                            "PCC against the connection's limits",
                            "Import is positive; the limits are the grid connection's, of the site description. Those "
                            "from outside are the strictest that the EMS knew when it planned the settlement period.",
                            KW,
                            [
                                _PCC_POWER,
                                limit("import_limit_kw", "import limit"),
                                limit("export_limit_kw", "export limit", sign="-"),
                                _OUTSIDE,
                            ],
                        ),
                        "import limit",
                        "export limit",
                    ),
                    "import limit from outside",
                    "export limit from outside",
                ),
                _LIFTED_MS,
                "import limit from outside",
                "export limit from outside",
            ),
            chart(
                "State of charge",
                "Of the BESS and of every plugged vehicle; a line ends when its vehicle leaves.",
                SHARE,
                [_SOCS],
            )
            .insert_nulls(_AWAY_MS)
            .line_interpolation(LineInterpolation.LINEAR)
            .min(0)
            .max(1),
            holds_from(
                chart("Prices", "Of energy, as the tariff announced them.", EUR_PER_KWH, [_PRICES], decimals=3),
                "purchase",
                "sale",
            ),
            chart(
                "Cost so far",
                "Purchase minus sale since the time range's start, settled by quarter-hour at the PCC meter; quarter-"
                "hours without both registers are left out, and so is the demand charge.",
                EUR,
                [_COST],
                width=24,
            ),
            rows(
                "Devices",
                "What each told last in the time range; a click on a device leads to its detail.",
                _DEVICES,
                ("device", "kind", "power", "soc", "told"),
                units={"power": KW, "soc": SHARE},
                links={"device": [to_device]},
            ),
        ],
    )
