"""Messages as points in InfluxDB's line protocol; pure functions. The schema is told in ``docs/history.md``.

Every message becomes one point: measurement ``{kind}_{channel}``, tags site, device, kind and run, its content as typed
fields for whoever looks, and the whole payload in the field ``json``, from which it reads back to the last bit. A plan
and a series become points at the steps that they are about, besides.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from functools import cache

from pydantic import BaseModel

from schemas.messages import Plan, Series, Stamp
from schemas.participant import Received
from schemas.topics import Channel, Kind
from services.history.store import to_us

PLAN_STEP = "plan_step"
SERIES_STEP = "series_step"
RUN = "run"
DEAD_LETTER = "dead_letter"
SPOOL = "recorder_spool"
RUN_FIELDS = (
    *("label", "mode", "step_s", "t0_us", "t_end_us", "cycle", "up_to_us", "started_us", "ended_us"),
    "stray",
)
"""Fields of a run in a list of runs, which is read without their sites."""
PART_CHARACTERS = 200_000
"""Of a text in one field. InfluxDB refuses a field above 1 MiB, and a character takes up to four bytes."""
TAGS = ("device", "kind", "run", "site")
"""Nothing that varies per message: every value of a tag is a series of its own."""

_KEY = re.compile(r"[^\w.-]")
_LINE_BREAK = re.compile(r"[\r\n]")
_OF_STAMP = frozenset(Stamp.model_fields)
_IN_JSON_ALONE = frozenset({"segments", "snapshot"})
_STEP_VALUES = ("load_kw", "pcc_kw", "losses_kw", "purchase_price_eur_per_kwh", "sale_price_eur_per_kwh")

Scalar = bool | int | float | str


def measurement(kind: Kind | str, channel: Channel | str) -> str:
    return f"{kind}_{channel}"


def message_points(received: Received, payload: str, run: str, cycle: int | None, point_ns: int) -> Iterator[str]:
    """The points of a message of ``run``: its own at ``point_ns`` [ns since 1970], then a plan's or series' steps.

    ``payload`` is the message verbatim.
    """
    topic, stamp, body = received.topic, received.stamp, received.body
    fields: dict[str, Scalar] = {"boot": stamp.boot, "seq": stamp.seq, "ts_us": to_us(stamp.ts)}
    if cycle is not None:
        fields["cycle"] = cycle
    for name in _content(type(body)):
        value = getattr(body, name)
        # Of a plan and a series the steps are points of their own, or only in the JSON.
        if topic.channel is not Channel.PLAN or not isinstance(value, tuple | dict):
            fields.update(_flat(f"about_{name}" if name in TAGS else name, value))
    fields["json"] = payload
    yield line(measurement(topic.kind, topic.channel), (topic.device, topic.kind, run, topic.site), fields, point_ns)
    if isinstance(body, Plan):
        yield from _plan_steps(received, body, run)
    if isinstance(body, Series):
        yield from _series_steps(received, body, run)


def _series_steps(received: Received, body: Series, run: str) -> Iterator[str]:
    """At each step's start what is announced for it, under the device that it is about, or the sender's."""
    topic = received.topic
    for series in body.series:
        tags = (series.device or topic.device, topic.kind, run, topic.site)
        start_us = to_us(series.start)
        for index, value in enumerate(series.values):
            fields: dict[str, Scalar] = {str(series.quantity): value, "step_s": series.step_s}
            yield line(SERIES_STEP, tags, fields, (start_us + index * series.step_s * 1_000_000) * 1000)


def _plan_steps(received: Received, plan: Plan, run: str) -> Iterator[str]:
    """At each step's start what is planned for it, so that of two plans the later one stands."""
    topic = received.topic
    start_us = to_us(plan.start)
    columns: dict[str, dict[str, tuple[float | None, ...]]] = {
        topic.device: {name: values for name in _STEP_VALUES if (values := getattr(plan, name)) is not None}
    }
    for device, planned in sorted(plan.devices.items()):
        columns[device] = {"power_kw": planned.power_kw}
        if planned.soc_frac is not None:
            columns[device]["soc_frac"] = planned.soc_frac
    for device, values in columns.items():
        tags = (device, topic.kind, run, topic.site)
        for index in range(max(map(len, values.values()), default=0)):
            fields: dict[str, Scalar] = {
                name: value
                for name, column in values.items()
                if index < len(column) and (value := column[index]) is not None
            }
            if device == topic.device and index == 0:
                fields |= _outside_limits(plan)
            if fields:
                fields["step_s"] = plan.step_s
                yield line(PLAN_STEP, tags, fields, (start_us + index * plan.step_s * 1_000_000) * 1000)


def _outside_limits(plan: Plan) -> dict[str, Scalar]:
    """The strictest limits from outside at the PCC in the plan's first step: what is known of later ones may change."""
    at_pcc = [limit for limit in plan.limits if limit.group is None]
    ways = {
        "outside_import_kw": [limit.import_kw for limit in at_pcc],
        "outside_export_kw": [limit.export_kw for limit in at_pcc],
    }
    first = {name: [kw[0] for kw in limits if kw and kw[0] is not None] for name, limits in ways.items()}
    return {name: min(values) for name, values in first.items() if values}


def run_point(run: str, site: str, row: dict[str, object], at_us: int, *, whole: bool) -> str:
    """The row of a run in the history: what is looked for in fields of their own, and all of it if ``whole``."""
    fields: dict[str, Scalar] = {name: value for name in RUN_FIELDS if isinstance(value := row[name], int | str)}
    fields |= _limits(json.loads(str(row["site_json"])))
    if whole:
        fields |= in_parts(json.dumps(row, ensure_ascii=False, sort_keys=True))
    return line(RUN, ("recorder", Kind.RECORDER, run, site), fields, at_us * 1000)


def in_parts(text: str) -> dict[str, Scalar]:
    """Text of any length as fields ``json``, ``json_2``, … of a point, with their number in ``json_parts``."""
    parts = [text[first : first + PART_CHARACTERS] for first in range(0, len(text), PART_CHARACTERS)] or [""]
    fields: dict[str, Scalar] = {"json_parts": len(parts)}
    return fields | {part_name(number): part for number, part in enumerate(parts, 1)}


def part_name(number: int) -> str:
    return "json" if number == 1 else f"json_{number}"


def _limits(site: dict[str, dict[str, float] | None]) -> dict[str, Scalar]:
    """The values of a site's description that a chart draws as limits."""
    names = {"connection": ("import_limit_kw", "export_limit_kw"), "network": ("voltage_min_pu", "voltage_max_pu")}
    parts = ((site.get(part) or {}, limits) for part, limits in names.items())
    return {limit: float(part[limit]) for part, limits in parts for limit in limits if limit in part}


def dead_letter_point(run: str, site: str, letter: dict[str, Scalar], point_ns: int) -> str:
    whole = json.dumps(letter, ensure_ascii=False, sort_keys=True)
    return line(DEAD_LETTER, ("recorder", Kind.RECORDER, run, site), {**letter, "json": whole}, point_ns)


def spool_point(site: str, waiting: int, quarantined: int, now: datetime) -> str:
    """State of the forwarder; of no run."""
    fields: dict[str, Scalar] = {"waiting": waiting, "quarantined": quarantined}
    return line(SPOOL, ("recorder", Kind.RECORDER, "none", site), fields, to_us(now) * 1000)


def line(name: str, tags: tuple[str, ...], fields: dict[str, Scalar], time_ns: int) -> str:
    """One line of the protocol. ``tags`` are the values of `TAGS`; neither they nor ``name`` need to be escaped.

    A line break in text becomes a space: InfluxDB's CSV does not keep them. In JSON none stands within a value.
    """
    pairs = ",".join(f"{_KEY.sub('_', key)}={_literal(value)}" for key, value in fields.items())
    told = ",".join(f"{tag}={value}" for tag, value in zip(TAGS, tags, strict=True))
    return f"{name},{told} {pairs} {time_ns}"


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)  # the shortest text that reads back equal
    text = _LINE_BREAK.sub(" ", value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


@cache
def _content(body: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name in body.model_fields if name not in _OF_STAMP | _IN_JSON_ALONE)


def _flat(name: str, value: object) -> Iterator[tuple[str, Scalar]]:
    """A value as fields: what is nested as ``outer_inner``, a few numbers as ``name_1``, ``name_2``.

    Lists of anything but numbers are in the JSON alone.
    """
    if value is None:
        return
    if isinstance(value, Enum):
        yield name, str(value.value)
    elif isinstance(value, bool | int | float | str):
        yield name, value
    elif isinstance(value, datetime):
        yield name, value.isoformat()
    elif isinstance(value, timedelta):
        yield name, value.total_seconds()
    elif isinstance(value, BaseModel):
        for inner in type(value).model_fields:
            yield from _flat(f"{name}_{inner}", getattr(value, inner))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}_{key}", inner)
    elif isinstance(value, tuple) and all(isinstance(item, float) for item in value):
        for place, item in enumerate(value, 1):
            yield f"{name}_{place}", item
