"""A small site and a bench that hands phases to one participant, as a run loop does."""

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from schemas.messages import Ack, Fallback, Phase, Setpoint, Stamp, Telemetry, TimeMode
from schemas.participant import Outgoing, Participant, Received, Turn
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
"""Local midnight in Turin."""

NETWORK = Path(__file__).parent / "lv_network.csv"


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def at(clock: str) -> datetime:
    """``HH:MM[:SS]`` of the day that begins at `T0`, by the local clock."""
    parts = [int(part) for part in clock.split(":")]
    return T0 + timedelta(hours=parts[0], minutes=parts[1], seconds=parts[2] if len(parts) > 2 else 0)


def stay(**changes: Any) -> dict[str, Any]:
    given = {
        "vehicle": "car",
        "arrival": at("09:00"),
        "departure": at("18:00"),
        "capacity_kwh": 50.0,
        "arrival_soc_frac": 0.5,
        "target_soc_frac": 0.9,
    }
    return given | changes


def charger(**changes: Any) -> dict[str, Any]:
    given = {
        "kind": "charger",
        "max_charge_kw": 20.0,
        "max_discharge_kw": 20.0,
        "charge_efficiency": 0.9,
        "discharge_efficiency": 0.8,
        "fallback": "idle",
        "sessions": [stay()],
    }
    return given | changes


def bess(**changes: Any) -> dict[str, Any]:
    given = {
        "kind": "bess",
        "capacity_kwh": 40.0,
        "max_charge_kw": 16.0,
        "max_discharge_kw": 16.0,
        "charge_efficiency": 0.9,
        "discharge_efficiency": 0.8,
    }
    return given | changes


def pv(**changes: Any) -> dict[str, Any]:
    source = {"type": "power", "profile": "sun"}
    return {"kind": "pv", "rated_kw": 50.0, "source": source, "forecast": source} | changes


def lv_cables() -> list[dict[str, Any]]:
    with NETWORK.open(encoding="utf-8") as file:
        return [
            {
                "from_node": row["from"],
                "to_node": row["to"],
                "r_mohm": float(row["r_mohm"]),
                "x_mohm": float(row["x_mohm"]),
                "ampacity_a": float(row["iz_a"]),
            }
            for row in csv.DictReader(file)
        ]


def site(devices: dict[str, Any], cables: list[dict[str, Any]] | None = None, **changes: Any) -> Site:
    given = {
        "site": "house",
        "location": {"latitude_deg": 45.0, "longitude_deg": 8.0},
        "date": "2024-05-17",
        "connection": {"import_limit_kw": 500, "export_limit_kw": 500},
        "tariff": {"sale": "price", "spread_eur_per_kwh": 0.1},
        "network": {
            "transformer": {
                "to_node": "TR_LV",
                "rated_kva": 400,
                "high_kv": 20,
                "low_kv": 0.4,
                "vk_frac": 0.06,
                "vkr_frac": 0.01425,
                "iron_loss_kw": 1.35,
            },
            "cables": lv_cables() if cables is None else cables,
            "main_node": "MB",
        },
        "profiles": {
            "price": {"type": "day", "values": [0.1]},
            "base": {"type": "day", "values": [30.0 + 0.7 * (i % 11) for i in range(96)]},
            "sun": {"type": "day", "values": [0.0] * 32 + [25.0 + i for i in range(32)] + [0.0] * 32},
        },
        "devices": devices,
    }
    return Site.model_validate(given | changes)


class Bench:
    """Hands turns to one participant and keeps what it says."""

    def __init__(self, participant: Participant, mode: TimeMode = TimeMode.LOCKSTEP, start: datetime = T0) -> None:
        self.participant = participant
        self.mode = mode
        self.start = start
        self.n = 0

    def turn(self, phase: Phase, t: datetime, inbox: Iterable[Received] = (), *, gap: bool = False) -> list[Outgoing]:
        self.n += 1
        turn = Turn(phase, t, self.start, None, 900, self.mode, self.n, gap)
        return self.participant.act(turn, list(inbox))

    def sense(self, t: datetime, *, gap: bool = False) -> Any:
        """The telemetry at ``t``."""
        (sent,) = self.turn(Phase.SENSE, t, gap=gap)
        assert sent.topic.channel is Channel.TELEMETRY
        assert isinstance(sent.body, Telemetry)
        return sent.body

    def apply(self, t: datetime, *setpoints: Setpoint, phase: Phase = Phase.APPLY) -> Ack:
        """The answer to the last of the set-points."""
        device = self.participant
        topic = Topic(device.site, device.kind, device.device, Channel.SETPOINT)
        inbox = [received(topic, t, i, setpoint) for i, setpoint in enumerate(setpoints)]
        sent = self.turn(phase, t, inbox)
        acks = [message.body for message in sent if isinstance(message.body, Ack)]
        assert [ack.id for ack in acks] == [setpoint.id for setpoint in setpoints]
        return acks[-1]


def received(topic: Topic, ts: datetime, seq: int, body: Any, boot: str = "life") -> Received:
    return Received(topic, Stamp(ts=ts, boot=boot, seq=seq), body)


def setpoint(valid_from: datetime, value_kw: float, **changes: Any) -> Setpoint:
    given = {
        "id": f"s-{valid_from:%H%M%S}",
        "epoch": 1,
        "valid_from": valid_from,
        "valid_until": valid_from + timedelta(minutes=15),
        "power_kw": value_kw,
        "fallback": Fallback.IDLE,
    }
    return Setpoint.model_validate(given | changes)


def limit(valid_from: datetime, limit_kw: float, **changes: Any) -> Setpoint:
    return setpoint(valid_from, 0.0, **({"power_kw": None, "limit_kw": limit_kw} | changes))


def pieces(telemetry: Telemetry) -> list[tuple[datetime, float]]:
    assert telemetry.segments is not None
    return [(segment.start, segment.power_kw) for segment in telemetry.segments]


def energy_kwh(telemetry: Telemetry, until: datetime) -> tuple[float, float]:
    """Import and export by the segments of a telemetry whose time is ``until``."""
    told = pieces(telemetry)
    instants = [*(start for start, _ in told), until]
    hours = [(end - start) / timedelta(hours=1) for start, end in pairwise(instants)]
    flows = [power * length for (_, power), length in zip(told, hours, strict=True)]
    return sum(flow for flow in flows if flow > 0), -sum(flow for flow in flows if flow < 0)


def through_json(participant: Participant, fresh: Participant) -> Participant:
    """A new object that continues where the first one is."""
    fresh.restore(json.loads(json.dumps(participant.snapshot())))
    return fresh


def device_topic(kind: Kind, device: str, channel: Channel = Channel.TELEMETRY) -> Topic:
    return Topic("house", kind, device, channel)
