"""Sites with a source of limits, and turns of its participant."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from schemas.limits import InForce, Limits
from schemas.messages import Alarm, Limit, Phase, Run, Stamp, TimeMode
from schemas.participant import Input, Outgoing, Received, Turn
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import decode, encode
from services.limiter.sourced import SourcedLimiter
from services.limiter.window import Heard
from sites.loader import load_site
from sites.loader.template import write_template

T0 = datetime(2026, 11, 29, 9, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def site_with(folder: Path, **limits: dict[str, Any]) -> Site:
    """The template's site with these sources of limits. Raises InputError."""
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["limits"] = {name.replace("_", "-"): described for name, described in limits.items()}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


def act(
    limiter: SourcedLimiter, seconds: float, *heard: Heard, phase: Phase = Phase.APPLY
) -> tuple[list[Limit], list[Alarm]]:
    """What it sends at a time, of what was heard then."""
    now = at(seconds)
    inputs = tuple(Input("lab", now, each) for each in heard)
    turn = Turn(phase=phase, t=now, t0=T0, t_end=None, step_s=900, mode=TimeMode.WALL, inputs=inputs)
    sent: Sequence[Outgoing] = limiter.act(turn, [])
    return (
        [each.body for each in sent if isinstance(each.body, Limit)],
        [each.body for each in sent if isinstance(each.body, Alarm)],
    )


def in_force(address: BrokerAddress, site: Site) -> InForce | None:
    """What anybody who comes to the broker now takes as the limit at the PCC; None: there is no message."""
    limits = Limits()
    observer = MqttTransport(address, "observer")
    observer.connect([topic_filter(site.site, Kind.LIMITER, channel=Channel.LIMIT)])
    try:
        while (delivery := observer.receive(0.5)) is not None:
            topic = Topic.parse(delivery.topic)
            stamp, body = decode(topic, delivery.payload)
            limits.receive(Received(topic, stamp, body))
            observer.acknowledge(delivery)
    finally:
        observer.close()
    return limits.at(None, datetime.now(UTC)) if limits else None


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


@contextmanager
def process(folder: Path, site: Site, name: str, address: BrokerAddress, **env: str) -> Iterator[subprocess.Popen[str]]:
    """``twinswarm limiter NAME`` in a live run of its own, with checkpoints."""
    bus = MqttTransport(address, "clock")
    bus.connect([])
    now = datetime.now(UTC)
    run = Run(mode=TimeMode.WALL, step_s=900, t0=now, wall0=now, speed=1.0, simulated=False)
    stamp = Stamp(ts=now, run="20261129T090000.000000Z-0001", boot="clock1", seq=1)
    bus.publish(str(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)), encode(stamp, run), retain=True)
    command = [sys.executable, "-m", "twinswarm.cli", "limiter", name, "--site", str(folder / "site.yaml")]
    command += ["--broker", str(address), "--checkpoints", str(folder / "state")]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
        started.communicate(timeout=30)
        bus.close()
