"""The stack in containers: size of the image, time to healthy, memory, and how fast a day gets into InfluxDB.

``python benchmarks/stack.py [--image twinswarm]`` provisions a stack under a project name and port of its own, brings
it up without Grafana (for which there need be no image), lets it live through a lock-step day, and another one whose
history is forwarded only when it is whole; then removes it with its volumes.
"""

import argparse
import json
import os
import re
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

COMPOSE = Path(__file__).parents[1] / "compose.yaml"
WITHOUT_GRAFANA = ("--scale", "grafana=0", "--pull", "never")
DAY_OVER = b"the run is over"
LOOK_S = 0.2
PATIENCE_S = 300.0


def docker(*words: str, environment: dict[str, str] | None = None) -> bytes:
    return subprocess.run(
        ["docker", *words],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    ).stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@dataclass
class Stack:
    image: str
    project: str = field(default_factory=lambda: f"benchmark-{secrets.token_hex(3)}")
    port: int = field(default_factory=free_port)

    def compose(self, *words: str) -> bytes:
        told = {
            "TWINSWARM_IMAGE": self.image,
            "TWINSWARM_MQTT_PORT": str(self.port),
            "COMPOSE_PROFILES": "sim",
        }
        return docker("compose", "-f", str(COMPOSE), "-p", self.project, *words, environment=told)

    def days_over(self) -> int:
        return self.compose("logs", "clock").count(DAY_OVER)

    def points(self) -> int:
        """That InfluxDB has stored since it started."""
        metrics = self.compose("exec", "-T", "influxdb", "curl", "-sS", "http://127.0.0.1:8086/metrics").decode()
        found = re.search(r"^storage_writer_ok_points_sum(?:\{[^}]*\})? (\S+)$", metrics, re.MULTILINE)
        assert found, "InfluxDB counts what it stores"
        return round(float(found[1]))

    def forward_once(self) -> float:
        """Seconds of `forward --once`, its container's start included."""
        words = json.loads(self.compose("config", "--format", "json"))["services"]["forward"]["command"]
        began = time.perf_counter()
        self.compose("run", "--rm", "-T", "--no-deps", "forward", *words, "--once")
        return time.perf_counter() - began

    def memory_mb(self) -> dict[str, float]:
        """Resident, by service."""
        lines = docker("stats", "--no-stream", "--format", "json").decode().splitlines()
        told = {line["Name"]: line["MemUsage"].split(" / ")[0] for line in map(json.loads, lines)}
        own = f"{self.project}-"
        return {name[len(own) : -2]: megabytes(usage) for name, usage in told.items() if name.startswith(own)}


def megabytes(usage: str) -> float:
    """Of what `docker stats` writes: 28.5MiB."""
    number, unit = re.fullmatch(r"([\d.]+)([KMG]iB|B)", usage).groups()  # type: ignore[union-attr]
    return float(number) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit] / 1e6


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def until(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert time.monotonic() < deadline, what
        threading.Event().wait(LOOK_S)


def measure(stack: Stack) -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", stack.image))
    print(f"image: {size / 1e6:,.0f} MB, its base image included")
    print(f"provision: {timed(lambda: stack.compose('run', '--rm', 'provision')):.1f} s")
    print(f"up to healthy: {timed(lambda: stack.compose('up', '-d', '--wait', *WITHOUT_GRAFANA)):.1f} s")
    until(lambda: stack.days_over() == 1, "the first day")
    memory = stack.memory_mb()
    most = sorted(memory, key=memory.__getitem__, reverse=True)[:4]
    print(
        f"memory after a day: {sum(memory.values()):,.0f} MB in {len(memory)} containers; "
        + ", ".join(f"{name} {memory[name]:.0f}" for name in most)
        + f", a twin {memory['ev1']:.0f}"
    )
    stack.compose("stop", "forward")
    day_s = timed(lambda: (stack.compose("restart", "clock"), until(lambda: stack.days_over() == 2, "another day")))
    print(f"a lock-step day through TLS, the clock's restart included: {day_s:.1f} s")
    before = stack.points()
    whole_s = stack.forward_once()
    points = stack.points() - before
    start_s = stack.forward_once()  # with nothing to do
    drain_s = whole_s - start_s
    print(f"its {points:,} points into InfluxDB: {drain_s:.2f} s, {points / drain_s:,.0f} points/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="twinswarm")
    stack = Stack(parser.parse_args().image)
    try:
        measure(stack)
    finally:
        stack.compose("--profile", "*", "down", "--volumes", "--timeout", "5")


if __name__ == "__main__":
    main()
