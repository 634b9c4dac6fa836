"""A charger and a recorder as processes of their own on a real Mosquitto, in a run along the machine's clock.

The test plays clock and EMS, because what they are to do in these faults is nothing, or the wrong thing.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from schemas.errors import RemoteMessageError
from schemas.messages import (
    Ack,
    Body,
    ChargerTelemetry,
    Fallback,
    Quantity,
    Run,
    Series,
    Setpoint,
    Stamp,
    TimeMode,
    ValueSeries,
)
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import MAX_PAYLOAD_BYTES, decode, encode
from services.monitor.discovery import Roster
from twinswarm.deploy.clock_order import ClockOrder

RUN = "20261101T120000.000000Z-0001"
PATIENCE_S = 120.0
"""For a machine that is busy; nothing waits so long otherwise."""
RATED_KW, FALLBACK_KW = 11.0, 4.14
B = TypeVar("B", bound=Body)


def site(now: datetime, **ems: Any) -> Site:
    """A V2G charger with a vehicle that was plugged an hour ago and stays for a day. ``ems``: options of the EMS."""
    session = {
        "vehicle": "car",
        "arrival": (now - timedelta(hours=1)).isoformat(),
        "departure": (now + timedelta(days=1)).isoformat(),
        "capacity_kwh": 500.0,
        "arrival_soc_frac": 0.3,
        "target_soc_frac": 0.9,
    }
    charger = {
        "kind": "charger",
        "max_charge_kw": RATED_KW,
        "max_discharge_kw": RATED_KW,
        "telemetry_period_s": 0.5,
        "sessions": [session],
    }
    return Site.model_validate(
        {
            "site": "faulty",
            "location": {"latitude_deg": 45.07, "longitude_deg": 7.69},
            "date": now.date().isoformat(),
            "connection": {"import_limit_kw": 50, "export_limit_kw": 50},
            "tariff": {"sale": "price", "spread_eur_per_kwh": 0.1},
            "profiles": {"price": {"type": "day", "values": [0.1]}},
            "devices": {"ev1": charger},
            "ems": ems,
        }
    )


class Reading(NamedTuple):
    """The registers of the charger at an instant [kWh]. They are exact, however seldom they are published."""

    at: datetime
    import_kwh: float
    export_kwh: float


class Live:
    """The site's processes, and an ear that reads everything."""

    def __init__(self, folder: Path, address: BrokerAddress, **ems: Any) -> None:
        self.folder, self.address = folder, address
        self.now = datetime.now(UTC)
        self.site = site(self.now, **ems)
        (folder / "site.json").write_text(self.site.model_dump_json(), encoding="utf-8")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.program: tuple[str, ...] = ("-m", "twinswarm.deploy.process")
        """Python's arguments for a process."""
        self.roster = Roster()
        """As `devices` and `doctor` have it."""
        self.heard: list[tuple[Topic, Stamp, Body]] = []
        self.set_topic = self.topic(Channel.SETPOINT)
        self._numbers = count(1)
        self._mouth: MqttTransport | None = None

    def topic(self, channel: Channel, kind: Kind = Kind.CHARGER, device: str = "ev1") -> Topic:
        return Topic(self.site.site, kind, device, channel)

    def connect(self, pattern: str | None = None) -> None:
        """Connects the ear; it hears what ``pattern`` matches, None: everything."""
        self._mouth = MqttTransport(self.address, "ear")
        self._mouth.connect([pattern or everything(self.site.site)])

    def listen(self, pattern: str | None = None, *, begun: timedelta = timedelta()) -> None:
        """As `connect`, and retains the run in the clock's place; it began so long ago."""
        self.connect(pattern)
        t0 = self.now - begun
        run = Run(mode=TimeMode.WALL, step_s=900, t0=t0, wall0=t0, speed=1.0)
        self.send(self.topic(Channel.RUN, Kind.CLOCK, "clock"), run)

    def start_clock(self, speed: float = 1.0) -> subprocess.Popen[bytes]:
        """A clock that opens the run, along the machine's time, so many times faster."""
        order = ClockOrder(run=RUN, t0=None, length=None, speed=speed, simulated=False)
        return self.start("clock", "--course", order.model_dump_json())

    def start(self, device: str = "ev1", *options: str, broker: BrokerAddress | None = None) -> subprocess.Popen[bytes]:
        """``broker``: by what address it comes to the broker; None: by that of the others."""
        command = [sys.executable, *self.program, device, "--site", str(self.folder / "site.json")]
        command += ["--broker", str(broker or self.address), *options]
        self.processes[device] = subprocess.Popen(command)
        return self.processes[device]

    @property
    def mouth(self) -> MqttTransport:
        assert self._mouth is not None, "nobody listens yet"
        return self._mouth

    def send(self, topic: Topic, body: Body, *, retain: bool | None = None) -> None:
        stamp = Stamp(ts=datetime.now(UTC), run=RUN, boot="test", seq=next(self._numbers))
        self.mouth.publish(str(topic), encode(stamp, body), retain=topic.retained if retain is None else retain)

    def command(self, name: str, power_kw: float, seconds: float, *, retain: bool = False, **changes: Any) -> Setpoint:
        """A set-point that is valid from now on for so long."""
        begin = datetime.now(UTC)
        given: dict[str, Any] = {
            "id": name,
            "epoch": 1,
            "valid_from": begin,
            "valid_until": begin + timedelta(seconds=seconds),
            "power_kw": power_kw,
            "fallback": Fallback.UNCONTROLLED,
        }
        setpoint = Setpoint(**given | changes)
        self.send(self.set_topic, setpoint, retain=retain)
        return setpoint

    def until(
        self, what: str, kind: type[B], wanted: Callable[[B], bool] = lambda body: True, patience_s: float = PATIENCE_S
    ) -> B:
        """The first message of this kind that is heard from now on and is wanted."""
        deadline = time.monotonic() + patience_s
        while (left := deadline - time.monotonic()) > 0:
            if (delivery := self.mouth.receive(min(left, 1.0))) is None:
                continue
            self.mouth.acknowledge(delivery)
            self.roster.note(delivery, datetime.now(UTC))
            try:
                topic = Topic.parse(delivery.topic)
                stamp, body = decode(topic, delivery.payload)
            except RemoteMessageError:
                continue
            self.heard.append((topic, stamp, body))
            if isinstance(body, kind) and wanted(body):
                return body
        raise AssertionError(f"{what} was not heard within {patience_s} s")

    def send_prices(self) -> None:
        """A day of them, the same in each quarter-hour: the EMS plans."""
        start = self.now.replace(minute=self.now.minute // 15 * 15, second=0, microsecond=0)
        prices = [
            ValueSeries(quantity=quantity, start=start, step_s=900, values=(0.3,) * 96)
            for quantity in (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE)
        ]
        self.send(self.topic(Channel.SERIES, Kind.TARIFF, "tariff"), Series(series=tuple(prices)))

    def until_acked(self, setpoint: Setpoint) -> Ack:
        return self.until(f"the ack of {setpoint.id}", Ack, lambda ack: ack.id == setpoint.id)

    def until_power(self, kw: float, after: datetime | None = None) -> Reading:
        """The next telemetry with this power, of a time after ``after``."""

        def wanted(told: ChargerTelemetry) -> bool:
            return abs(told.power_kw - kw) < 1e-6 and (after is None or self.heard[-1][1].ts > after)

        told = self.until(f"a power of {kw} kW", ChargerTelemetry, wanted)
        return Reading(self.heard[-1][1].ts, told.energy_import_kwh or 0.0, told.energy_export_kwh or 0.0)

    def powers(self, begin: int = 0) -> set[float]:
        """Every power that the charger reported since so many messages were heard [kW]."""
        told = [body.power_kw for _, _, body in self.heard[begin:] if isinstance(body, ChargerTelemetry)]
        return {round(kw, 6) for kw in told}

    def acks(self, name: str) -> list[bool]:
        return [body.accepted for _, _, body in self.heard if isinstance(body, Ack) and body.id == name]

    def raw(self, topic: str, payload: bytes) -> None:
        """What the broker does not take is sent by somebody else, who loses its connection for it."""
        if len(payload) <= MAX_PAYLOAD_BYTES:
            self.mouth.publish(topic, payload)
            return
        stranger = MqttTransport(self.address, "stranger")
        stranger.connect([])
        stranger.publish(topic, payload)
        stranger.flush(PATIENCE_S)
        stranger.close()

    def close(self) -> None:
        if self._mouth is not None:
            self._mouth.close()
        for process in self.processes.values():
            process.kill()
            process.wait(10)


def text_of(setpoint: Setpoint, seq: int) -> dict[str, Any]:
    """The JSON object of a set-point as the EMS sends it, to be spoilt."""
    stamp = Stamp(ts=datetime.now(UTC), run=RUN, boot="fuzz", seq=seq)
    value: dict[str, Any] = json.loads(encode(stamp, setpoint))
    return value
