"""A whole site in wall time, in one thread, along a clock that is set: the run loops and the clock that each process
has, over the broker in memory. What the machine is busy with besides plays no part."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from broker.memory import MemoryBroker, MemoryTransport
from runtime.drive import Loop
from runtime.wall import WallLoop
from schemas.messages import (
    Alarm,
    Birth,
    Body,
    Limit,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    Presence,
    Severity,
    Stamp,
    State,
    TimeMode,
)
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.clock.wall import WallClock, WallTime
from services.history.store import HistoryStore
from twinswarm.simulation.compose import Recording, maker, members

BOILER = "boiler"
OUTSIDE_KW = 400.0
"""A limit from outside, far above what the site's connection carries."""
_TICK = timedelta(seconds=1)
_READY_S = 5.0
_LINGER = timedelta(minutes=1)


def live(site: Site, run: str, t0: datetime, length: timedelta, path: Path) -> None:
    """Lives through a session that a disturber takes part in, and records it in ``path``."""
    broker, boots = MemoryBroker(), count(1)
    driven: list[tuple[Loop, MemoryTransport]] = []
    with closing(HistoryStore(path, durable=False)) as store:
        for device in members(site):
            transport = MemoryTransport(broker, f"{site.site}_{device}", persistent=device == "recorder")
            make = maker(site, device, Recording(store) if device == "recorder" else None)
            loop = WallLoop(make(), transport, new_boot=lambda: f"boot-{next(boots)}", zone=site.zone, once=True)
            driven.append((loop, transport))
        transport = MemoryTransport(broker, f"{site.site}.clock")
        time = WallTime(step_s=900, t0=t0, length=length, lead_s=_READY_S)
        driven.append((WallClock(site.site, transport, time, run=run, boot="clock-1"), transport))
        disturber = Disturber(site.site, run, broker)
        now = t0 - timedelta(seconds=_READY_S)
        for loop, _ in driven:
            loop.start(now)
        while now <= t0 + length + _LINGER:
            _pass_on(driven, now)
            if t0 < now < t0 + length:
                disturber.act(now)
            now += _TICK


def _pass_on(driven: Sequence[tuple[Loop, MemoryTransport]], now: datetime) -> None:
    """Until nobody has anything left to read at this instant."""
    busy = True
    while busy:
        busy = False
        for loop, transport in driven:
            while (delivery := transport.receive(0.0)) is not None:
                loop.handle(delivery, now)
                busy = True
            loop.run_due(now)


class Disturber:
    """A submeter that the site does not know, without registers, which complains; a limit from outside that binds
    nobody; and somebody who sends what is no message to a charger and in the name of the PV."""

    def __init__(self, site: str, run: str, broker: MemoryBroker) -> None:
        self._site, self._run = site, run
        self._transport = MemoryTransport(broker, "disturber")
        self._transport.connect([])
        self._seq: dict[Channel, int] = {}

    def act(self, now: datetime) -> None:
        """Once a minute."""
        if now.second:
            return
        if not self._seq:
            birth = Birth(
                nameplate=MeterNameplate(role=MeterRole.SUBMETER),
                telemetry_period_s=60.0,
                time_modes=(TimeMode.WALL,),
                software="a boiler",
            )
            self._send(Channel.BIRTH, now, birth)
            self._send(Channel.STATE, now, State(state=Presence.ONLINE))
            hot = Alarm(code="hot", severity=Severity.CRITICAL, value=95.0, limit=90.0, text="95 °C is above 90 °C")
            self._send(Channel.ALARM, now, hot)
            limit = Limit(source="control box", valid_from=now, import_kw=OUTSIDE_KW, export_kw=OUTSIDE_KW)
            stamp = Stamp(ts=now, run=self._run, boot="box-1", seq=1)
            topic = Topic(self._site, Kind.LIMITER, "box", Channel.LIMIT)
            self._transport.publish(str(topic), encode(stamp, limit), retain=topic.retained)
        self._send(Channel.TELEMETRY, now, MeterTelemetry(power_kw=2.0))
        for kind, device, channel in ((Kind.CHARGER, "ev1", Channel.SETPOINT), (Kind.PV, "pv", Channel.TELEMETRY)):
            self._transport.publish(str(Topic(self._site, kind, device, channel)), b'{"power_kw": "a lot"}')

    def _send(self, channel: Channel, now: datetime, body: Body) -> None:
        self._seq[channel] = self._seq.get(channel, 0) + 1
        stamp = Stamp(ts=now, run=self._run, boot="boiler-1", seq=self._seq[channel])
        topic = Topic(self._site, Kind.METER, BOILER, channel)
        self._transport.publish(str(topic), encode(stamp, body), retain=topic.retained)
