"""One colour for one thing, on every dashboard. Names of series are regular expressions here."""

LOAD = "#8F8F8F"
CHARGER = "#3274D9"
V2G = "#8AB8FF"
BESS = "#A352CC"
BESS_OUT = "#CA95E5"
PV = "#F2CC0C"
HEAT = "#E0602F"
LOSSES = "#705DA0"
PCC = "#37872D"
PLAN = "#FF9830"
LIMIT = "#E02F44"
PURCHASE = "#C4162A"
SALE = "#56A64B"
GOOD, WARNING, BAD = "#56A64B", "#FF9830", "#E02F44"

OF_SERIES = {
    "load": LOAD,
    "cars, charging": CHARGER,
    "cars, V2G": V2G,
    "BESS, charging": BESS,
    "BESS, discharging": BESS_OUT,
    "PV": PV,
    "heat": HEAT,
    "losses": LOSSES,
    "PCC": PCC,
    "PCC, planned": PLAN,
    "SOC": PCC,
    "SOC, planned": PLAN,
    "actual": PCC,
    "available": PV,
    "set-point": PLAN,
    "acknowledged": CHARGER,
    "import limit": LIMIT,
    "export limit": LIMIT,
    "import limit from outside": WARNING,
    "export limit from outside": WARNING,
    "upper limit": LIMIT,
    "lower limit": LIMIT,
    "purchase": PURCHASE,
    "sale": SALE,
    "import": PURCHASE,
    "export": SALE,
    "cost": PCC,
    "reference": LOAD,
    "stored": SALE,
    "missing": BAD,
    "dead letters": BAD,
    "waiting": WARNING,
    "quarantined": BAD,
}
"""A series of just this name."""
OF_KIND = {"charger": CHARGER, "bess": BESS, "heatpump": HEAT, "pv": PV, "meter": LOAD, "network": PCC}
"""Series named `kind device`: shades of the kind's colour."""
