"""How fast a set-point reaches an OCPP charger, and how late its end: the central system on this machine.

A set-point is published on the swarm's broker; what is measured is until the charge point has received the profile, and
until the power of the driver's telemetry is the new one. The end of a set-point: with the EMS dead (nobody speaks), and
with the swarm's broker dead. The charge point is that of the tests; it answers at once.

    python -m benchmarks.ocpp [--count 200] [--ends 20]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.drivers.ocpp.evse import Evse16
from tests.drivers.ocpp.running import Swarm, described, running

VALID_S = 3.0


def told_at(evse: Evse16, watts: float, after: datetime) -> datetime | None:
    for at, profile in reversed(evse.told):
        limit = float(profile["charging_schedule"]["charging_schedule_period"][0]["limit"])
        if limit == watts and at >= after and profile["charging_profile_purpose"] == "TxProfile":
            return at
    return None


def until_told(swarm: Swarm, evse: Evse16, watts: float, after: datetime) -> datetime:
    deadline = time.monotonic() + 30
    while (at := told_at(evse, watts, after)) is None:
        assert time.monotonic() < deadline, f"{watts} W did not come"
        time.sleep(0.001)
    return at


def show(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    print(
        f"{what:55} n {len(ordered):4}  p50 {1000 * statistics.median(ordered):7.1f} ms  p99 {1000 * p99:7.1f} ms  "
        f"most {1000 * ordered[-1]:7.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--ends", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(described(Path(folder))) as swarm:
        evse = swarm.evse().connect()
        evse.begin()
        swarm.until(lambda: swarm.telemetry() is not None, "telemetry")
        profiles = []
        for number in range(given.count):
            kw = 2.0 + (number % 80) / 10
            begun = datetime.now(UTC)
            swarm.ask(f"s{number}", kw, seconds=600.0)
            profiles.append((until_told(swarm, evse, round(1000 * kw), begun) - begun).total_seconds())
            time.sleep(0.05)
        show("set-point published -> profile at the charge point", profiles)
        for what, broker_dies in (("EMS dead", False), ("swarm's broker dead", True)):
            ends = []
            for number in range(1 if broker_dies else given.ends):
                kw = 3.0 + number / 10
                begun = datetime.now(UTC)
                swarm.ask(f"e{what}{number}".replace(" ", "")[:30], kw, seconds=VALID_S)
                until_told(swarm, evse, round(1000 * kw), begun)
                if broker_dies:
                    swarm.broker.stop()
                end = begun + timedelta(seconds=VALID_S)
                ends.append((until_told(swarm, evse, 0.0, begun) - end).total_seconds())
            show(f"end of a set-point -> fallback at the charge point, {what}", ends)


if __name__ == "__main__":
    main()
