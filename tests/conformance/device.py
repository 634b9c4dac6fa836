"""A battery as a small MQTT client that knows the contract's JSON alone; and the same with one fault each."""

import json
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as mqtt

MAX_KW, CAPACITY_KWH, PERIOD_S = 10.0, 100.0, 0.2
NAMEPLATE = {
    "type": "bess",
    "capacity_kwh": CAPACITY_KWH,
    "max_charge_kw": MAX_KW,
    "max_discharge_kw": MAX_KW,
    "charge_efficiency": 0.95,
    "discharge_efficiency": 0.95,
    "soc_min_frac": 0.1,
    "soc_max_frac": 0.9,
}
KNOWN = {
    "contract", "ts", "run", "boot", "seq", "id", "epoch", "valid_from", "valid_until", "power_kw", "limit_kw",
    "fallback", "reason", "cause", "energy_eur_per_kwh",
}  # fmt: skip
FALLBACKS = ("idle", "uncontrolled", "hold")


class Device:
    """Does what the contract says, in wall time. A subclass does one thing otherwise."""

    def __init__(self, port: int, site: str) -> None:
        self.base, self.site, self.boots = f"twin/v2/{site}/bess/bess", site, 0
        self.run: dict[str, Any] | None = None
        self.coming: dict[str, Any] | None = None
        """A run that is joined next, by another life on another connection."""
        self.lock = threading.RLock()
        self.kept: list[tuple[str, str, bool]] = []
        self.imported = self.exported = 0.0
        self.soc = 0.5
        self.asked: list[tuple[float, str]] = []
        """Powers of the set-points, with their fallbacks, as they came."""
        self.port, self.client = port, self.new_client()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.new_life()
        self.thread.start()

    # ---- the connection

    def new_client(self) -> mqtt.Client:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"{self.site}_bess", protocol=mqtt.MQTTv311)
        client.on_socket_open = lambda *about: about[2].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.reconnect_delay_set(1, 1)
        client.on_connect = self.on_connect
        client.on_message = self.on_message
        return client

    def dial(self) -> None:
        """A last will names the life: with another one it is another connection."""
        self.client.will_set(f"{self.base}/state", self.stamped({"state": "offline"}, 0), qos=1, retain=True)
        self.client.connect("127.0.0.1", self.port)

    def on_connect(self, client: mqtt.Client, *_about: Any) -> None:
        client.subscribe([(f"twin/v2/{self.site}/clock/+/run", 1), (f"{self.base}/setpoint", 1)])
        with self.lock:
            self.introduce()

    def introduce(self) -> None:
        self.publish("birth", self.birth(), retain=True)
        self.publish("state", {"state": "online"}, retain=True)

    def close(self) -> None:
        self.stop.set()
        self.thread.join(5)
        self.client.disconnect()
        self.client.loop_stop()

    # ---- messages

    def new_life(self) -> None:
        self.boots += 1
        self.boot = f"life-{time.time_ns()}-{self.boots}"
        self.seqs: dict[str, int] = {}
        self.epoch, self.orders, self.seen = 0, [], set()
        self.last = 0.0
        self.told_at = self.at = self.now()
        self.dial()
        self.client.loop_start()

    def birth(self) -> dict[str, Any]:
        return {
            "nameplate": NAMEPLATE,
            "capabilities": ["storage", "flexible_load", "two_way"],
            "telemetry_period_s": PERIOD_S,
            "time_modes": ["wall"],
            "fallback": "idle",
            "software": "bench",
        }

    def now(self) -> datetime:
        if self.run is None:
            return datetime.now(UTC)
        t0, wall0 = (datetime.fromisoformat(self.run[name]) for name in ("t0", "wall0"))
        return t0 + (datetime.now(UTC) - wall0) * float(self.run.get("speed") or 1.0)

    def ts(self) -> datetime:
        return self.now()

    def next_seq(self, channel: str) -> int:
        self.seqs[channel] = self.seqs.get(channel, 0) + 1
        return self.seqs[channel]

    def stamped(self, body: dict[str, Any], seq: int) -> str:
        stamp = {"contract": 2, "ts": self.ts().isoformat(), "boot": self.boot, "seq": seq}
        run = {} if self.run is None else {"run": self.run["run"]}
        return json.dumps(stamp | run | body)

    def publish(self, channel: str, body: dict[str, Any], *, retain: bool = False) -> None:
        self.client.publish(f"{self.base}/{channel}", self.stamped(body, self.next_seq(channel)), 1, retain)

    def on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        with self.lock:
            if message.topic.endswith("/run"):
                self.on_run(json.loads(message.payload))
            elif self.run is not None and message.payload not in self.seen:
                self.seen.add(message.payload)
                if (setpoint := self.readable(message.payload)) is not None:
                    self.ack(setpoint)

    def on_run(self, run: dict[str, Any]) -> None:
        if "ended" in run:
            self.run = None
        elif self.run is None or run["run"] > self.run["run"]:
            self.coming = run

    def readable(self, payload: bytes) -> dict[str, Any] | None:
        try:
            read: dict[str, Any] = json.loads(payload, parse_constant=lambda name: None)
            begin, until = (datetime.fromisoformat(read[name]) for name in ("valid_from", "valid_until"))
            whole = isinstance(read["epoch"], int) and isinstance(read["id"], str) and read["fallback"] in FALLBACKS
            given = [read[name] for name in ("power_kw", "limit_kw") if name in read]
            number = len(given) == 1 and isinstance(given[0], int | float)
            zoned = begin.tzinfo is not None and until.tzinfo is not None and until > begin
        except (ValueError, KeyError, TypeError):
            return None
        ours = read.get("run") in (None, (self.run or {}).get("run"))
        fine = whole and number and zoned and read["contract"] == 2 and not set(read) - KNOWN
        return read if fine and ours else None

    # ---- set-points

    def ack(self, setpoint: dict[str, Any]) -> None:
        self.publish("ack", {"id": setpoint["id"], **self.obey(setpoint)})

    def obey(self, setpoint: dict[str, Any]) -> dict[str, Any]:
        now, begin, until = self.now(), *(datetime.fromisoformat(setpoint[n]) for n in ("valid_from", "valid_until"))
        refusal = self.refusal(setpoint, now, until)
        if refusal is not None:
            return {"accepted": False, "reason": refusal, "epoch": self.epoch}
        self.epoch = setpoint["epoch"]
        asked = float(setpoint["power_kw"])
        self.asked.append((asked, setpoint["fallback"]))
        power = self.clip(asked)
        self.orders.append((max(begin, now), until, power, setpoint["fallback"]))
        body: dict[str, Any] = {"accepted": True, "applied_kw": power}
        return body | ({"reason": "outside the nameplate"} if power != asked else {})

    def refusal(self, setpoint: dict[str, Any], now: datetime, until: datetime) -> str | None:
        if not self.epoch <= setpoint["epoch"] <= self.epoch + 1_000_000:
            return f"epoch {setpoint['epoch']}; the highest seen is {self.epoch}"
        if "power_kw" not in setpoint:
            return "a battery takes power_kw"
        if until <= now:
            return "it is over"
        return "longer than 48 h" if until > now + timedelta(hours=48) else None

    def clip(self, asked: float) -> float:
        return min(max(asked, -MAX_KW), MAX_KW)

    def power(self, at: datetime) -> float:
        """By the set-point that began last, or its fallback."""
        begun = [order for order in self.orders if order[0] <= at]
        if not begun:
            return 0.0
        _, until, power, fallback = max(reversed(begun), key=lambda order: order[0])
        return power if at < until or fallback == "hold" else 0.0

    def work(self) -> None:
        while not self.stop.wait(0.02):
            if self.coming is not None:
                self.run, self.coming = self.coming, None
                self.client.disconnect()
                self.client.loop_stop()
                self.client = self.new_client()
                self.new_life()
            with self.lock:
                now = self.now()
                power = self.power(now)
                self.count(power, max((now - self.at) / timedelta(hours=1), 0.0))
                self.at = now
                if self.run is not None and (now - self.told_at).total_seconds() >= PERIOD_S:
                    self.told_at = now
                    self.publish("telemetry", self.telemetry(power))

    def count(self, power: float, hours: float) -> None:
        self.imported += max(power, 0.0) * hours
        self.exported += max(-power, 0.0) * hours
        self.soc += power * hours / CAPACITY_KWH

    def telemetry(self, power: float) -> dict[str, Any]:
        registers = {"energy_import_kwh": self.imported, "energy_export_kwh": self.exported}
        return {"power_kw": power, **registers, "soc_frac": self.soc}


# ---- one fault each


class WithoutWill(Device):
    def dial(self) -> None:
        self.client.will_clear()
        self.client.connect("127.0.0.1", self.port)


class BirthNotRetained(Device):
    def introduce(self) -> None:
        self.publish("birth", self.birth())
        self.publish("state", {"state": "online"}, retain=True)


class LeavesOutNumbers(Device):
    def next_seq(self, channel: str) -> int:
        number = super().next_seq(channel)
        if channel == "telemetry" and number % 10 == 0:
            number = super().next_seq(channel)
        return number


class RegistersGoBack(Device):
    def telemetry(self, power: float) -> dict[str, Any]:
        body = super().telemetry(power)
        if self.seqs.get("telemetry", 0) % 20 == 10:
            body["energy_import_kwh"] *= 0.99
        return body


class CountsWattHours(Device):
    def count(self, power: float, hours: float) -> None:
        super().count(power, hours)
        self.imported += 999 * max(power, 0.0) * hours


class AnswersNobody(Device):
    def ack(self, setpoint: dict[str, Any]) -> None:
        self.obey(setpoint)


class DoesNotClip(Device):
    def clip(self, asked: float) -> float:
        return asked


class TurnsTheSign(Device):
    def power(self, at: datetime) -> float:
        return -super().power(at)


class NeverFallsBack(Device):
    def power(self, at: datetime) -> float:
        begun = [order for order in self.orders if order[0] <= at]
        return float(max(reversed(begun), key=lambda order: order[0])[2]) if begun else 0.0


class ObeysAtOnce(Device):
    def obey(self, setpoint: dict[str, Any]) -> dict[str, Any]:
        return super().obey(setpoint | {"valid_from": self.now().isoformat()})


class ObeysOldEpochs(Device):
    def refusal(self, setpoint: dict[str, Any], now: datetime, until: datetime) -> str | None:
        return super().refusal(setpoint | {"epoch": max(setpoint["epoch"], self.epoch)}, now, until)


class ObeysTwice(Device):
    def on_message(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        self.seen.clear()
        super().on_message(client, data, message)


class TakesUnknownFields(Device):
    def readable(self, payload: bytes) -> dict[str, Any] | None:
        try:
            read = json.loads(payload)
            return super().readable(json.dumps({k: v for k, v in read.items() if k in KNOWN}).encode())
        except ValueError:
            return None


class TakesOtherRuns(Device):
    def readable(self, payload: bytes) -> dict[str, Any] | None:
        try:
            return super().readable(json.dumps(json.loads(payload) | {"run": (self.run or {}).get("run")}).encode())
        except ValueError:
            return None


class WrongClock(Device):
    def ts(self) -> datetime:
        return self.now() - timedelta(minutes=5)


class StaysAway(Device):
    """It dials again and is there; but it does not say so."""

    greeted = 0

    def introduce(self) -> None:
        if self.run is None or self.greeted != self.boots:
            self.greeted = self.boots if self.run is not None else 0
            super().introduce()


class StopsToSend(Device):
    def telemetry(self, power: float) -> dict[str, Any]:
        if self.seqs.get("telemetry", 0) == 60:
            self.told_at = self.now() + timedelta(seconds=8)
        return super().telemetry(power)


class ForgetsToEndAlone(Device):
    """A set-point that holds when its connection breaks holds for good."""

    def new_client(self) -> mqtt.Client:
        client = super().new_client()
        client.on_disconnect = self.on_disconnect
        return client

    def on_disconnect(self, *_about: Any) -> None:
        self.orders = [(begin, until, kw, "hold") for begin, until, kw, _ in self.orders]


FAULTS: dict[str, Callable[[int, str], Device]] = {
    "B1": BirthNotRetained,
    "B3": WithoutWill,
    "M2": LeavesOutNumbers,
    "T1": StopsToSend,
    "T2": WrongClock,
    "R1": RegistersGoBack,
    "R2": CountsWattHours,
    "S1": AnswersNobody,
    "S2": DoesNotClip,
    "S4": TurnsTheSign,
    "S5": NeverFallsBack,
    "S6": ObeysAtOnce,
    "S7": ObeysOldEpochs,
    "S10": ObeysTwice,
    "S11": TakesUnknownFields,
    "S12": TakesOtherRuns,
    "C1": StaysAway,
    "C2": ForgetsToEndAlone,
}
"""A faulty device for each of these clauses."""
