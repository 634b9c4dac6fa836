"""Attaches a charger to a site by MQTT. Knows paho-mqtt and the contract's JSON, nothing else of this project.

    python examples/charger.py --broker mqtt://127.0.0.1:1883 --site fit-g2v --device ev1

docs/attach-a-device.md walks through it; rules are numbered as in docs/lockstep.md. The device itself is v2g.py;
the connection to the broker, also by TLS, is connection.py.
"""

import json
import os
import secrets
import sys
from datetime import UTC, datetime

from connection import new_client, parse_options, serve
from v2g import BIRTH, Charger, of_contract

PHASES = ["rollcall", "sense", "measure", "decide", "apply", "commit"]


class Attachment:
    """One life: one process, one boot, one connection (its last will names the boot), one run."""

    def __init__(self, client, site, device):
        self.client, self.device, self.boot, self.run = client, device, secrets.token_hex(6), ""
        self.path, self.clock = f"twin/v2/{site}/charger/{device}", f"twin/v2/{site}/clock/+"
        self.orders, self.newest, self.answered, self.waiting, self.session = {}, (), (), None, None
        self.taken = {}
        self.seqs = {"state": -1}  # messages count from 1 per topic, but a last will is number 0
        topic, _, payload = self.message("state", {"state": "offline"}, datetime.now(UTC))
        client.will_set(topic, payload, qos=1, retain=True)
        client.on_message = self.on_message
        self.begin("", datetime.now(UTC))

    def begin(self, run, now):
        self.run, self.charger, self.due = run, Charger(now), now
        self.kept = [self.message("birth", BIRTH, now), self.message("state", {"state": "online"}, now)]
        self.outbox = self.kept

    def message(self, channel, body, ts):
        """(boot, topic, seq) is its identity: what was sent once under it is only ever sent again as it is."""
        seq = self.seqs[channel] = self.seqs.get(channel, 0) + 1
        stamp = {"contract": 2, "ts": ts, "boot": self.boot, "seq": seq} | ({"run": self.run} if self.run else {})
        return f"{self.path}/{channel}", seq, json.dumps(stamp | body, default=datetime.isoformat)

    def publish(self, *messages):
        for topic, _, payload in messages:
            self.client.publish(topic, payload, qos=1, retain=topic.endswith(("/birth", "/state")))

    def on_join(self):
        self.client.subscribe([(f"{self.clock}/run", 1), (f"{self.clock}/tick", 1), (f"{self.path}/setpoint", 1)])
        self.publish(*self.kept)  # after a broken connection, too: the last will has said that we are gone

    def on_message(self, _client, _userdata, incoming):
        message, channel = json.loads(incoming.payload), incoming.topic.rsplit("/", 1)[1]
        run = message.get("run", self.run)
        if message["contract"] != 2 or (channel == "setpoint" and not of_contract(message)):
            return  # it changes nothing
        if channel == "run" and message["mode"] == "lockstep":
            return  # its ticks carry all of it
        if self.run and run > self.run and channel != "setpoint" and "ended" not in message:
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - rule 10: a newer run is a new life
        if run >= self.run:  # rule 10: leftovers of an older run are ignored
            {"run": self.on_run, "tick": self.on_tick, "setpoint": self.on_setpoint}[channel](message, run)

    # Wall time: everyone goes by the session and a clock of their own.

    def on_run(self, session, run):
        session |= {name: datetime.fromisoformat(session[name]) for name in ("t0", "wall0", "t_end") if name in session}
        if self.session and "ended" in session:
            self.tell()  # up to the end: energy that is in no telemetry is never settled
        self.session = None if "ended" in session else session
        if self.session and not self.run:
            self.begin(run, max(self.session_time(), session["t0"]))
            self.publish(*self.kept)

    def session_time(self):
        time_now = self.session["t0"] + (datetime.now(UTC) - self.session["wall0"]) * self.session.get("speed", 1.0)
        return min(time_now, self.session.get("t_end", time_now))

    def tell_when_due(self):
        if self.session and self.session_time() >= self.due:
            self.tell()
            period = BIRTH["telemetry_period_s"]
            self.due = datetime.fromtimestamp((self.charger.now.timestamp() // period + 1) * period, UTC)

    def tell(self):
        self.charger.advance(self.session_time())
        self.publish(self.message("telemetry", self.charger.telemetry(lockstep=False), self.charger.now))

    def on_setpoint(self, order, _run):
        if self.session:
            if order["seq"] <= self.taken.get(order["boot"], 0):
                return  # QoS 1 may deliver twice
            self.taken = {order["boot"]: order["seq"]}
            self.charger.advance(self.session_time())
            self.publish(self.message("ack", self.charger.obey(order), self.charger.now))
        else:
            self.orders[order["boot"], order["seq"]] = order
            self.act_when_complete()

    # Lock-step: the clock opens a phase with a tick, everyone answers; it repeats the tick while an answer is missing.

    def on_tick(self, tick, run):
        if not self.run:
            self.begin(run, datetime.fromisoformat(tick["t"]))
        key = tick["n"], PHASES.index(tick["phase"])
        if (*key, tick["attempt"]) < self.newest:
            return  # rule 10
        self.newest = *key, tick["attempt"]
        if tick["roster"].get(self.device) != self.boot:
            self.publish(*self.kept)  # rule 11
            return
        if tick["attempt"] > 1:
            self.publish(*self.outbox)  # rule 14: somebody misses something
        if key > self.answered:
            self.waiting = key, tick
            self.act_when_complete()
        elif key == self.answered:
            self.publish(self.done)

    def act_when_complete(self):
        """Rules 12 and 13: acts on exactly what was announced, once it is all here; then publishes, then answers."""
        if self.waiting is None:
            return
        key, tick = self.waiting
        wanted = []
        for sender, announced in tick["announced"].items():
            for topic, first, last in announced:
                if topic == f"{self.path}/setpoint":
                    wanted += [(tick["roster"][sender], seq) for seq in range(first, last + 1)]
        if any(order not in self.orders for order in wanted):
            return
        t, new = datetime.fromisoformat(tick["t"]), []
        if tick["phase"] == "sense":
            self.charger.advance(t, away=self.answered != (tick["n"] - 1, PHASES.index("commit")))
            self.orders, self.outbox = {}, self.kept  # rule 15
            new = [self.message("telemetry", self.charger.telemetry(lockstep=True), t)]
        elif tick["phase"] == "apply":
            new = [self.message("ack", self.charger.obey(self.orders[order]), t) for order in sorted(wanted)]
        self.outbox, self.answered, self.waiting = [*self.outbox, *new], key, None
        announced = [(topic, seq, seq) for topic, seq, _ in self.outbox]
        self.done = self.message("done", {"n": tick["n"], "phase": tick["phase"], "announced": announced}, t)
        self.publish(*new, self.done)


def main():
    given = parse_options(__doc__, "ev1")
    client = new_client(given)
    attachment = Attachment(client, given.site, given.device)
    serve(client, given, attachment.on_join, attachment.tell_when_due)


if __name__ == "__main__":
    main()
