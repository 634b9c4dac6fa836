"""Lines by hand, from the line protocol's reference (InfluxDB 2.7, "Line protocol")."""

from datetime import UTC, datetime

import pytest

from schemas.examples import RUN, SITE, T, examples
from schemas.messages import BessTelemetry, Metric, Plan, PlannedLimit, Stamp
from schemas.participant import Received
from schemas.topics import BARRIER, Channel, Kind, Topic
from schemas.wire import encode
from services.influx.points import TAGS, line, message_points

NS = 1_715_930_100_000_000_000
"""2024-05-17T07:15:00Z."""


def points(channel: Channel, kind: Kind | None = None) -> list[str]:
    (found,) = [e for e in examples() if e[0].channel is channel and kind in (None, e[0].kind)]
    _, stamp, body = found
    return list(message_points(Received(*found), encode(stamp, body).decode(), RUN, 38, NS))


def test_telemetry_is_one_line_with_typed_fields_tags_that_never_vary_and_the_message_whole() -> None:
    topic = Topic("house", Kind.BESS, "bess", Channel.TELEMETRY)
    stamp = Stamp(ts=datetime(2024, 5, 17, 7, 15, tzinfo=UTC), run=RUN, boot="b", seq=38)
    body = BessTelemetry(power_kw=4, energy_import_kwh=0.1 + 0.2, energy_export_kwh=3.0, soc_frac=0.61)
    assert list(message_points(Received(topic, stamp, body), '{"power_kw":4}', RUN, 38, NS)) == [
        f"bess_telemetry,device=bess,kind=bess,run={RUN},site=house "
        'boot="b",seq=38i,ts_us=1715930100000000i,cycle=38i,power_kw=4.0,energy_import_kwh=0.30000000000000004,'
        f'energy_export_kwh=3.0,soc_frac=0.61,json="{{\\"power_kw\\":4}}" {NS}'
    ]


def test_what_is_nested_is_flattened_with_its_units_in_the_name() -> None:
    (charger,) = points(Channel.TELEMETRY, Kind.CHARGER)
    for field in ('vehicle_vehicle="car1"', "vehicle_soc_frac=0.7", "vehicle_capacity_kwh=57.7"):
        assert f",{field}," in charger
    assert ',vehicle_departure="2024-05-17T16:00:00+00:00",' in charger
    (telemetry,) = points(Channel.TELEMETRY, Kind.NETWORK)
    for field in ("voltages_pu_MB=0.997", "loadings_frac_MB-EV1=0.22", "losses_kw=1.8"):
        assert f",{field}," in telemetry


def test_plan_becomes_a_point_at_each_step_for_the_site_and_for_each_device() -> None:
    own, *steps = points(Channel.PLAN)
    assert own.startswith(f"ems_plan,device=ems,kind=ems,run={RUN},site={SITE} ")
    assert steps == [
        f"plan_step,device=ems,kind=ems,run={RUN},site={SITE} load_kw=72.3,pcc_kw=24.6,losses_kw=1.8,"
        f"purchase_price_eur_per_kwh=0.29,sale_price_eur_per_kwh=0.09,step_s=900i {NS}",
        f"plan_step,device=ems,kind=ems,run={RUN},site={SITE} load_kw=72.0,pcc_kw=31.0,losses_kw=1.8,"
        f"purchase_price_eur_per_kwh=0.28,sale_price_eur_per_kwh=0.08,step_s=900i {NS + 900 * 10**9}",
        f"plan_step,device=ev1,kind=ems,run={RUN},site={SITE} power_kw=-11.5,soc_frac=0.65,step_s=900i {NS}",
        # No vehicle at the end of the second step: it has no SOC.
        f"plan_step,device=ev1,kind=ems,run={RUN},site={SITE} power_kw=5.0,step_s=900i {NS + 900 * 10**9}",
    ]


def test_limits_from_outside_are_a_field_of_the_step_that_the_plan_commands() -> None:
    (found,) = [e for e in examples() if e[0].channel is Channel.PLAN]
    topic, stamp, plan = found
    assert isinstance(plan, Plan)
    limits = (
        PlannedLimit(source="control box", import_kw=(20.0, None), export_kw=(None, 5.0)),
        PlannedLimit(source="relay", import_kw=(12.5, 12.5)),
        PlannedLimit(source="relay", group="east", import_kw=(3.0, 3.0)),
    )
    body = plan.model_copy(update={"limits": limits})
    first, second = [
        point
        for point in message_points(Received(topic, stamp, body), "", RUN, 38, NS)
        if point.startswith("plan_step,device=ems,")
    ]
    assert ",outside_import_kw=12.5,step_s=900i " in first
    assert "outside" not in second and "outside_export_kw" not in first


@pytest.mark.parametrize("example", examples(), ids=lambda e: f"{e[0].kind}-{e[0].channel}")
def test_no_field_has_the_name_of_a_tag_or_of_the_time(example: tuple[Topic, Stamp, Plan]) -> None:
    topic, stamp, body = example
    if topic.channel in BARRIER:
        return
    for point in message_points(Received(topic, stamp, body), "", RUN, None, NS):
        names = [pair.partition("=")[0] for pair in point.partition(" ")[2].split(",")]
        assert not set(names) & {*TAGS, "time", "_time", "_field", "_measurement"}


def test_text_is_escaped_and_kept_on_one_line() -> None:
    text = line("m", ("d", "k", "r", "s"), {"reason": 'say "no"\\\r\nor, yes = x'}, 1)
    assert text == 'm,device=d,kind=k,run=r,site=s reason="say \\"no\\"\\\\  or, yes = x" 1'


def test_name_that_a_peer_chose_cannot_break_a_line() -> None:
    topic = Topic("house", Kind.EMS, "ems", Channel.METRIC)
    body = Metric(values={"a b,c=1\n": 1.5, "größe": 2.0})
    told = Received(topic, Stamp(ts=T, run=RUN, boot="b", seq=1), body)
    (point,) = message_points(told, "{}", RUN, None, NS)
    assert "values_a_b_c_1_=1.5,values_größe=2.0," in point
    assert "\n" not in point


@pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, -0.0, 1e22, 0.1 + 0.2])
def test_floats_are_written_so_that_they_read_back_equal(value: float) -> None:
    text = line("m", ("d", "k", "r", "s"), {"x": value}, 1).split("x=")[1].split(" ")[0]
    assert repr(float(text)) == repr(value)
