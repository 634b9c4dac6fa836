"""The device behind examples/charger.py: a V2G charger and a car that comes every day. With real hardware, replace it.

Power [kW] above 0 is drawn from the building's bus, below 0 fed into it; SOC is a fraction of the car's capacity.
The numbers are those of ev1 in the site fit_g2v.
"""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

RATED_KW, EFFICIENCY, HOUR = 22.5, 0.902, timedelta(hours=1)
BIRTH = {
    "nameplate": {
        "type": "charger",
        "max_charge_kw": RATED_KW,
        "max_discharge_kw": RATED_KW,
        "charge_efficiency": EFFICIENCY,
        "discharge_efficiency": EFFICIENCY,
    },
    "capabilities": ["storage", "vehicles", "flexible_load", "two_way"],
    "telemetry_period_s": 10.0,
    "time_modes": ["lockstep", "wall"],
    "fallback": "uncontrolled",
    "software": "examples/charger.py",
}
CAR = {
    "vehicle": "car1",
    "capacity_kwh": 55.5,
    "soc_frac": 0.705,
    "arrival_soc_frac": 0.705,
    "target_soc_frac": 0.7755,
    "soc_min_frac": 0.561,
    "soc_max_frac": 0.801,
}
FIELDS = {"contract", "ts", "run", "boot", "seq", "id", "epoch", "valid_from", "valid_until", "power_kw", "limit_kw"}
FIELDS |= {"fallback", "reason", "cause", "energy_eur_per_kwh"}
EPOCH_STEP, LONGEST = 1_000_000, timedelta(hours=48)  # a mistake must not lock the EMS out, nor hold for ever
ZONE, ARRIVAL_H, DEPARTURE_H = ZoneInfo("Europe/Rome"), 9, 18


def of_contract(order):
    """Whether this is a set-point. A field that is unknown here might change what is meant: then it is none."""
    try:
        begin, until = (datetime.fromisoformat(order[name]) for name in ("valid_from", "valid_until"))
        (value,) = (order[name] for name in ("power_kw", "limit_kw") if name in order)
        number = isinstance(value, int | float) and math.isfinite(value) and isinstance(order["epoch"], int)
        known = order["fallback"] in {"idle", "uncontrolled", "hold"} and set(order) <= FIELDS
        return known and number and isinstance(order["id"], str) and until > begin
    except (KeyError, TypeError, ValueError):  # something is missing, of another type, or two powers or times clash
        return False


class Charger:
    """``segment`` is the time since the advance before the last: from when on, and at which constant power."""

    def __init__(self, now):
        self.now, self.car, self.orders, self.epoch = now, None, [], 0
        self.import_kwh, self.export_kwh, self.segment = 0.0, 0.0, (now, 0.0)

    def advance(self, until, away=False):
        """Integrates up to ``until``. Away: that time is in no telemetry, so nothing flowed in it."""
        hours = max((until - self.now) / HOUR, 0.0)
        kw = self._power_kw(self.now, hours) if hours and not away else 0.0
        self.import_kwh += max(kw, 0.0) * hours
        self.export_kwh += max(-kw, 0.0) * hours
        if self.car:
            cell_kw = kw * EFFICIENCY if kw > 0 else kw / EFFICIENCY
            self.car["soc_frac"] += cell_kw * hours / self.car["capacity_kwh"]
        self.segment, self.now = (self.now, kw), max(until, self.now)

    def telemetry(self, lockstep):
        """In lock-step a set-point that ends now counts as valid: its successor comes later in this same instant."""
        power_kw = self._power_kw(self.now - timedelta.resolution if lockstep else self.now)
        body = {"power_kw": power_kw, "energy_import_kwh": self.import_kwh, "energy_export_kwh": self.export_kwh}
        return body | ({"segments": [self.segment]} if lockstep else {}) | ({"vehicle": self.car} if self.car else {})

    def obey(self, order):
        """Takes a set-point, or refuses it. Returns the ack."""
        begin, until = (datetime.fromisoformat(order[name]) for name in ("valid_from", "valid_until"))
        if not self.epoch <= order["epoch"] <= self.epoch + EPOCH_STEP:
            reason = f"epoch {order['epoch']}, and the highest seen is {self.epoch}"
            return {"id": order["id"], "accepted": False, "reason": reason, "epoch": self.epoch}
        if "power_kw" not in order or not self.now < until <= self.now + LONGEST:
            return {"id": order["id"], "accepted": False, "reason": "without power_kw, expired, or for too long"}
        taken = order | {"from": max(begin, self.now), "until": until}
        self.epoch = order["epoch"]
        self.orders = [known for known in self.orders if known["from"] < taken["from"]] + [taken]  # the newest counts
        applied_kw = min(max(order["power_kw"], -RATED_KW), RATED_KW)
        if taken["from"] == self.now:
            applied_kw = self._power_kw(self.now)
        reason = {} if applied_kw == order["power_kw"] else {"reason": "limited by the charger or the car"}
        return {"id": order["id"], "accepted": True, "applied_kw": applied_kw} | reason

    def _power_kw(self, at, hours=BIRTH["telemetry_period_s"] / 3600):
        """By the set-point, if it is valid at ``at``, or its fallback; no more than the car can take for ``hours``."""
        local = self.now.astimezone(ZONE)
        if not ARRIVAL_H <= local.hour < DEPARTURE_H:
            self.car = None
            return 0.0
        if self.car is None:  # without a memory, a charger that starts amid a stay meets the car anew
            leaves = local.replace(hour=DEPARTURE_H, minute=0, second=0, microsecond=0).astimezone(UTC)
            self.car = CAR | {"arrival": self.now, "departure": leaves}
        begun = [order for order in self.orders if order["from"] <= at]
        order = begun[-1] if begun else {"until": at, "fallback": BIRTH["fallback"], "power_kw": 0.0}
        rule = order["fallback"] if order["until"] <= at else "hold"
        asked_kw = {"idle": 0.0, "uncontrolled": RATED_KW, "hold": order["power_kw"]}[rule]
        full = self.car["target_soc_frac" if rule == "uncontrolled" else "soc_max_frac"]
        room_kwh = max(full - self.car["soc_frac"], 0.0) * self.car["capacity_kwh"] / EFFICIENCY
        left_kwh = max(self.car["soc_frac"] - self.car["soc_min_frac"], 0.0) * self.car["capacity_kwh"] * EFFICIENCY
        return min(max(asked_kw, -left_kwh / hours, -RATED_KW), room_kwh / hours, RATED_KW)
