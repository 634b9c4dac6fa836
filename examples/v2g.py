"""The device behind examples/charger.py: a V2G charger and a car that comes every day. With real hardware, replace it.

Power [kW] above 0 is drawn from the building's bus, below 0 fed into it; SOC is a fraction of the car's capacity.
The numbers are those of ev1 in the site fit_g2v.
"""

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
ZONE, ARRIVAL_H, DEPARTURE_H = ZoneInfo("Europe/Rome"), 9, 18


class Charger:
    """``segment`` is the time since the advance before the last: from when on, and at which constant power."""

    def __init__(self, now):
        self.now, self.car, self.order, self.epoch = now, None, None, 0
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
        until = datetime.fromisoformat(order["valid_until"])
        if order["epoch"] < self.epoch or "power_kw" not in order or until <= self.now:
            return {"id": order["id"], "accepted": False, "reason": "of an old epoch, without power_kw, or expired"}
        self.order, self.epoch = order | {"until": until}, order["epoch"]
        return {"id": order["id"], "accepted": True, "applied_kw": self._power_kw(self.now)}

    def _power_kw(self, at, hours=BIRTH["telemetry_period_s"] / 3600):
        """By the set-point, if it is valid at ``at``, or its fallback; no more than the car can take for ``hours``."""
        local = self.now.astimezone(ZONE)
        if not ARRIVAL_H <= local.hour < DEPARTURE_H:
            self.car = None
            return 0.0
        if self.car is None:  # without a memory, a charger that starts amid a stay meets the car anew
            leaves = local.replace(hour=DEPARTURE_H, minute=0, second=0, microsecond=0).astimezone(UTC)
            self.car = CAR | {"arrival": self.now, "departure": leaves}
        order = self.order or {"until": at, "fallback": BIRTH["fallback"], "power_kw": 0.0}
        rule = order["fallback"] if order["until"] <= at else "hold"
        asked_kw = {"idle": 0.0, "uncontrolled": RATED_KW, "hold": order["power_kw"]}[rule]
        full = self.car["target_soc_frac" if rule == "uncontrolled" else "soc_max_frac"]
        room_kwh = max(full - self.car["soc_frac"], 0.0) * self.car["capacity_kwh"] / EFFICIENCY
        left_kwh = max(self.car["soc_frac"] - self.car["soc_min_frac"], 0.0) * self.car["capacity_kwh"] * EFFICIENCY
        return min(max(asked_kw, -left_kwh / hours, -RATED_KW), room_kwh / hours, RATED_KW)
