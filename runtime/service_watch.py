"""The dead-man's alarm, in wall time: EMS and recorder watch the services of the site, and each other.

A service that is stopped (SIGSTOP), stuck in a computation or starved keeps its connection, so its last will says
nothing. Its heartbeat does: the `metric` that its birth promises every so often. Whoever is silent for three of these
is named by the alarm ``service_silent``, and so is whoever said goodbye or died that long ago, until it is heard again.

What counts is when a message arrives, by the machine's time of the run loop, for the beats do not follow the run's.
While the watcher itself was away, or had no connection, nothing could arrive; that time does not count. In lock-step
the barrier says who is there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Alarm, Birth, Presence, RunId, Severity, State
from schemas.participant import Json, Participant, Received
from schemas.presence import HEARTBEAT_S, WATCHES, silent_service_s
from schemas.topics import Channel, Kind, Topic, topic_filter

SERVICE_SILENT = "service_silent"
"""Code of the alarm."""
AWAY_S = 5.0
"""A watcher that did not look for so much machine time was away itself. It looks several times a second."""
_CRITICAL = frozenset({Kind.EMS, Kind.RECORDER})
"""Without an EMS devices follow their fallback; without a recorder nothing is stored. A run goes on without a clock."""


@dataclass(slots=True)
class _Service:
    """A service that took part in this run. ``heard``: machine time of its last sign of life, as far as it counts."""

    topic: Topic
    heard: datetime
    heartbeat_s: float | None = None
    """By its birth; None: it has none, and only what it says of its state counts."""
    goodbye: State | None = None
    alarmed: bool = False

    @property
    def limit_s(self) -> float:
        return silent_service_s(self.heartbeat_s or HEARTBEAT_S)

    def silence(self, now: datetime) -> str | None:
        """Why it counts as silent; None: it does not."""
        silent_s = (now - self.heard).total_seconds()
        if silent_s <= self.limit_s or (self.heartbeat_s is None and self.goodbye is None):
            return None
        if self.goodbye is not None:
            reason = "" if self.goodbye.reason is None else f" ({self.goodbye.reason})"
            return f"it has been {self.goodbye.state}{reason} for {silent_s:.0f} s"
        return f"nothing has come for {silent_s:.0f} s, though its heartbeat is {self.heartbeat_s:g} s"


class ServiceWatch:
    """What one participant knows of the services that it watches. Most watch none, and pay nothing for it."""

    def __init__(self, participant: Participant) -> None:
        self._kinds = WATCHES.get(participant.kind, ())
        self._site = participant.site
        self._services: dict[tuple[Kind, str], _Service] = {}
        self._looked: datetime | None = None

    @property
    def subscriptions(self) -> tuple[str, ...]:
        channels = (Channel.BIRTH, Channel.STATE, Channel.METRIC)
        return tuple(topic_filter(self._site, kind, channel=channel) for kind in self._kinds for channel in channels)

    def clear(self) -> None:
        """A new run begins: who takes part in it is not known yet."""
        self._services.clear()

    def hear(self, received: Received, run: RunId | None, now: datetime, *, retained: bool) -> None:
        """Takes a message in. Of another run it says nothing about this one, and neither does an old one without."""
        topic, stamp, body = received.topic, received.stamp, received.body
        if topic.kind not in self._kinds or (stamp.run != run and (retained or stamp.run is not None)):
            return
        service = self._services.setdefault((topic.kind, topic.device), _Service(topic, now))
        if isinstance(body, Birth):
            service.heartbeat_s = body.heartbeat_s
        if isinstance(body, State):
            service.goodbye = None if body.state is Presence.ONLINE else body
        if not retained and service.goodbye is None:
            service.heard = now

    def look(self, now: datetime, *, connected: bool) -> list[Alarm]:
        """The alarms that begin or end now."""
        looked, self._looked = self._looked or now, now
        if not connected or now - looked > timedelta(seconds=AWAY_S):
            for service in self._services.values():
                service.heard += now - looked
            return []
        return [alarm for service in self._services.values() if (alarm := self._change(service, now)) is not None]

    @staticmethod
    def _change(service: _Service, now: datetime) -> Alarm | None:
        silence = service.silence(now)
        if (silence is not None) == service.alarmed:
            return None
        service.alarmed = silence is not None
        name = service.topic.device
        return Alarm(
            code=SERVICE_SILENT,
            severity=Severity.CRITICAL if service.topic.kind in _CRITICAL else Severity.WARNING,
            active=service.alarmed,
            device=name,
            value=(now - service.heard).total_seconds(),
            limit=service.limit_s,
            text=f"the {service.topic.kind} {name} is silent: {silence}" if silence else f"over: {name} is heard again",
        )

    def snapshot(self) -> Json:
        """Whose alarm stands: a watcher that is started again ends it."""
        return [
            [kind, device, service.heard.isoformat(), service.heartbeat_s or HEARTBEAT_S]
            for (kind, device), service in self._services.items()
            if service.alarmed
        ]

    def restore(self, state: Json) -> None:
        for kind, device, heard, heartbeat_s in state:
            topic = Topic(self._site, Kind(kind), device, Channel.STATE)
            service = _Service(topic, datetime.fromisoformat(heard), heartbeat_s, alarmed=True)
            self._services[topic.kind, device] = service
