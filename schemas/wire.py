"""Message to bytes and back: JSON, one flat object of the stamp's and the body's fields."""

import json
from functools import cache
from typing import Any, Literal, cast

from pydantic import ValidationError, create_model

from schemas.errors import Code, RemoteMessageError, faults_of, shorten
from schemas.kinds import DEVICES
from schemas.messages import (
    CONTRACT,
    Ack,
    Alarm,
    Birth,
    Body,
    DecisionRecord,
    Done,
    Earnings,
    Limit,
    Metric,
    NetworkTelemetry,
    Plan,
    Prediction,
    Receipt,
    Reject,
    Request,
    Run,
    Series,
    Setpoint,
    Stamp,
    State,
    Telemetry,
    Tick,
)
from schemas.messages.birth import DeviceNameplate, MeterNameplate, ServiceNameplate
from schemas.site.scenario import Event
from schemas.topics import Channel, Kind, Topic

MAX_PAYLOAD_BYTES = 512 * 1024
"""A larger payload is a dead letter unread; Mosquitto's `message_size_limit` is set to the same."""

BODIES: dict[Channel, type[Body]] = {
    Channel.BIRTH: Birth,
    Channel.STATE: State,
    Channel.RUN: Run,
    Channel.SERIES: Series,
    Channel.LIMIT: Limit,
    Channel.REQUEST: Request,
    Channel.EVENT: Event,
    Channel.SETPOINT: Setpoint,
    Channel.ACK: Ack,
    Channel.PLAN: Plan,
    Channel.DECISION: DecisionRecord,
    Channel.PREDICTION: Prediction,
    Channel.EARNINGS: Earnings,
    Channel.TICK: Tick,
    Channel.DONE: Done,
    Channel.RECEIPT: Receipt,
    Channel.ALARM: Alarm,
    Channel.METRIC: Metric,
    Channel.REJECT: Reject,
}
TELEMETRY: dict[Kind, type[Telemetry]] = {
    **{kind: parts.telemetry for kind, parts in DEVICES.items()},
    Kind.NETWORK: NetworkTelemetry,
}


_STAMPED = set(Stamp.model_fields)


def body_type(kind: Kind, channel: Channel) -> type[Body]:
    """The class of a topic's content. Raises RemoteMessageError for telemetry of a kind that has no power."""
    if channel is not Channel.TELEMETRY:
        return BODIES[channel]
    try:
        return TELEMETRY[kind]
    except KeyError:
        raise RemoteMessageError(f"a participant of kind {kind} sends no telemetry", code=Code.TOPIC) from None


@cache
def wire_type(body: type[Body]) -> type[Body]:
    """The body's class with the stamp's fields: what is validated on arrival, and what the JSON Schema is made of."""
    # The last base's configuration wins: the body decides whether unknown fields are refused.
    bases: Any = (Stamp, body)
    version: Any = (Literal[CONTRACT], ...)  # required on the wire, though a default in the stamp
    create: Any = create_model
    return cast(type[Body], create(f"{body.__name__}Message", __base__=bases, __doc__=body.__doc__, contract=version))


def encode(stamp: Stamp, body: Body) -> bytes:
    """One flat JSON object, fields that are None left out."""
    # What was decoded is stamp and body in one object.
    head = stamp.model_dump_json(exclude_none=True, include=_STAMPED)
    content = body.model_dump_json(exclude_none=True, exclude=_STAMPED)
    return f"{head[:-1]}{',' if len(content) > len('{}') else ''}{content[1:]}".encode()


def _contract_of(payload: bytes) -> Any:
    """The version that a message says it is of; None where it says none or is no JSON object."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return message.get("contract") if isinstance(message, dict) else None


def nameplate_type(kind: Kind) -> type[DeviceNameplate]:
    """The nameplate of a participant of this kind."""
    if kind is Kind.NETWORK:
        return MeterNameplate
    return DEVICES[kind].nameplate if kind in DEVICES else ServiceNameplate


def _check_kind(topic: Topic, birth: Birth) -> None:
    expected = nameplate_type(topic.kind)
    if not isinstance(birth.nameplate, expected):
        name = expected.model_fields["type"].default
        raise RemoteMessageError(
            f"{topic}: nameplate.type: allowed for kind {topic.kind} is {name} (received {birth.nameplate.type})"
        )


def decode(topic: Topic, payload: bytes) -> tuple[Stamp, Body]:
    """Validates at the door. Raises RemoteMessageError naming topic, field, value and rule.

    The returned stamp and body are one object, which is both.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RemoteMessageError(
            f"{topic}: {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed", code=Code.SIZE
        )
    model = wire_type(body_type(topic.kind, topic.channel))
    try:
        message = model.model_validate_json(payload)
    except ValidationError as error:
        if (spoken := _contract_of(payload)) not in (None, CONTRACT):
            raise RemoteMessageError(
                f"{topic}: this message is of contract {shorten(spoken)}; contract {CONTRACT} is spoken here",
                code=Code.CONTRACT,
            ) from None
        faults = faults_of(error, str(topic))
        more = f" (and {len(faults) - 3} more faults)" if len(faults) > 3 else ""
        raise RemoteMessageError("; ".join(str(fault) for fault in faults[:3]) + more) from None
    assert isinstance(message, Stamp)
    if isinstance(message, Birth):
        _check_kind(topic, message)
    return message, message
