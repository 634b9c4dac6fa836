"""How long a set-point takes to a device, and how late it ends there with nobody left, by protocol.

An EMS' hand publishes set-points on a real Mosquitto; the device's driver (by `native`, the twin itself) follows them
in its run loop; the device on the other side notes when it is asked for which power (`tests/drivers/watched.py`). Then
set-points are left to end: first with nobody on the broker who commands, then with the broker stopped.

    python -m benchmarks.setpoints [--protocol ocpp] [--count 300] [--ends 20]
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.drivers.watched import PROTOCOLS

LEAST_KW, STEPS = 2.0, 47
"""Powers between 2 and 6.6 kW, each another one than the one before."""


def said(protocol: str, what: str, seconds: Sequence[float]) -> None:
    milli = sorted(1000 * each for each in seconds)
    p99 = milli[min(len(milli) - 1, round(0.99 * (len(milli) - 1)))]
    figures = f"p50 {statistics.median(milli):7.1f} ms   p99 {p99:7.1f} ms   most {milli[-1]:7.1f} ms"
    print(f"{protocol:8} {what:42} n {len(milli):4}   {figures}", flush=True)


def measure(protocol: str, count: int, ends: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with PROTOCOLS[protocol](Path(folder) / "one") as watched:
            took = []
            for number in range(count):
                power_kw = LEAST_KW + 0.1 * (number % STEPS)
                sent = watched.ask(f"s{number}", power_kw, 600.0)
                took.append(watched.notes.when(power_kw) - sent)
                time.sleep(0.02)
            said(protocol, "set-point published -> asked at the device", took)
            late = [watched.late_s(LEAST_KW + 0.1 * number, broker_dies=False) for number in range(ends)]
            said(protocol, "end, with the EMS dead", late)
        late = []
        for number in range(max(1, ends // 5)):
            with PROTOCOLS[protocol](Path(folder) / f"broker{number}") as watched:
                late.append(watched.late_s(LEAST_KW, broker_dies=True))
        said(protocol, "end, with the broker dead", late)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default=None, help="all of them without it")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--ends", type=int, default=20)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # that the broker is away
    for protocol in (options.protocol,) if options.protocol else PROTOCOLS:
        measure(protocol, options.count, options.ends)


if __name__ == "__main__":
    main()
