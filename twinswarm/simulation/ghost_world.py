"""The ghosts of a site as a site of their own: their twins, an EMS, and the real site as a load, in memory.

It has no topic on the bus: whatever its EMS commands stays in this process.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from runtime.in_memory import InMemoryRun
from schemas.cycle import Course
from schemas.messages import (
    Birth,
    EmsMode,
    NetworkTelemetry,
    Phase,
    Plan,
    Segment,
    ServiceNameplate,
    Telemetry,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Participant, Received, Turn, software
from schemas.site import GHOSTS, REAL_SITE, Charger, Connection, ForecastKind, Meter, Network, Site
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import lockstep_run
from services.ghosts.measured_load import MeasuredLoad
from services.ghosts.real_meter import Piece
from services.ghosts.world import Said, StepResult, Worlds
from twin_devices.build import build_network
from twinswarm.simulation.compose import maker
from twinswarm.simulation.variants import Reference, as_reference

_HOUR = timedelta(hours=1)
_COURSE = timedelta(days=36_525)
"""Nothing looks at the end of it."""
_CHANNEL = {Kind.TARIFF: Channel.SERIES, Kind.FORECAST: Channel.SERIES, Kind.LIMITER: Channel.LIMIT}


def ghost_site(site: Site) -> Site:
    """The site of which the ghosts are the only devices, on a busbar without losses."""
    return site.model_copy(
        update={
            "site": f"{site.site[: 31 - len(GHOSTS)]}-{GHOSTS}",
            "devices": {**site.ghosts, REAL_SITE: Meter()},
            "ghosts": {},
            "network": Network(),
            "feeds": {},
            "scenario": (),
            # What the real site will draw is said by the plan of its EMS.
            "forecast": site.forecast.model_copy(update={"kind": ForecastKind.PROFILE}),
            "ems": site.ems.model_copy(update={"mode": EmsMode.CONTROL, "cable_limits": ()}),
        }
    )


def ghost_worlds(site: Site, begin: datetime, step_s: int) -> Worlds:
    """The ghosts under their EMS and, if there are chargers, their vehicles charged on arrival."""
    described = ghost_site(site)
    chargers = any(isinstance(device, Charger) for device in described.devices.values())
    unmanaged = as_reference(described, Reference.UNCONTROLLED) if chargers else None
    return Worlds(
        GhostWorld(described, begin, step_s, managed=True),
        None if unmanaged is None else GhostWorld(unmanaged, begin, step_s, managed=False),
    )


class _Relay:
    """Says among the ghosts what the real services said. It keeps nothing: the listeners do."""

    kind, device = Kind.TARIFF, "relay"

    def __init__(self, site: str) -> None:
        self.site = site
        self.said: Sequence[Said] = ()

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return ()

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {}

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.LOCKSTEP,), software=software())

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        del inbox
        if turn.phase is not Phase.SENSE:
            return []
        said, self.said = self.said, ()
        return [Outgoing(Topic(self.site, kind, device, _CHANNEL[kind]), body) for kind, device, body in said]

    def snapshot(self) -> Json:
        return None

    def restore(self, state: Json) -> None:
        del state


class GhostWorld:
    """See `services.ghosts.world.World`. ``managed``: with an EMS."""

    def __init__(self, site: Site, begin: datetime, step_s: int, *, managed: bool) -> None:
        course = Course(begin, begin + _COURSE // timedelta(seconds=step_s) * timedelta(seconds=step_s), step_s)
        self._connection = site.connection
        self._load, self._relay = MeasuredLoad(site), _Relay(site.site)
        ghosts = [maker(site, name)() for name in sorted(site.devices) if name != REAL_SITE]
        services = [maker(site, name)() for name in ("ems", "forecast")] if managed else []
        participants: list[Participant] = [*ghosts, self._load, build_network(site), self._relay, *services]
        clock = Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)
        run = f"{begin:%Y%m%dT%H%M%S.%fZ}-0000"
        announcement = clock, lockstep_run(course, begin)
        self._run = InMemoryRun(participants, course, run, announcement, on_message=self._look)
        self._cycle = 0
        self._registers = (0.0, 0.0)
        self._devices: dict[str, Telemetry] = {}
        self._plan: Plan | None = None
        self._over_kwh = 0.0

    def step(self, pieces: Sequence[Piece], now_kw: float, said: Sequence[Said]) -> StepResult:
        """See `services.ghosts.world.World.step`."""
        self._load.follow(pieces, now_kw)
        self._relay.said = said
        before, self._devices, self._over_kwh = self._registers, {}, 0.0
        self._cycle += 1
        self._run.advance(self._cycle)
        drawn, given = (now - then for now, then in zip(self._registers, before, strict=True))
        plan = self._plan
        return StepResult(
            max(drawn, 0.0),
            max(given, 0.0),
            self._over_kwh,
            self._devices,
            None if plan is None else plan.status,
            None if plan is None else plan.reason,
        )

    def _look(self, received: Received) -> None:
        body = received.body
        if isinstance(body, NetworkTelemetry):
            self._registers = body.energy_import_kwh or 0.0, body.energy_export_kwh or 0.0
            self._over_kwh = over_kwh(body.segments or (), received.stamp.ts, self._connection)
        elif isinstance(body, Telemetry) and received.topic.device != REAL_SITE:
            self._devices[received.topic.device] = body
        elif isinstance(body, Plan):
            self._plan = body

    def snapshot(self) -> Json:
        return {"cycle": self._cycle, "registers": list(self._registers), "run": self._run.snapshot()}

    def restore(self, state: Json) -> None:
        self._cycle, self._registers = state["cycle"], (state["registers"][0], state["registers"][1])
        self._run.restore(state["run"])


def over_kwh(segments: Sequence[Segment], end: datetime, connection: Connection) -> float:
    """Energy at the PCC beyond what the connection allows [kWh], in segments of which the last ends at ``end``."""
    ends = (*(segment.start for segment in segments[1:]), end)[: len(segments)]
    most, least = connection.import_limit_kw, -connection.export_limit_kw
    return sum(
        max(each.power_kw - most, least - each.power_kw, 0.0) * ((until - each.start) / _HOUR)
        for each, until in zip(segments, ends, strict=True)
    )
