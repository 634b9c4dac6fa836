"""``event``: a scripted event at a twin, by command while a run goes on."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import Code, InputError, RunFailedError
from schemas.topics import Channel, Topic, client_id
from twinswarm.cli import options
from twinswarm.cli.observing import site_id
from twinswarm.cli.output import Output
from twinswarm.simulation.runs import parse_duration

if TYPE_CHECKING:
    from schemas.site import ScenarioEvent
    from services.monitor.live_site import LiveDevice, LiveSite

ANSWER_S = 10.0
"""Machine time that a twin has to answer."""


class EventType(StrEnum):
    LEAVES = "leaves"
    CLOUD = "cloud"
    OFFLINE = "offline"
    METER = "meter"


class Reads(StrEnum):
    SCALED = "scaled"
    ZERO = "zero"
    STUCK = "stuck"


def event(
    what: Annotated[
        EventType,
        typer.Argument(
            metavar="TYPE",
            help="leaves: the vehicle at a charger leaves; cloud: at a PV plant; offline: a device without power and "
            "connection; meter: a meter lies.",
        ),
    ],
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A twin, such as ev1; network is the PCC meter.")],
    length: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long it lasts, in the run's time.")
    ] = "15min",
    delay: Annotated[
        str | None,
        typer.Option("--in", metavar="DURATION", help="Begins so much later, in the run's time.", show_default="now"),
    ] = None,
    available: Annotated[
        float | None,
        typer.Option(
            "--available",
            metavar="FRACTION",
            help="cloud: what the plant can deliver of what its source offers, 0 to 1.",
            show_default="0.3",
        ),
    ] = None,
    reads: Annotated[Reads | None, typer.Option("--reads", help="meter: what it publishes instead.")] = None,
    factor: Annotated[
        float | None, typer.Option("--factor", help="meter, scaled: factor of power and registers.")
    ] = None,
    site: options.SiteWithDeviceOption = None,
    broker: options.BrokerOption = options.BROKER,
    json: options.JsonOption = None,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
) -> None:
    """Make **something happen** at a twin of a running site, and show its answer.

    It needs a run in wall time (`--speed`); for lock-step there is `--scenario`. Neither forecast nor EMS is warned. A
    real device does not answer: nothing can happen to it by command. On a broker with an access list only the clock may
    write events: its certificate or password is needed.

    Examples:
        twinswarm event leaves ev1
        twinswarm event cloud pv --available 0.2 --for 30min
        twinswarm event offline bess --in 1h --for 20min
        twinswarm event meter building --reads scaled --factor 1.5 --for 1h
    """
    from broker.mqtt import MqttTransport
    from schemas.messages import Alarm, Stamp
    from schemas.site.scenario import Event
    from schemas.wire import encode
    from services.monitor.live_site import await_answer, look_around, site_with

    output = Output.to(json)
    given = {"available_frac": available, "reads": reads and reads.value, "factor": factor}
    fields = {name: value for name, value in given.items() if value is not None}
    wait = timedelta(0) if delay is None else parse_duration(delay)
    lasts = parse_duration(length)
    named = None if site is None else site_id(site)
    connection = options.connection(broker, cafile, cert, key, username, password_file, named)
    name = secrets.token_hex(6)
    transport = MqttTransport(
        connection.address, client_id(named or "observer", f"event-{name}"), connection.credentials
    )
    try:
        found = look_around(transport, named or "+", time.monotonic, and_on=(Channel.ALARM,))
        live, target = site_with(found, device)
        run, time_base = live.wall_run()
        now = time_base.time_from_t0(datetime.now(UTC))
        begin = now + wait
        times = {"at": begin} if what is EventType.LEAVES else {"start": begin, "end": begin + lasts}
        happening = _checked({"type": what.value, "device": device, **times, **fields}, live, target)
        own = Topic(live.site, target.topic.kind, device, Channel.EVENT)
        message = encode(Stamp(ts=now, run=run, boot=name, seq=1), Event(id=name, event=happening))
        transport.publish(str(own), message)
        answers = Topic(live.site, target.topic.kind, device, Channel.ALARM)
        answer = await_answer(
            transport, answers, lambda body: isinstance(body, Alarm) and body.element == name, time.monotonic, ANSWER_S
        )
    finally:
        transport.close()
    if answer is None:
        why = "is it a twin, and may this client write events on this broker?"
        raise RunFailedError(f"{device} has not answered within {ANSWER_S:g} s: {why}", code=Code.NO_ANSWER)
    assert isinstance(answer, Alarm)
    output.write({"event": happening.model_dump(mode="json"), "answer": answer.model_dump(mode="json")})
    output.console.print(f"{device}: {answer.text}", markup=False, soft_wrap=True)
    if not answer.active:
        raise typer.Exit(1)


def _checked(fields: dict[str, Any], live: "LiveSite", target: "LiveDevice") -> "ScenarioEvent":
    """The event. Raises TwinswarmError when it is none, or cannot happen to this device."""
    from pydantic import TypeAdapter, ValidationError

    from schemas.errors import faults_of
    from schemas.kinds import kinds_with
    from schemas.site import ScenarioEvent

    adapter: TypeAdapter[ScenarioEvent] = TypeAdapter(ScenarioEvent)
    try:
        event = adapter.validate_python(fields)
    except ValidationError as error:
        raise InputError(faults_of(error, "event")) from None
    if target.topic.kind not in (kinds := kinds_with(event)):
        names = [name for name, (topic, _, _) in live.births.items() if topic.kind in kinds]
        what = f"the event {event.type} happens to {', '.join(sorted(names)) or 'no device of this site'}"
        raise InputError.one("DEVICE", what, target.topic.device, code=Code.INVALID)
    if not target.online:
        raise RunFailedError(f"{target.topic.device} is not online at site {live.site}", code=Code.NO_ANSWER)
    return event
