"""How fast a recorded day gets into InfluxDB, and back.

``python benchmarks/influx.py --influx http://127.0.0.1:8086 --org ORG --token-file FILE [--days N]`` runs a day of the
default site in memory, forwards it N times, into buckets of its own that it makes and removes, and prints points per
second, how fast the server alone is, and the seconds to read a run back.
"""

import argparse
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from services.history.store import HistoryStore
from services.influx.forward import BATCH_LINES, Forwarder
from services.influx.reader import InfluxHistory, read_token
from services.influx.server import InfluxServer
from services.influx.spool import Spool
from sites.loader import load_site
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice


class Timed(InfluxServer):
    """Counts what the server needs."""

    written_s = 0.0
    requests = 0

    def write(self, bucket: str, lines: Sequence[str]) -> None:
        began = time.perf_counter()
        super().write(bucket, lines)
        self.written_s += time.perf_counter() - began
        self.requests += 1


def machine_time() -> datetime:
    return datetime.now(UTC)


def forward(path: Path, server: Timed, bucket: str) -> int:
    """All of the file, whatever of it was forwarded before. Returns the number of points."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE message SET forwarded = 0, point_ns = NULL")
        connection.execute("UPDATE run SET forwarded = NULL")
    with closing(HistoryStore(path, durable=False)) as store:
        return Forwarder(Spool(store), server, bucket, now=machine_time, wait=lambda _: True).drain()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--influx", default="http://127.0.0.1:8086")
    parser.add_argument("--org", default="twinswarm")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--days", type=int, default=5)
    options = parser.parse_args()
    token = read_token(options.token_file)
    with tempfile.TemporaryDirectory() as folder, closing(Timed(options.influx, options.org, token)) as server:
        path = Path(folder) / "history.sqlite"
        site = load_site("fit_g2v")
        conduct_in_memory(Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, path))
        buckets = [f"benchmark-{secrets.token_hex(2)}-{number}" for number in range(options.days)]
        made = [server.create_bucket(f"{name}-simulated", 0, "twinswarm: benchmark") for name in buckets]
        try:
            began = time.perf_counter()
            points = sum(forward(path, server, bucket) for bucket in buckets)
            total_s = time.perf_counter() - began
            print(
                f"{options.days} days with their references: {points} points, {points / total_s:,.0f} points/s; "
                f"the server's part {points / server.written_s:,.0f} points/s "
                f"in {server.requests} requests of at most {BATCH_LINES} lines"
            )
            began = time.perf_counter()
            history = InfluxHistory(server, f"{buckets[0]}-simulated")
            read = sum(1 for _ in history.messages(history.latest().run))
            print(f"read back: {read} messages of a day in {time.perf_counter() - began:.2f} s")
        finally:
            for bucket in made:
                server.remove_bucket(bucket)


if __name__ == "__main__":
    main()
