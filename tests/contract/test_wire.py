"""Messages to bytes and back: exact for good ones, a clear error for every bad one."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Code, RemoteMessageError
from schemas.examples import examples
from schemas.messages import BessTelemetry, Body, EmsMode, Plan, PlanStatus, Segment, Shortfall, ShortfallKind, Stamp
from schemas.topics import Channel, Kind, Topic
from schemas.wire import MAX_PAYLOAD_BYTES, body_type, decode, encode
from tests.errors import raises

T = datetime(2024, 5, 17, 7, 15, tzinfo=UTC)
BESS = Topic("s", Kind.BESS, "bess", Channel.TELEMETRY)
STAMP = Stamp(ts=T, run="20240516T220000.000000Z-5f0c", boot="b-1", seq=3)


def _fields_of(body: Body, message: Body) -> dict[str, Any]:
    return {name: getattr(message, name) for name in type(body).model_fields}


@pytest.mark.parametrize(("topic", "stamp", "body"), examples(), ids=lambda value: str(value)[:60])
def test_message_comes_back_as_it_was_sent(topic: Topic, stamp: Stamp, body: Body) -> None:
    got_stamp, got_body = decode(topic, encode(stamp, body))
    assert Stamp.model_validate({name: getattr(got_stamp, name) for name in Stamp.model_fields}) == stamp
    assert _fields_of(body, got_body) == {name: getattr(body, name) for name in type(body).model_fields}
    assert isinstance(got_body, type(body))


@pytest.mark.parametrize("kind", ShortfallKind)
@pytest.mark.parametrize(("device", "element"), [("ev1", None), (None, "MB-EV1"), (None, None)])
def test_a_plan_with_a_shortfall_comes_back_as_it_was_sent(
    kind: ShortfallKind, device: str | None, element: str | None
) -> None:
    missed = Shortfall(kind=kind, device=device, element=element, at=T, kwh=1.5, eur=7.5)
    plan = Plan(
        epoch=1,
        mode=EmsMode.CONTROL,
        status=PlanStatus.OPTIMAL,
        start=T,
        step_s=900,
        objective_eur=1.0,
        shortfalls=(missed,),
    )
    _, body = decode(Topic("s", Kind.EMS, "ems", Channel.PLAN), encode(STAMP, plan))
    assert isinstance(body, Plan)
    assert body.shortfalls == (missed,)


@settings(deadline=None, max_examples=200)
@given(
    power=st.floats(-1e6, 1e6),
    register=st.floats(0, 1e12),
    soc=st.floats(0, 1),
    micros=st.integers(0, 10**12),
    pieces=st.lists(st.floats(-1e6, 1e6), max_size=3),
)
def test_floats_and_times_survive_to_the_last_bit(
    power: float, register: float, soc: float, micros: int, pieces: list[float]
) -> None:
    stamp = STAMP.model_copy(update={"ts": T + timedelta(microseconds=micros)})
    body = BessTelemetry(
        power_kw=power,
        energy_import_kwh=register,
        energy_export_kwh=0.0,
        soc_frac=soc,
        segments=tuple(Segment(T + timedelta(seconds=i), p) for i, p in enumerate(pieces)),
    )
    got_stamp, got = decode(BESS, encode(stamp, body))
    assert isinstance(got, BessTelemetry)
    assert (got.power_kw, got.energy_import_kwh, got.soc_frac, got.segments, got_stamp.ts) == (
        power,
        register,
        soc,
        body.segments,
        stamp.ts,
    )
    assert math.copysign(1, got.power_kw) == math.copysign(1, power)


def test_times_of_any_zone_arrive_in_utc() -> None:
    payload = encode(STAMP, BessTelemetry(power_kw=0.0, soc_frac=0.5)).replace(b"07:15:00Z", b"09:15:00+02:00")
    stamp, _ = decode(BESS, payload)
    assert stamp.ts == T
    assert stamp.ts.tzinfo is UTC


def _bess(**changes: str) -> bytes:
    """A telemetry as JSON text, with values of some fields replaced by raw text."""
    fields = {"contract": "2", "ts": '"2024-05-17T07:15:00Z"', "boot": '"b"', "seq": "1"}
    fields |= {"power_kw": "1.0", "soc_frac": "0.5"} | changes
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "JSON"),
    "no JSON": (b"hello", "JSON"),
    "no UTF-8": (_bess(boot='"\xff"').decode().encode("latin-1"), "JSON"),
    "cut off": (_bess()[:-5], "JSON"),
    "a list": (b"[]", "object"),
    "a number": (b"1", "object"),
    "null": (b"null", "object"),
    "nested deeply": (b'{"power_kw":' + b"[" * 100_000, "JSON"),
    "nested deeply in an unknown field": (_bess(x="[" * 100_000 + "]" * 100_000), "JSON"),
    "1 MB": (_bess(x='"' + "a" * 2**20 + '"'), f"at most {MAX_PAYLOAD_BYTES} are allowed"),
    "NaN": (_bess(power_kw="NaN"), "power_kw"),
    "Infinity": (_bess(power_kw="Infinity"), "power_kw"),
    "1e999": (_bess(power_kw="1e999"), "power_kw"),
    "a number in quotes": (_bess(power_kw='"1.0"'), "power_kw"),
    "true for a number": (_bess(power_kw="true"), "power_kw"),
    "too large": (_bess(power_kw="1e7"), "power_kw"),
    "SOC in percent": (_bess(soc_frac="50"), "soc_frac: Input should be less than or equal to 1 (received 50)"),
    "other version": (_bess(contract="1", soc_frac="50"), "is of contract 1; contract 2 is spoken here"),
    "half of the registers": (_bess(energy_import_kwh="1"), "come together or not at all"),
    "no zone": (_bess(ts='"2024-05-17T07:15:00"'), "'2024-05-17T07:15:00' is not a time with its zone"),
    "seconds since 1970": (_bess(ts="1715900000"), "ts"),
    "seconds since 1970 in quotes": (_bess(ts='"1715900000"'), "ts"),
    "no such day": (_bess(ts='"2024-02-30T07:15:00Z"'), "ts"),
    "year 1": (_bess(ts='"0001-01-01T00:00:00+14:00"'), "is not between the years 1971 and 2260"),
    "year 9999": (_bess(ts='"9999-12-31T23:59:59-14:00"'), "is not between the years 1971 and 2260"),
    "negative seq": (_bess(seq="-1"), "seq"),
    "seq with a fraction": (_bess(seq="1.5"), "seq"),
    "huge seq": (_bess(seq="1" + "0" * 5000), "seq"),
    "boot with blanks": (_bess(boot='"a b"'), "boot"),
    "run of another form": (_bess(run='"today"'), "run"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_message_is_the_peers_error_and_told_shortly(name: str) -> None:
    payload, reason = BAD[name]
    with pytest.raises(RemoteMessageError) as caught:
        decode(BESS, payload)
    assert reason in str(caught.value)
    assert str(BESS) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_the_good_message_that_the_bad_ones_are_made_from_is_good() -> None:
    assert decode(BESS, _bess())[0].seq == 1


@settings(deadline=None, max_examples=300)
@given(payload=st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_but_the_peers_error(payload: bytes) -> None:
    with pytest.raises(RemoteMessageError):
        decode(BESS, payload)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KINDS = [(topic, json.loads(encode(stamp, body))) for topic, stamp, body in examples()]


@settings(deadline=None, max_examples=300)
@given(kind=st.sampled_from(_KINDS), data=st.data())
def test_no_value_in_any_field_raises_anything_but_the_peers_error(
    kind: tuple[Topic, dict[str, Any]], data: st.DataObject
) -> None:
    topic, message = kind
    changed = message | {data.draw(st.sampled_from(sorted(message))): data.draw(_json)}
    try:
        decode(topic, json.dumps(changed).encode())
    except RemoteMessageError as error:
        assert str(topic) in str(error)


def test_a_service_sends_no_telemetry() -> None:
    with raises(Code.TOPIC, "ems", kind=RemoteMessageError):
        body_type(Kind.EMS, Channel.TELEMETRY)


def test_many_faults_are_counted_and_three_are_told() -> None:
    with pytest.raises(RemoteMessageError, match=r"\(and 3 more faults\)"):
        decode(BESS, b'{"seq": -2}')
