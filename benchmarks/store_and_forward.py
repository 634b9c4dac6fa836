"""What store and forward costs: messages, bytes and CPU time, of a device that keeps what it sends and of one that does
not, beside each other in the same run.

A run loop in wall time sends telemetry as fast as it can, over a real Mosquitto, with its checkpoint on a real disk; a
recorder in a process of its own stores all of it and sends its receipts. The broker's work is not counted.

python benchmarks/store_and_forward.py [--messages 5000] [--rounds 3]
"""

import argparse
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from runtime.checkpoint import FileCheckpoint
from runtime.kept import KeptMessages
from runtime.wall import WallLoop
from schemas.messages import Birth, MeterNameplate, MeterRole, MeterTelemetry, Phase, Run, Stamp, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.topics import Channel, Kind, Topic, client_id, topic_filter
from schemas.wire import encode
from sites.loader import load_site

SITE = load_site("fit_g2v")
RUN = "20260101T000000.000000Z-0001"
RATE = 200.0
"""Telemetry per second of the machine; receipts come every ten seconds of the run, which passes in real time."""
PATIENCE_S = 60.0


class Meter:
    """A meter that sends one telemetry per turn."""

    kind = Kind.METER
    site = SITE.site

    def __init__(self, device: str) -> None:
        self.device = device
        self._count = 0

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return ()

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.SENSE: Cadence(period_s=1.0 / RATE)}

    def birth(self) -> Birth:
        return Birth(
            nameplate=MeterNameplate(role=MeterRole.SUBMETER),
            telemetry_period_s=1.0 / RATE,
            time_modes=(TimeMode.WALL,),
            software=software(),
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if turn.phase is not Phase.SENSE:
            return []
        self._count += 1
        body = MeterTelemetry(power_kw=1.0, energy_import_kwh=float(self._count), energy_export_kwh=0.0)
        return [Outgoing(own_topic(self, Channel.TELEMETRY), body)]

    def snapshot(self) -> Json:
        return self._count

    def restore(self, state: Json) -> None:
        self._count = state


@dataclass(frozen=True, slots=True)
class Cost:
    """Telemetry that was sent, its size, receipts and their mean size [bytes]; CPU time for each telemetry [µs]."""

    sent: int
    telemetry_bytes: float
    receipts: int
    receipt_bytes: float
    device_us: float
    recorder_us: float


def cpu_s() -> float:
    """CPU time of this process so far [s]."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_s_of(pid: int) -> float:
    """CPU time of another process so far [s]."""
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
    return sum(int(each) for each in ticks) / 100.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the recorder did not store everything in time")
        time.sleep(0.05)


def stored(history: Path, device: str, after: int = 0) -> int:
    """How many telemetries with numbers above ``after`` are history."""
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as file:
        try:
            (count,) = file.execute(
                "SELECT count(*) FROM message WHERE run = ? AND device = ? AND channel = 'telemetry' AND seq > ?",
                (RUN, device, after),
            ).fetchone()
        except sqlite3.OperationalError:
            return 0  # its tables are being made
        return int(count)


def measure(folder: Path, messages: int, *, keeps: bool) -> Cost:
    """A device with or without, and everybody else anew."""
    folder.mkdir()
    site = folder / "site.json"
    site.write_text(SITE.model_dump_json(), encoding="utf-8")
    history = folder / "history.sqlite"
    name = "meter"
    with LocalMosquitto(directory=folder / "broker") as broker:
        clock = MqttTransport(broker.address, client_id(SITE.site, "clock"))
        clock.connect([topic_filter(SITE.site, channel=Channel.RECEIPT)])
        now = datetime.now(UTC)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=now, wall0=now, speed=1.0)
        stamp = Stamp(ts=now, run=RUN, boot="clock", seq=1)
        clock.publish(str(Topic(SITE.site, Kind.CLOCK, "clock", Channel.RUN)), encode(stamp, run), retain=True)
        clock.flush(5.0)
        command = [sys.executable, "-m", "twinswarm.deploy.process", "recorder", "--site", str(site)]
        command += ["--broker", str(broker.address), "--history", str(history)]
        recorder = subprocess.Popen(command)
        try:
            until(history.exists)
            transport = MqttTransport(broker.address, client_id(SITE.site, name))
            kept = KeptMessages(folder / "sent.sqlite") if keeps else None
            loop = WallLoop(
                Meter(name),
                transport,
                FileCheckpoint(folder / "checkpoint.json"),
                new_boot=lambda: "one",
                found=(RUN, run),
                kept=kept,
            )
            loop.start(datetime.now(UTC))
            deadline = time.monotonic() + PATIENCE_S
            while not stored(history, name) and time.monotonic() < deadline:
                drive(loop, transport, 0.5)
            first, mine, its = loop.life.seqs[telemetry(name)], cpu_s(), cpu_s_of(recorder.pid)
            drive(loop, transport, messages / RATE)
            mine = cpu_s() - mine
            sent = loop.life.seqs[telemetry(name)] - first
            transport.flush(10.0)
            until(lambda: stored(history, name, after=first) == sent)
            its = cpu_s_of(recorder.pid) - its
            loop.finish(datetime.now(UTC))
            receipts = [d for d in iter(lambda: clock.receive(0.2), None) if Topic.parse(d.topic).device == name]
            if kept is not None:
                kept.close()
            transport.close()
        finally:
            recorder.terminate()
            recorder.wait(10)
            clock.close()
    sizes = [len(delivery.payload) for delivery in receipts]
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as file:
        (size,) = file.execute("SELECT avg(length(payload)) FROM message WHERE channel = 'telemetry'").fetchone()
    return Cost(sent, size, len(sizes), sum(sizes) / len(sizes) if sizes else 0.0, mine / sent * 1e6, its / sent * 1e6)


def telemetry(device: str) -> str:
    return str(Topic(SITE.site, Kind.METER, device, Channel.TELEMETRY))


def drive(loop: WallLoop, transport: MqttTransport, seconds: float) -> None:
    """As `runtime.wall.drive` does, for so long."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    while (now := datetime.now(UTC)) < end:
        due = loop.run_due(now)
        wait_s = 0.05 if due is None else (due - datetime.now(UTC)).total_seconds()
        delivery = transport.receive(min(max(wait_s, 0.0), 0.05))
        while delivery is not None:
            loop.handle(delivery, datetime.now(UTC))
            delivery = transport.receive(0.0)


def least(costs: Sequence[Cost]) -> Cost:
    """Whatever else the machine does only adds CPU time."""
    return replace(
        costs[-1],
        device_us=min(cost.device_us for cost in costs),
        recorder_us=min(cost.recorder_us for cost in costs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn; the least CPU time of them counts")
    given = parser.parse_args()
    found: dict[bool, list[Cost]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            for keeps, costs in found.items():
                costs.append(measure(Path(folder) / f"{number}-{keeps}", given.messages, keeps=keeps))
    without, kept = (least(costs) for costs in found.values())
    print(f"{'of one telemetry':34}{'without':>12}{'kept':>12}{'ratio':>8}")
    every_s = 10.0
    for head, a, b in (
        ("CPU of the device [µs]", without.device_us, kept.device_us),
        ("CPU of the recorder [µs]", without.recorder_us, kept.recorder_us),
        ("messages, at one a second", 1.0, 1.0 + 1.0 / every_s),
        ("bytes, at one a second", kept.telemetry_bytes, kept.telemetry_bytes + kept.receipt_bytes / every_s),
    ):
        print(f"{head:34}{a:12.4g}{b:12.4g}{b / a:8.3f}")
    print(
        f"a receipt has {kept.receipt_bytes:.0f} bytes, and comes every {every_s:g} s at most: {kept.receipts} of them"
    )
    print(f"for {kept.sent} telemetries, {without.receipts} without; least CPU time of {given.rounds} rounds")


if __name__ == "__main__":
    main()
