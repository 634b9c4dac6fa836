"""Shows live where a building's power goes, and its cost since the start of this program. Knows paho-mqtt and JSON.

    python examples/consumer.py --broker mqtt://127.0.0.1:1883 --site fit-g2v
    python examples/consumer.py --broker mqtts://localhost:8883 --cafile ca.crt --cert dashboard.crt --key dashboard.key

It sends nothing: the certificate is that of an observer, which may read everything and write nothing.
"""

import json
from collections import defaultdict
from datetime import datetime, timedelta

from connection import new_client, parse_options, serve

KINDS = ("pv", "bess", "charger", "meter")
HEADER = f"{'time':25} {'PCC kW':>8}" + "".join(f"{kind:>9}" for kind in KINDS) + f"{'€ so far':>10}"


class Prices:
    """The series of the tariff: `values[i]` holds from `start + i * step_s` on, for `step_s`."""

    def __init__(self):
        self.series = {}

    def learn(self, message):
        self.series |= {one["quantity"]: one for one in message["series"]}

    def at(self, quantity, time):
        one = self.series.get(quantity)
        if one is None:
            return None
        place = (time - datetime.fromisoformat(one["start"])) // timedelta(seconds=one["step_s"])
        return one["values"][place] if 0 <= place < len(one["values"]) else None


class Bill:
    """Money follows the registers of the PCC meter, not powers: registers also count energy between messages."""

    def __init__(self, prices):
        self.prices, self.before, self.eur, self.unpriced_kwh = prices, None, 0.0, 0.0

    def settle(self, message):
        """A price holds for a quarter-hour, and the meter publishes at its ends: the price at its start counts."""
        before, self.before = self.before, message
        if before is None or before["boot"] != message["boot"]:
            return  # the registers of another life do not compare
        start = datetime.fromisoformat(before["ts"])
        for register, quantity, sign in (
            ("energy_import_kwh", "purchase_price_eur_per_kwh", 1),
            ("energy_export_kwh", "sale_price_eur_per_kwh", -1),
        ):
            kwh, price = message[register] - before[register], self.prices.at(quantity, start)
            if price is None:
                self.unpriced_kwh += kwh
            else:
                self.eur += sign * kwh * price


class Dashboard:
    def __init__(self, client, site):
        self.client = client
        self.filters = [
            f"twin/v2/{site}/+/+/{channel}" for channel in ("birth", "state", "telemetry", "series", "plan")
        ]
        self.prices, self.roles, self.power, self.newest = Prices(), {}, defaultdict(dict), {}
        self.bill = Bill(self.prices)
        client.on_message = self.on_message
        print(HEADER, flush=True)

    def on_join(self):
        self.client.subscribe([(name, 1) for name in self.filters])  # births, prices and the plan are retained

    def on_message(self, _client, _userdata, incoming):
        message = json.loads(incoming.payload)
        *_, kind, device, channel = incoming.topic.split("/")
        identity = incoming.topic, message["boot"]
        if message["seq"] <= self.newest.get(identity, -1) and channel != "state":  # a last will is number 0
            return  # QoS 1 may deliver twice, and lock-step has messages repeated
        self.newest[identity] = message["seq"]
        if channel == "birth":
            self.roles[device] = message["nameplate"].get("role")
        elif channel == "state" and message["state"] != "online":
            self.power[kind].pop(device, None)
        elif channel == "series":
            self.prices.learn(message)
        elif channel == "plan":
            cost, missed = message["objective_eur"], len(message.get("shortfalls", ()))
            print(f"{message['ts']:25} plan: {message['status']}, {cost:.2f} € to go, {missed} shortfalls", flush=True)
        elif channel == "telemetry" and self.roles.get(device) == "pcc":
            self.bill.settle(message)
            self.show(message)
        elif channel == "telemetry" and self.roles.get(device) != "submeter":  # what that counts is counted already
            self.power[kind][device] = message["power_kw"]

    def show(self, pcc):
        powers = "".join(f"{sum(self.power[kind].values()):9.2f}" for kind in KINDS)
        note = f"  {self.bill.unpriced_kwh:.3f} kWh without a price" if self.bill.unpriced_kwh else ""
        print(f"{pcc['ts']:25} {pcc['power_kw']:8.2f}{powers}{self.bill.eur:10.2f}{note}", flush=True)


def main():
    given = parse_options(__doc__, "dashboard")
    client = new_client(given)
    serve(client, given, Dashboard(client, given.site).on_join)


if __name__ == "__main__":
    main()
