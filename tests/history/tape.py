"""A small deterministic day, told message by message to a real recorder; every number follows by hand.

Load 10 kW, losses 0.5 kW. The BESS (40 kWh, 90 % each way) takes 8 kW from 00:00 to 02:00 and gives 5 kW from 18:00
to 20:00; a car of 50 kWh comes at 09:00 with 40 % and takes 4 kW from 10:00 to 12:00 (95 %), leaving at 18:00. Prices
change at noon: purchase 0.10 then 0.30 €/kWh, sale 0.05 then 0.20.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from schemas.cycle import Course
from schemas.messages import (
    Alarm,
    BessNameplate,
    BessTelemetry,
    Birth,
    Body,
    ChargerNameplate,
    ChargerTelemetry,
    DevicePlan,
    EmsMode,
    Fallback,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    NetworkTelemetry,
    Phase,
    Plan,
    PlanStatus,
    PluggedVehicle,
    Quantity,
    Receipt,
    Segment,
    Series,
    ServiceNameplate,
    Setpoint,
    Stamp,
    TimeMode,
    ValueSeries,
)
from schemas.participant import Received, Turn, Wanted
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.history.store import HistoryStore
from services.recorder.recorder import Recorder

ROME = ZoneInfo("Europe/Rome")
RUN = "20240515T000000.000000Z-0001"
REFERENCE = "20240515T000000.000000Z-0002"
MODES = (TimeMode.LOCKSTEP, TimeMode.WALL)
STEP = timedelta(minutes=15)

SITE = Site.model_validate(
    {
        "site": "house",
        "location": {"latitude_deg": 45.07, "longitude_deg": 7.69, "time_zone": "Europe/Rome"},
        "date": "2024-05-15",
        "connection": {"import_limit_kw": 100, "export_limit_kw": 100},
        "tariff": {"sale": "sale", "spread_eur_per_kwh": 0.1},
        "devices": {
            "load": {"kind": "meter", "profile": "load"},
            "bess": {"kind": "bess", "capacity_kwh": 40, "max_charge_kw": 10, "max_discharge_kw": 10},
            "charger-1": {"kind": "charger", "max_charge_kw": 22, "max_discharge_kw": 22},
        },
        "network": {
            "transformer": {
                "to_node": "LV",
                "rated_kva": 400,
                "high_kv": 20,
                "low_kv": 0.4,
                "vk_frac": 0.06,
                "vkr_frac": 0.014,
                "iron_loss_kw": 1.35,
            },
            "cables": [],
            "main_node": "LV",
        },
        "profiles": {"load": {"type": "day", "values": [10.0]}, "sale": {"type": "day", "values": [0.05]}},
    }
)


def hours(start: float, end: float, kw: float) -> Callable[[float], float]:
    """Power between two local hours of the day, else 0."""
    return lambda hour: kw if start <= hour < end else 0.0


def bess_kw(hour: float) -> float:
    return hours(0, 2, 8.0)(hour) + hours(18, 20, -5.0)(hour)


@dataclass
class Tape:
    """A day's messages. Powers are functions of the local hour of the step's start."""

    day: date = date(2024, 5, 15)
    run: str = RUN
    bess: Callable[[float], float] = bess_kw
    car: Callable[[float], float] = field(default_factory=lambda: hours(10, 12, 4.0))
    load: Callable[[float], float] = field(default_factory=lambda: hours(0, 24, 10.0))
    pv: float = 0.0
    losses_kw: float = 0.5
    has_bess: bool = True
    away: dict[str, range] = field(default_factory=dict)
    """Device to the cycles in which it tells nothing (and nothing flows)."""
    boots: dict[str, Callable[[int], str]] = field(default_factory=dict)
    mode: TimeMode = TimeMode.LOCKSTEP
    alarms: dict[int, Alarm] = field(default_factory=dict)
    """What the network twin tells besides, by cycle."""

    @property
    def course(self) -> Course:
        start = datetime(self.day.year, self.day.month, self.day.day, tzinfo=ROME)
        after = self.day + timedelta(days=1)
        end = datetime(after.year, after.month, after.day, tzinfo=ROME)
        return Course(start.astimezone(UTC), end.astimezone(UTC), 900)

    def turn(self, n: int, phase: Phase = Phase.COMMIT) -> Turn:
        course = self.course
        return Turn(phase, course.time(n), course.t0, course.t_end, 900, self.mode, n)

    def cycles(self) -> Iterator[tuple[int, list[Received]]]:
        """(n, messages) from the roll call to the closing cycle."""
        seqs: dict[tuple[str, str], int] = {}

        def message(t: datetime, kind: Kind, device: str, channel: Channel, body: Body, n: int) -> Received:
            topic = Topic("house", kind, device, channel)
            sender = "ems" if channel is Channel.SETPOINT else device
            boot = self.boots.get(sender, lambda _: f"{sender}-1")(n)
            seqs[str(topic), boot] = seqs.get((str(topic), boot), 0) + 1
            return Received(topic, Stamp(ts=t, run=self.run, boot=boot, seq=seqs[str(topic), boot]), body)

        course = self.course
        yield (
            0,
            [message(course.t0, *who, Channel.BIRTH, body, 0) for who, body in self.births()]
            + [message(course.t0, Kind.TARIFF, "tariff", Channel.SERIES, self._prices(), 0)],
        )
        plant = _Plant(self)
        for n in range(1, course.last_cycle + 1):
            t = course.time(n)
            told = [message(t, kind, device, Channel.TELEMETRY, body, n) for kind, device, body in plant.tell(n, t)]
            if n < course.last_cycle and self.has_bess:
                kw = self.bess(_hour(t))
                setpoint = Setpoint(
                    id=f"sp-{n}", epoch=1, valid_from=t, valid_until=t + STEP, power_kw=kw, fallback=Fallback.IDLE
                )
                told.append(message(t, Kind.BESS, "bess", Channel.SETPOINT, setpoint, n))
                told.append(message(t, Kind.EMS, "ems", Channel.PLAN, self._plan(t), n))
            if n in self.alarms:
                told.append(message(t, Kind.NETWORK, "network", Channel.ALARM, self.alarms[n], n))
            yield n, told
            plant.step(n, t)

    def births(self) -> list[tuple[tuple[Kind, str], Birth]]:
        nameplates = {
            (Kind.METER, "load"): MeterNameplate(role=MeterRole.LOAD),
            (Kind.NETWORK, "network"): MeterNameplate(role=MeterRole.PCC),
            (Kind.EMS, "ems"): ServiceNameplate(),
            (Kind.CHARGER, "charger-1"): ChargerNameplate(
                max_charge_kw=22, max_discharge_kw=22, charge_efficiency=0.95, discharge_efficiency=0.95
            ),
            (Kind.BESS, "bess"): BessNameplate(
                capacity_kwh=40,
                max_charge_kw=10,
                max_discharge_kw=10,
                charge_efficiency=0.9,
                discharge_efficiency=0.9,
                soc_min_frac=0.1,
                soc_max_frac=0.95,
            ),
        }
        return [
            (who, Birth(nameplate=nameplate, time_modes=MODES, software="tape"))
            for who, nameplate in nameplates.items()
            if who[1] != "bess" or self.has_bess
        ]

    def _prices(self) -> Series:
        course = self.course
        starts = [course.time(n) for n in range(1, course.steps + 1)]

        def series(quantity: Quantity, before: float, after: float) -> ValueSeries:
            values = tuple(before if _hour(t) < 12 else after for t in starts)
            return ValueSeries(quantity=quantity, start=course.t0, step_s=900, values=values)

        return Series(
            series=(series(Quantity.PURCHASE_PRICE, 0.10, 0.30), series(Quantity.SALE_PRICE, 0.05, 0.20)),
            charging_sessions=(),
        )

    def _plan(self, t: datetime) -> Plan:
        course = self.course
        steps = (course.t_end - t) // STEP
        at = [_hour(t + index * STEP) for index in range(steps)]
        return Plan(
            epoch=1,
            mode=EmsMode.CONTROL,
            status=PlanStatus.OPTIMAL,
            start=t,
            step_s=900,
            objective_eur=1.0,
            devices={"bess": DevicePlan(power_kw=tuple(self.bess(hour) for hour in at))},
            pcc_kw=tuple(10.5 + self.bess(hour) + self.car(hour) for hour in at),
        )


class _Plant:
    """Registers and SOCs, advanced step by step."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.registers: dict[str, list[float]] = {}
        self.bess_kwh, self.car_kwh, self.losses_kwh = 20.0, 20.0, 0.0
        self.last: dict[str, tuple[datetime, float]] = {}

    def powers(self, n: int, t: datetime) -> dict[str, float]:
        tape, hour = self.tape, _hour(t)
        powers = {"load": tape.load(hour), "charger-1": tape.car(hour)}
        if tape.has_bess:
            powers["bess"] = tape.bess(hour)
        present = {device: kw for device, kw in powers.items() if n not in tape.away.get(device, ())}
        return {**present, "network": sum(present.values()) + tape.losses_kw}

    def step(self, n: int, t: datetime) -> None:
        for device, kw in self.powers(n, t).items():
            drawn, given = self.registers.setdefault(device, [0.0, 0.0])
            self.registers[device] = [drawn + max(kw, 0) * 0.25, given + max(-kw, 0) * 0.25]
            if device == "bess":
                self.bess_kwh += 0.25 * (max(kw, 0) * 0.9 - max(-kw, 0) / 0.9)
            if device == "charger-1":
                self.car_kwh += 0.25 * (max(kw, 0) * 0.95 - max(-kw, 0) / 0.95)
            self.last[device] = (t, kw)
        self.losses_kwh += self.tape.losses_kw * 0.25

    def tell(self, n: int, t: datetime) -> Iterator[tuple[Kind, str, Body]]:
        kinds = {"load": Kind.METER, "charger-1": Kind.CHARGER, "bess": Kind.BESS, "network": Kind.NETWORK}
        powers = self.powers(n, t)
        gone = tuple(device for device in self.tape.away if device not in powers and device in self.last)
        for device, kw in powers.items():
            if device == "network" and n in self.tape.away.get("network", ()):
                continue
            drawn, given = self.registers.get(device, [0.0, 0.0])
            segments = None
            if device in self.last and n > 1:
                segments = (Segment(*self.last[device]),)
            common = {
                "power_kw": kw,
                "energy_import_kwh": drawn,
                "energy_export_kwh": given,
                "segments": segments if device != "network" else None,
            }
            yield kinds[device], device, self._body(device, t, common, gone)

    def _body(self, device: str, t: datetime, common: dict[str, object], gone: tuple[str, ...]) -> Body:
        if device == "bess":
            return BessTelemetry(**common, soc_frac=self.bess_kwh / 40)
        if device == "charger-1":
            return ChargerTelemetry(**common, vehicle=self._car(t))
        if device == "load":
            return MeterTelemetry(**common)
        return NetworkTelemetry(
            **common,
            losses_kw=self.tape.losses_kw,
            losses_kwh=self.losses_kwh,
            residual_kwh=0.0,
            voltages_pu={"PCC": 1.0, "LV": 0.99},
            loadings_frac={"transformer": 0.1},
            missing=gone,
        )

    def _car(self, t: datetime) -> PluggedVehicle | None:
        if not 9 <= _hour(t) < 18 or t == self.tape.course.t_end:
            return None
        local = t.astimezone(ROME)
        return PluggedVehicle(
            vehicle="car-1",
            soc_frac=self.car_kwh / 50,
            capacity_kwh=50,
            arrival=local.replace(hour=9, minute=0),
            arrival_soc_frac=0.4,
            departure=local.replace(hour=18, minute=0),
            target_soc_frac=0.44,
        )


def _hour(t: datetime) -> float:
    local = t.astimezone(ROME)
    return local.hour + local.minute / 60


def at_noon() -> datetime:
    """The machine's time in tests."""
    return datetime(2026, 1, 1, 12, tzinfo=UTC)


def wanted_of(messages: Sequence[Received]) -> list[Wanted]:
    return [Wanted(str(m.topic), m.stamp.boot, m.stamp.seq, m.stamp.seq) for m in messages]


def record(tape: Tape, path: Path, label: str = "main", last: int | None = None) -> list[Receipt]:
    """Plays a tape to a recorder, up to cycle ``last``; returns its receipts."""
    store = HistoryStore(path, durable=False)
    recorder = Recorder(SITE, store, label, at_noon)
    receipts = []
    for n, messages in tape.cycles():
        if last is not None and n > last:
            break
        for received in messages:
            recorder.inbox.add(received, encode(received.stamp, received.body))
        recorder.inbox.flush()
        recorder.inbox.take(tape.run, tape.turn(n), wanted_of(messages))
        (answer,) = recorder.act(tape.turn(n), [])
        assert isinstance(answer.body, Receipt)
        receipts.append(answer.body)
    store.close()
    return receipts
