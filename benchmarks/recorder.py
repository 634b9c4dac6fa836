"""How fast the recorder takes in what waits for it in Mosquitto, QoS 1, up to the disk; beside a naive client.

``python benchmarks/recorder.py [--messages N]``. Telemetry of fifty chargers is queued in the broker for a client that
is away; then its process is started, and its rate and CPU time are taken between its first thousand rows on disk
and its last. The naive client subscribes by paho, inserts each batch and acknowledges it, and validates nothing: it
would store garbage, forgeries and repetitions as well.
"""

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import ChargerTelemetry, PluggedVehicle, Run, Stamp, TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, client_id, everything
from schemas.wire import encode
from sites.loader import load_site

RUN = "20261101T120000.000000Z-0001"
CHARGERS = 50
COUNTED_FROM = 1000
"""Rows on disk from which on the process counts as started."""

NAIVE = """
import sqlite3, sys
import paho.mqtt.client as paho
host, port, name, topic, file = sys.argv[1:]
database = sqlite3.connect(file, isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE IF NOT EXISTS message (topic TEXT, payload BLOB)")
batch = []
def on_message(client, data, message):
    batch.append(message)
    if len(batch) == 256:
        settle()
def settle():
    database.execute("BEGIN")
    database.executemany("INSERT INTO message VALUES (?, ?)", [(m.topic, m.payload) for m in batch])
    database.execute("COMMIT")
    for m in batch:
        client.ack(m.mid, 1)
    batch.clear()
client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, clean_session=False, manual_ack=True)
client.on_message = on_message
client.on_connect = lambda *_: client.subscribe(topic, 1)
client.connect(host, int(port))
client.loop_forever()
"""


def _telemetry(number: int, began: datetime) -> tuple[str, bytes]:
    charger, seq = number % CHARGERS + 1, number // CHARGERS + 1
    topic = Topic("bench", Kind.CHARGER, f"ev{charger}", Channel.TELEMETRY)
    vehicle = PluggedVehicle(soc_frac=0.5, capacity_kwh=60.0, arrival=began, departure=began + timedelta(hours=8))
    body = ChargerTelemetry(
        power_kw=7.25 + 0.001 * seq, energy_import_kwh=0.02 * seq, energy_export_kwh=0.0, vehicle=vehicle
    )
    stamp = Stamp(ts=began + timedelta(milliseconds=number), run=RUN, boot="bench", seq=seq)
    return str(topic), encode(stamp, body)


def queue_up(address: BrokerAddress, messages: Sequence[tuple[str, bytes]]) -> None:
    """Everything is in the broker afterwards."""
    transport = MqttTransport(address, "bench-sender")
    transport.connect(())
    for topic, payload in messages:
        transport.publish(topic, payload)
    if not transport.flush(300.0):
        raise SystemExit("the broker did not take the messages in")
    transport.close()


def drain(command: Sequence[str], rows: Callable[[], int], wanted: int) -> tuple[float, float]:
    """Starts the process and waits for its rows. Returns messages a second, and its CPU time [µs] a message."""
    process = subprocess.Popen(command)
    try:
        watched = psutil.Process(process.pid)
        while (counted_from := rows()) < COUNTED_FROM:
            time.sleep(0.01)
        began, cpu = time.perf_counter(), sum(watched.cpu_times()[:2])
        while (stored := rows()) < wanted:
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {process.returncode} after {stored} messages")
            time.sleep(0.02)
        took, used = time.perf_counter() - began, sum(watched.cpu_times()[:2]) - cpu
        return (wanted - counted_from) / took, 1e6 * used / (wanted - counted_from)
    finally:
        process.kill()
        process.wait()


def counter(file: Path) -> Callable[[], int]:
    """Counts by the last row's number, which costs nothing however many there are."""

    def rows() -> int:
        if not file.exists():
            return 0
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            try:
                return int(connection.execute("SELECT coalesce(max(rowid), 0) FROM message").fetchone()[0])
            except sqlite3.OperationalError:
                return 0  # its tables are being made

    return rows


def leave_a_session(address: BrokerAddress, name: str) -> None:
    """The broker keeps for this client from now on, as for a recorder that ran before."""
    transport = MqttTransport(address, name, persistent=True)
    transport.connect([everything("bench")])
    transport.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    wanted = parser.parse_args().messages
    site: Site = load_site("fit_g2v").model_copy(update={"site": "bench"})
    began = datetime.now(UTC)
    messages = [_telemetry(number, began) for number in range(wanted)]
    print(f"{wanted} telemetries of {len(messages[0][1])} bytes from {CHARGERS} chargers, QoS 1")
    with tempfile.TemporaryDirectory() as folder, LocalMosquitto() as broker:
        address, place = broker.address, Path(folder)
        (place / "site.json").write_text(site.model_dump_json(), encoding="utf-8")
        clock = MqttTransport(address, "bench-clock")
        clock.connect(())
        run = Run(mode=TimeMode.WALL, step_s=900, t0=began, wall0=began, speed=1.0)
        topic = Topic("bench", Kind.CLOCK, "clock", Channel.RUN)
        stamp = Stamp(ts=began, run=RUN, boot="clock", seq=1)
        clock.publish(str(topic), encode(stamp, run), retain=True)
        clock.flush(10.0)

        naive = place / "naive.sqlite"
        leave_a_session(address, "bench-naive")
        queue_up(address, messages)
        command = [sys.executable, "-c", NAIVE, address.host, str(address.port), "bench-naive"]
        rate, cpu_us = drain([*command, everything("bench"), str(naive)], counter(naive), wanted // 256 * 256)
        print(f"naive client: {rate:8.0f} messages/s, {cpu_us:6.1f} µs CPU a message")
        end_session(address, "bench-naive")

        history = place / "history.sqlite"
        leave_a_session(address, client_id("bench", "recorder"))
        queue_up(address, messages)
        command = [sys.executable, "-m", "twinswarm.deploy.process", "recorder", "--site", str(place / "site.json")]
        command += ["--broker", str(address), "--history", str(history)]
        own_rate, own_cpu_us = drain(command, counter(history), wanted)
        print(f"recorder:     {own_rate:8.0f} messages/s, {own_cpu_us:6.1f} µs CPU a message")
        print(f"ratio:        {own_rate / rate:8.2f} of the rate, {own_cpu_us / cpu_us:6.2f} of the CPU time")
        clock.close()


def end_session(address: BrokerAddress, name: str) -> None:
    """The broker keeps nothing more for this client."""
    transport = MqttTransport(address, name)
    transport.connect(())
    transport.close()


if __name__ == "__main__":
    main()
