"""Devices as one buys them: one that is not as described, behind a meter and a gauge that are as good as usual."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from runtime.in_memory import InMemoryRun
from schemas.messages import Alarm, Birth, PluggedVehicle, Prediction, Telemetry
from schemas.participant import Json, Outgoing, Participant, Received, Turn
from schemas.site import Charger, Device, Network, Site
from schemas.topics import Channel, Kind, Topic
from schemas.wrapped import Wrapped
from services.clock.lockstep import lockstep_run
from services.history.memory import MemoryHistory, lockstep_info
from services.shadow.participant import PARTED
from sites.loader import load_site
from twin_devices.build import build_twin
from twinswarm.simulation.compose import maker, members
from twinswarm.simulation.runs import course_of

RUN = "20261101T120000.000000Z-0001"
GAIN = 0.01
"""A meter of class 1 (IEC 62053-21) is off by so much at most, always the same way."""
REGISTER_KWH = 0.01
"""Resolution of its registers."""
GAUGE_FRAC = 0.003
"""Standard deviation of a gauge's error; the SOC is then shown in whole percent."""

SHADOWED = ("bess", "ev1")
CHANGE = {"charge_efficiency": 0.95, "discharge_efficiency": 0.95, "capacity_kwh": 0.9}


def site_with_shadows() -> Site:
    """The study's building with one of its chargers, on a busbar: its EMS decides as it would with all of them."""
    whole = load_site("fit_g2v")
    devices = {
        name: whole.devices[name].model_copy(update={"node": None, "shadow": name in SHADOWED})
        for name in ("bess", "ev1", "pv", "building")
    }
    return whole.model_copy(update={"devices": devices, "network": Network()})


def altered(site: Site, device: str, parameter: str) -> Site:
    """The site with a device that is not as it should be."""
    spec: Device = site.devices[device]
    if isinstance(spec, Charger) and parameter == "capacity_kwh":
        cars = [car.model_copy(update={parameter: car.capacity_kwh * CHANGE[parameter]}) for car in spec.daily]
        changed: Device = spec.model_copy(update={"daily": tuple(cars)})
    else:
        changed = spec.model_copy(update={parameter: getattr(spec, parameter) * CHANGE[parameter]})
    return site.model_copy(update={"devices": {**site.devices, device: changed}})


@dataclass(frozen=True)
class Fault:
    device: str
    parameter: str


class AsBought(Wrapped[Participant]):
    """A twin whose nameplate is ``described``'s, seen through its meter and its gauge."""

    def __init__(self, real: Site, described: Site, device: str, seed: int) -> None:
        super().__init__(build_twin(real, device))
        self._described = build_twin(described, device)
        spec = described.devices[device]
        self._stated_kwh = spec.daily[0].capacity_kwh if isinstance(spec, Charger) else None
        self._random = random.Random(seed)
        self._gain = 1.0 + self._random.uniform(-GAIN, GAIN)

    def birth(self) -> Birth:
        return self._described.birth()

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        return [self._seen(each) for each in self.inner.act(turn, inbox)]

    def snapshot(self) -> Json:
        raise AssertionError("it lives once")

    def restore(self, state: Json) -> None:
        raise AssertionError("it lives once")

    def _seen(self, outgoing: Outgoing) -> Outgoing:
        body = outgoing.body
        return Outgoing(outgoing.topic, self.measured(body)) if isinstance(body, Telemetry) else outgoing

    def measured(self, body: Telemetry) -> Telemetry:
        """Telemetry as its meter and its gauge show it."""
        assert body.energy_import_kwh is not None and body.energy_export_kwh is not None
        seen: dict[str, object] = {
            "power_kw": body.power_kw * self._gain,
            "energy_import_kwh": self._register(body.energy_import_kwh),
            "energy_export_kwh": self._register(body.energy_export_kwh),
            "segments": None,
        }
        if isinstance(body.plugged, PluggedVehicle):
            # The car states the capacity that it had when it was new.
            shown = {"soc_frac": self._soc(body.plugged.soc_frac), "capacity_kwh": self._stated_kwh}
            seen["vehicle"] = body.plugged.model_copy(update=shown)
        elif body.stored_frac is not None:
            seen["soc_frac"] = self._soc(body.stored_frac)
        return body.model_copy(update=seen)

    def _register(self, kwh: float) -> float:
        return math.floor(kwh * self._gain / REGISTER_KWH) * REGISTER_KWH

    def _soc(self, soc_frac: float | None) -> float | None:
        if soc_frac is None:
            return None
        return min(max(round(soc_frac + self._random.gauss(0.0, GAUGE_FRAC), 2), 0.0), 1.0)


@dataclass(frozen=True)
class Watched:
    """What the shadows of a run said."""

    t0: datetime
    alarms: tuple[tuple[datetime, Alarm], ...]
    last: Mapping[str, Prediction]
    history: MemoryHistory


def live(site: Site, length: timedelta, fault: Fault | None, seed: int) -> Watched:
    """A run in lock-step in which the EMS plans with what it is shown."""
    return live_beside(site, site if fault is None else altered(site, fault.device, fault.parameter), length, seed)


def live_beside(site: Site, real: Site, length: timedelta, seed: int) -> Watched:
    """The same with the devices of ``real``, of which ``site`` is the description."""
    participants: list[Participant] = []
    for place, name in enumerate(name for name in members(site) if name != "recorder"):
        if name in SHADOWED:
            participants.append(AsBought(real, site, name, 1000 * seed + place))
        else:
            participants.append(maker(site, name)())
    alarms: list[tuple[datetime, Alarm]] = []
    last: dict[str, Prediction] = {}

    messages: list[Received] = []

    def heard(received: Received) -> None:
        messages.append(received)
        if isinstance(received.body, Prediction):
            last[received.body.device] = received.body
        elif isinstance(received.body, Alarm) and received.body.code == PARTED:
            alarms.append((received.stamp.ts, received.body))

    course = course_of(site, date(2024, 5, 17), length)
    announced = Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)
    begun = lockstep_run(course, datetime(2026, 11, 1, 12, tzinfo=UTC))
    InMemoryRun(participants, course, RUN, (announced, begun), None, heard).advance(course.last_cycle)
    info = lockstep_info(RUN, site, course.t0, course.t_end, course.step_s, begun.wall0)
    return Watched(course.t0, tuple(alarms), last, MemoryHistory(info, site, messages))
