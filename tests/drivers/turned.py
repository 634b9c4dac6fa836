"""A driver with its real link, given turns by the test's own hand: no swarm, no broker of the swarm."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from schemas.messages import Ack, Alarm, Body, Fallback, Phase, Setpoint, Stamp, Telemetry, TimeMode
from schemas.participant import Input, Outgoing, Received, Turn
from schemas.site import Site
from schemas.topics import Channel, Topic
from services.drivers.participant import SILENT, TROUBLE, Driver
from sites.loader import load_site
from sites.loader.template import write_template
from twinswarm.deploy.drivers import driven

TELEMETRY_S = 0.1


def described(folder: Path, device: str, driver: dict[str, Any], **changes: Any) -> Site:
    """The template's site, one of whose devices has this driver."""
    folder.mkdir(exist_ok=True)
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["devices"][device] |= {"telemetry_period_s": TELEMETRY_S, "driver": driver, **changes}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


class Turned:
    """The driver, what its link has put, and all that it has sent."""

    def __init__(self, site: Site, device: str) -> None:
        participant = driven(site, device)()
        assert isinstance(participant, Driver)
        self.driver = participant
        self.sent: list[tuple[datetime, Body]] = []
        self._lock = threading.Lock()
        self._inputs: list[Input] = []
        self._asked: list[Setpoint] = []
        self.polls = 0
        """How often the link has put something."""
        self._sensed, self._turns, self._now = 0.0, 0, datetime.now(UTC)
        self._t0 = self._now

    def _put(self, value: object) -> bool:
        with self._lock:
            self._inputs.append(Input("link", datetime.now(UTC), value))
            self.polls += 1
        return True

    def ask(self, name: str, power_kw: float, seconds: float = 600.0) -> None:
        now = datetime.now(UTC)
        until = now + timedelta(seconds=seconds)
        self._asked.append(
            Setpoint(id=name, epoch=1, valid_from=now, valid_until=until, power_kw=power_kw, fallback=Fallback.IDLE)
        )

    def turn(self) -> list[Outgoing]:
        with self._lock:
            inputs, self._inputs = tuple(self._inputs), []
        self._now = max(self._now, datetime.now(UTC))
        sense = time.monotonic() - self._sensed >= TELEMETRY_S
        if sense:
            self._sensed = time.monotonic()
        topic = Topic(self.driver.site, self.driver.kind, self.driver.device, Channel.SETPOINT)
        stamp = Stamp(ts=self._now, boot="ems", seq=self._turns)
        inbox = [Received(topic, stamp, setpoint) for setpoint in self._asked]
        self._asked, self._turns = [], self._turns + 1
        phase = Phase.SENSE if sense else Phase.APPLY
        turn = Turn(phase, self._now, self._t0, None, 900, TimeMode.WALL, self._turns, boot="life1", inputs=inputs)
        found = self.driver.act(turn, inbox)
        self.sent += [(self._now, each.body) for each in found]
        return found

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {self.sent[-4:]}"
            self.turn()
            time.sleep(0.01)

    def bodies(self, kind: type[Any]) -> list[Any]:
        return [body for _, body in self.sent if isinstance(body, kind)]

    @property
    def last(self) -> Any:
        told = self.bodies(Telemetry)
        return told[-1] if told else None

    def alarms(self, code: str) -> list[Alarm]:
        return [alarm for alarm in self.bodies(Alarm) if alarm.code == code]

    def stands(self, code: str) -> str:
        """The text of the alarm that stands; empty: none does."""
        alarms = self.alarms(code)
        return alarms[-1].text if alarms and alarms[-1].active else ""

    def says(self, text: str) -> bool:
        return text in self.stands(SILENT) or text in self.stands(TROUBLE)

    @property
    def is_well(self) -> bool:
        return not self.stands(SILENT) and not self.stands(TROUBLE)

    def acked(self, name: str) -> bool:
        return any(ack.id == name for ack in self.bodies(Ack))

    def is_sound(self, most_kw: float = 50.0) -> None:
        """No telemetry of it had a number that cannot be true, and no register went down or leapt."""
        told = self.bodies(Telemetry)
        for each in told:
            assert abs(each.power_kw) <= most_kw
        for one, two in pairwise(told):
            for name in ("energy_import_kwh", "energy_export_kwh"):
                grown = getattr(two, name) - getattr(one, name)
                assert 0 <= grown < 1.0, f"{name}: {getattr(one, name)} to {getattr(two, name)}"


@contextmanager
def turned(site: Site, device: str) -> Iterator[Turned]:
    found = Turned(site, device)
    (link,) = found.driver.sources
    link.open(found._put)
    try:
        yield found
    finally:
        link.close()
