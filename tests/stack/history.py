"""What the stack has stored, looked at from inside: the recorder's file, and InfluxDB by its own query language."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.stack.stack import Stack, until

HISTORY = "influxdb://influxdb:8086/twinswarm/twinswarm-simulated"

_RECORDED = """
import json, sqlite3
connection = sqlite3.connect("file:/var/lib/twinswarm/history.sqlite?mode=ro", uri=True)
sql = "SELECT device, boot, kind || '_' || channel, seq FROM message WHERE run = ?"
print(json.dumps(connection.execute(sql, [{run!r}]).fetchall()))
"""
_ALL_SENT = """
from pathlib import Path
from services.influx.spool import Spool
from services.history.store import HistoryStore
spool = Spool(HistoryStore(Path("/var/lib/twinswarm/history.sqlite")))
print(not spool.waits() and not spool.runs())
"""
_POINTS = """
import json
from pathlib import Path
from services.influx.server import ALL_TIME, InfluxServer
token = Path("/run/secrets/twinswarm/token").read_text()
server = InfluxServer("http://influxdb:8086", "twinswarm", token)
print(json.dumps(list(server.query({flux!r}.replace("ALL_TIME", ALL_TIME)))))
"""
_IDENTITIES = (
    'from(bucket: "twinswarm-simulated") |> ALL_TIME |> filter(fn: (r) => r.run == "{run}") '
    '|> filter(fn: (r) => r._field == "boot" or r._field == "seq") |> toString() |> group() '
    '|> pivot(rowKey: ["_time", "_measurement", "device"], columnKey: ["_field"], valueColumn: "_value") '
    '|> keep(columns: ["_measurement", "device", "boot", "seq"])'
)


class Identity(NamedTuple):
    """Of a message. ``channel``: as InfluxDB's measurement has it, ``charger_telemetry``."""

    device: str
    boot: str
    channel: str
    seq: int


def result(stack: Stack, run: str) -> dict[str, Any]:
    """Of a recorded run, as `twinswarm report` tells it from InfluxDB."""
    words = ("report", "--history", HISTORY, "--run", run, "--no-report", "--json", "-")
    told: dict[str, Any] = json.loads(stack.once("savings", *words))
    return told


def points(stack: Stack, flux: str) -> list[dict[str, str]]:
    """Rows of a Flux query, by the token that `savings` has."""
    found: list[dict[str, str]] = json.loads(stack.inside("savings", "python3", "-c", _POINTS.format(flux=flux)))
    return found


def stored(stack: Stack, run: str) -> Counter[Identity]:
    """How often InfluxDB has each message of a run."""
    found = points(stack, _IDENTITIES.format(run=run))
    return Counter(Identity(row["device"], row["boot"], row["_measurement"], int(row["seq"])) for row in found)


def recorded(stack: Stack, run: str) -> Counter[Identity]:
    """How often the recorder's file has each message of a run."""
    found = stack.inside("forward", "python3", "-c", _RECORDED.format(run=run))
    return Counter(Identity(*row) for row in json.loads(found))


def gaps(identities: Iterable[Identity]) -> list[Identity]:
    """Messages that a sender counted and nobody has: its numbers on a channel begin with 1 and leave none out."""
    there = set(identities)
    last: dict[tuple[str, str, str], int] = {}
    for device, boot, channel, seq in there:
        last[device, boot, channel] = max(seq, last.get((device, boot, channel), 0))
    wanted = {Identity(*sender, seq) for sender, most in last.items() for seq in range(1, most + 1)}
    return sorted(wanted - there)


def wait_until_forwarded(stack: Stack) -> None:
    """Until InfluxDB has all that the recorder has, the runs' ends included."""
    until(lambda: stack.inside("forward", "python3", "-c", _ALL_SENT) == "True\n", "all is forwarded to InfluxDB")
