"""Announces the devices of a site to Home Assistant, takes away what is gone, and asks the EMS for what persons set."""

import json
import logging
from collections.abc import Callable
from datetime import datetime

from broker.transport import Delivery, Transport, Will
from runtime.life import Life
from schemas.errors import RemoteMessageError
from schemas.messages import Birth, Plan, Run, RunId, TimeMode
from schemas.participant import Outgoing
from schemas.roles import HOME_ASSISTANT, home_commands
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import decode
from services.homeassistant.discovery import PREFIX, config_topic, discovered, ems_payload, is_of_site, payload
from services.homeassistant.panel import Panel, own_state
from services.homeassistant.removal import LISTEN_S

LOG = logging.getLogger(__name__)
RENEWED = 4
"""A request is repeated so often while it holds."""


class Asking:
    """Carries what a panel asks to the EMS, as the operator ``homeassistant``, in the run in wall time that goes on."""

    def __init__(self, site: str, transport: Transport, panel: Panel, new_boot: Callable[[], str]) -> None:
        self.panel = panel
        self._transport, self._new_boot = transport, new_boot
        self._topic = Topic(site, Kind.OPERATOR, HOME_ASSISTANT, Channel.REQUEST)
        self._run: tuple[RunId, Run] | None = None
        self._life: Life | None = None
        self._sent: tuple[datetime, object] | None = None
        """When by the machine's clock, and what; None: nothing yet in this run, not even that nothing is asked."""

    def follow(self, run_id: RunId | None, run: Run) -> None:
        """The clock announces a run; a new one begins with the EMS deciding everywhere."""
        known = None if self._run is None else self._run[0]
        if run_id is None or (known is not None and run_id < known):
            return
        self._run = (run_id, run)
        if run_id != known:
            self._life, self._sent = Life(self._new_boot(), run_id), None
            self.panel.release("a new run began")

    def time(self, machine: datetime) -> datetime | None:
        """The run's time; None: no run in wall time goes on."""
        if self._run is None:
            return None
        run = self._run[1]
        t = run.time_from_t0(machine)
        over = run.ended is not None or (run.t_end is not None and t >= run.t_end)
        return None if run.mode is not TimeMode.WALL or over else t

    def look(self, machine: datetime) -> None:
        """Asks, when something changed or is to be repeated. The first request takes back those of earlier lives."""
        t = self.time(machine)
        if t is None or self._life is None or self._run is None:
            return
        self.panel.look(t)
        pace = self._run[1].pace
        request = self.panel.request(t, pace)
        asked = (request.setpoints, request.standby_until)
        period = (request.valid_until - request.valid_from) / pace / RENEWED
        if (
            self._sent is not None
            and self._sent[1] == asked
            and not (self.panel.asks and machine - self._sent[0] >= period)
        ):
            return
        self._sent = machine, asked
        self._transport.publish(str(self._topic), self._life.encode(Outgoing(self._topic, request), t), retain=True)


class Announcer:
    """Keeps one retained discovery payload for each device that has a birth, and none for any other of this site.

    A birth that is withdrawn (an empty retained message) takes the device away, as does a device that has none when
    this begins and was announced before. ``panel``: what persons may set; None: nothing. Who reads the machine's clock
    and names lives is handed in.
    """

    def __init__(
        self,
        site: str,
        transport: Transport,
        prefix: str = PREFIX,
        *,
        panel: Panel | None = None,
        now: Callable[[], datetime] | None = None,
        new_boot: Callable[[], str] = lambda: "homeassistant",
    ) -> None:
        self._site, self._transport, self._prefix = site, transport, prefix
        self._asking = None if panel is None or now is None else Asking(site, transport, panel, new_boot)
        self._now = now
        self._announced: dict[str, bytes] = {}
        """By discovery topic, what stands there."""
        self._wanted: dict[str, bytes] = {}
        self._states: dict[str, str] = {}
        """By topic, what Home Assistant was given to show."""

    @property
    def devices(self) -> int:
        """How many are announced."""
        return len(self._wanted)

    def connect(self) -> None:
        """Raises BrokerUnreachableError."""
        filters = [topic_filter(self._site, channel=Channel.BIRTH), discovered(self._prefix)]
        if self._asking is None:
            self._transport.connect(filters)
            return
        filters += [
            topic_filter(self._site, Kind.CLOCK, channel=Channel.RUN),
            topic_filter(self._site, Kind.EMS, channel=Channel.PLAN),
            home_commands(self._site),
            f"{self._prefix}/status",
        ]
        self._transport.connect(filters, Will(own_state(self._site), b"offline"))
        self._transport.publish(own_state(self._site), b"online", retain=True)

    def serve(self, stopped: Callable[[], bool], monotonic: Callable[[], float]) -> None:
        """Until ``stopped``. What was announced stays: a device that is gone is unavailable by its state."""
        begun = monotonic()
        cleaned = False
        while not stopped():
            self._receive(0.2)
            if not cleaned and monotonic() - begun >= LISTEN_S:
                cleaned = True
                self._remove([topic for topic in self._announced if topic not in self._wanted])
            self._show()
        if self._asking is not None and self._now is not None:
            self._asking.panel.release("Home Assistant is no longer served")
            self._asking.look(self._now())
            self._show()
            self._transport.publish(own_state(self._site), b"offline", retain=True)
            self._transport.flush(10.0)

    def _show(self) -> None:
        """Repeats what is asked in time, and shows what is set."""
        if self._asking is None or self._now is None:
            return
        self._asking.look(self._now())
        for topic, text in self._asking.panel.states.items():
            if self._states.get(topic) != text:
                self._states[topic] = text
                self._transport.publish(topic, text.encode(), retain=True)

    def _receive(self, seconds: float) -> None:
        delivery = self._transport.receive(seconds)
        if delivery is None:
            return
        self._transport.acknowledge(delivery)
        if delivery.topic.startswith(f"{self._prefix}/device/"):
            if delivery.payload and is_of_site(delivery.topic, self._prefix, self._site):
                self._announced[delivery.topic] = delivery.payload
            else:
                self._announced.pop(delivery.topic, None)
            return
        if not delivery.topic.startswith("twin/"):
            self._of_home_assistant(delivery)
            return
        try:
            self._hear(Topic.parse(delivery.topic), delivery.payload)
        except RemoteMessageError as error:
            LOG.warning("a message is not of the contract: %s", error)

    def _of_home_assistant(self, delivery: Delivery) -> None:
        """A command, or that Home Assistant has come or gone: without it nobody could take anything back."""
        if self._asking is None or self._now is None:
            return
        asking, machine = self._asking, self._now()
        if delivery.topic == f"{self._prefix}/status":
            if delivery.payload == b"offline":
                asking.panel.release("Home Assistant is gone")
                asking.look(machine)
            return
        asking.panel.command(delivery.topic, delivery.payload, asking.time(machine), retained=delivery.retained)
        asking.look(machine)

    def _hear(self, topic: Topic, content: bytes) -> None:
        stamp, body = decode(topic, content) if content else (None, None)
        if self._asking is not None and isinstance(body, Run) and stamp is not None:
            self._asking.follow(stamp.run, body)
        elif self._asking is not None and isinstance(body, Plan):
            self._asking.panel.hear(body)
        elif topic.channel is Channel.BIRTH:
            self._announce(topic, body if isinstance(body, Birth) else None)

    def _announce(self, topic: Topic, birth: Birth | None) -> None:
        where = config_topic(self._prefix, self._site, topic.device)
        found = None if birth is None else payload(topic, birth)
        if self._asking is not None:
            if birth is None:
                self._asking.panel.forget(topic.device)
            elif topic.kind is Kind.EMS:
                found = ems_payload(topic, birth)
            else:
                self._asking.panel.meet(topic.device, birth)
                found = payload(topic, birth, commands=True)
        if found is None:
            if self._wanted.pop(where, None) is not None:
                self._remove([where])
            return
        text = json.dumps(found, ensure_ascii=False).encode()
        if self._wanted.get(where) != text:
            self._wanted[where] = text
            self._transport.publish(where, text, retain=True)

    def _remove(self, topics: list[str]) -> None:
        for topic in topics:
            self._announced.pop(topic, None)
            self._transport.publish(topic, b"", retain=True)
