"""A day in wall time in one thread, along a clock that is set: messages are lost, participants die and come back."""

import random
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from broker.memory import MemoryBroker, MemoryTransport
from broker.transport import Delivery
from runtime.checkpoint import MemoryCheckpoint
from runtime.drive import Loop
from runtime.wall import WallLoop
from schemas.site import Site
from schemas.topics import client_id
from services.clock.wall import WallClock, WallTime
from services.history.store import HistoryStore
from twinswarm.simulation.compose import Recording, maker, members

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
"""Local midnight."""
DAY = timedelta(days=1)
RUN = "20261101T120000.000000Z-0001"


class Lossy(MemoryTransport):
    """Loses every tenth message on the way to its client, and repeats and delays as many."""

    chance = random.Random(14)

    def receive(self, timeout_s: float | None) -> Delivery | None:
        delivery = super().receive(timeout_s)
        if delivery is None or delivery.retained:
            return delivery
        fate = self.chance.random()
        if fate < 0.1:
            self.acknowledge(delivery)
            return self.receive(timeout_s)
        if fate < 0.2:
            self._broker._put(self._broker._box_of(self), delivery)
        return delivery


class Day:
    """A site in wall time, in one thread, along a clock that is set; processes die and come back."""

    def __init__(self, site: Site, store: HistoryStore) -> None:
        self._site = site
        self._broker = MemoryBroker()
        self._boots = (f"boot-{number}" for number in count(1))
        self._checkpoints = {device: MemoryCheckpoint() for device in members(site)}
        self._store = store
        self.now = T0 - timedelta(seconds=10)
        self._driven: dict[str, tuple[Loop, MemoryTransport]] = {}
        for device in members(site):
            self.start(device)
        transport = MemoryTransport(self._broker, client_id(site.site, "clock"))
        order = WallTime(step_s=900, t0=T0, length=DAY, lead_s=10.0)
        self._driven["clock"] = WallClock(site.site, transport, order, run=RUN, boot="clock-1"), transport
        self._driven["clock"][0].start(self.now)

    def start(self, device: str) -> None:
        recorder = device == "recorder"
        kind = Lossy if device == "ems" else MemoryTransport
        transport = kind(self._broker, client_id(self._site.site, device), persistent=recorder)
        loop = WallLoop(
            maker(self._site, device, Recording(self._store) if recorder else None)(),
            transport,
            self._checkpoints[device],
            new_boot=lambda: next(self._boots),
            zone=self._site.zone,
            once=True,
        )
        loop.start(self.now)
        self._driven[device] = loop, transport

    def kill(self, device: str) -> None:
        self._driven.pop(device)[1].drop()

    def lose(self, device: str) -> None:
        """Its file is gone with the process: a new life."""
        self.kill(device)
        self._checkpoints[device].clear()

    def until(self, time: timedelta) -> None:
        """Lives on, with a look at every device before the EMS decides and few in between."""
        while self.now < T0 + time:
            busy = True
            while busy:
                busy = False
                for loop, transport in list(self._driven.values()):
                    while (delivery := transport.receive(0.0)) is not None:
                        loop.handle(delivery, self.now)
                        busy = True
                    loop.run_due(self.now)
            in_quarter = (self.now - T0) % timedelta(minutes=15)
            self.now += timedelta(seconds=280 if timedelta(seconds=30) <= in_quarter < timedelta(seconds=600) else 10)


def live_a_day_of_deaths(site: Site, file: Path) -> None:
    """EMS, battery ``bess`` or charger ``ev1`` dies every hour, with its file or without; the devices for a quarter."""
    with closing(HistoryStore(file, durable=False)) as store:
        day = Day(site, store)
        for hour in range(1, 24):
            day.until(timedelta(hours=hour, seconds=7 * hour))
            device = ("ems", "bess", "ev1")[hour % 3]
            (day.lose if hour % 2 else day.kill)(device)
            if device != "ems":
                day.until(timedelta(hours=hour, minutes=20))  # a quarter without it
            day.start(device)
        day.until(DAY + timedelta(minutes=5))
