"""One table says what belongs to a kind, and a birth says what a device can do."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from schemas.capabilities import COMMANDED, Capability, Group, group_of
from schemas.errors import Code, RemoteMessageError
from schemas.kinds import COMMANDED_KINDS, DEVICE_KINDS, DEVICES, kinds_of
from schemas.messages import (
    BessNameplate,
    Birth,
    ChargerNameplate,
    HeatPumpNameplate,
    MeterNameplate,
    MeterRole,
    Nameplate,
    PvNameplate,
    ServiceNameplate,
    Stamp,
    TimeMode,
)
from schemas.roles import READS, WRITES
from schemas.site import AnyDevice
from schemas.topics import OBSERVER, Channel, Kind, Topic
from schemas.wire import TELEMETRY, decode, encode
from sites.loader import builtin_sites, load_site
from tests.errors import raises
from twin_devices.build import TWINS, build_twin
from twinswarm.cli.commands.provision import KindChoice

CHARGER: dict[str, Any] = {"max_charge_kw": 22, "charge_efficiency": 0.9, "discharge_efficiency": 0.9}
BESS: dict[str, Any] = {
    "capacity_kwh": 40,
    "max_charge_kw": 16,
    "max_discharge_kw": 16,
    "charge_efficiency": 0.9,
    "discharge_efficiency": 0.9,
    "soc_min_frac": 0.1,
    "soc_max_frac": 0.9,
}
HEATPUMP: dict[str, Any] = {"max_power_kw": 10, "buffer_kwh": 50, "soc_min_frac": 0.2, "soc_max_frac": 0.9}


def birth(nameplate: Any, **fields: Any) -> Birth:
    return Birth(nameplate=nameplate, time_modes=(TimeMode.WALL,), software="test", **fields)


def test_the_table_and_the_unions_name_the_same_models() -> None:
    described = get_args(get_args(AnyDevice)[0])
    assert {parts.description for parts in DEVICES.values()} == set(described)
    plates = {parts.nameplate for parts in DEVICES.values()} | {ServiceNameplate}
    assert plates == set(get_args(get_args(Nameplate)[0]))
    for kind, parts in DEVICES.items():
        assert parts.description.model_fields["kind"].default == kind
        assert parts.nameplate.model_fields["type"].default == kind
    assert list(DEVICE_KINDS) == sorted(DEVICE_KINDS)


def test_every_kind_has_a_twin_telemetry_and_rights() -> None:
    services = {Kind.NETWORK, Kind.EMS, Kind.CLOCK, Kind.RECORDER, Kind.FORECAST, Kind.TARIFF, Kind.LIMITER}
    services |= {Kind.SHADOW, Kind.OPERATOR, Kind.GHOSTS}
    assert set(DEVICE_KINDS) == set(Kind) - services == set(TWINS)
    assert TELEMETRY.keys() == {*DEVICE_KINDS, Kind.NETWORK}
    assert WRITES.keys() == READS.keys() == set(Kind)
    for kind in DEVICE_KINDS:
        answers = Channel.ACK in {right.channel for right in WRITES[kind]}
        assert answers == (kind in COMMANDED_KINDS)


@pytest.mark.parametrize("site", sorted(builtin_sites()))
def test_a_twin_tells_of_itself_what_its_description_says(site: str) -> None:
    description = load_site(site)
    for name, device in description.devices.items():
        parts = DEVICES[Kind(device.kind)]
        assert isinstance(device, parts.description)
        assert isinstance(device.nameplate, parts.nameplate)
        assert device.nameplate.capabilities <= parts.capabilities
        assert device.nameplate.commanded <= parts.commanded
        if device.kind == Kind.METER and device.profiles_used == ():
            continue  # A real one.
        twin = build_twin(description, name)
        told = twin.birth()
        assert twin.kind == device.kind
        assert told.nameplate == device.nameplate
        assert set(told.capabilities) == device.nameplate.capabilities


@pytest.mark.parametrize(
    ("nameplate", "expected"),
    [
        (ChargerNameplate(**CHARGER), {"storage", "vehicles", "flexible_load"}),
        (ChargerNameplate(**CHARGER, max_discharge_kw=22), {"storage", "vehicles", "flexible_load", "two_way"}),
        (ChargerNameplate(**CHARGER, controllable=False), {"storage", "vehicles", "fixed_load"}),
        (ChargerNameplate(**CHARGER, phases=1), {"storage", "vehicles", "flexible_load", "single_phase"}),
        (BessNameplate(**BESS), {"storage", "flexible_load", "two_way"}),
        (HeatPumpNameplate(**HEATPUMP), {"storage", "heat", "flexible_load"}),
        (HeatPumpNameplate(**HEATPUMP, controllable=False), {"storage", "heat", "fixed_load"}),
        (PvNameplate(rated_kw=5, curtailable=True), {"generation", "curtailable"}),
        (PvNameplate(rated_kw=5, curtailable=False), {"generation"}),
        (MeterNameplate(role=MeterRole.LOAD), {"fixed_load"}),
        (MeterNameplate(role=MeterRole.PCC), {"metering"}),
        (ServiceNameplate(), set()),
    ],
)
def test_a_birth_without_capabilities_has_those_of_its_nameplate(nameplate: Any, expected: set[str]) -> None:
    told = birth(nameplate)
    assert set(told.capabilities) == expected
    assert nameplate.commanded == bool(expected & COMMANDED)
    assert Birth.model_validate_json(told.model_dump_json()) == told


def test_capabilities_are_told_in_one_order_each_once() -> None:
    two_way = [Capability.TWO_WAY, Capability.STORAGE, Capability.STORAGE, Capability.FLEXIBLE_LOAD]
    assert birth(BessNameplate(**BESS), capabilities=two_way).capabilities == (
        Capability.STORAGE,
        Capability.FLEXIBLE_LOAD,
        Capability.TWO_WAY,
    )


@pytest.mark.parametrize(
    "stated", [(), ("storage",), ("storage", "flexible_load", "two_way", "generation"), ("generation",)]
)
def test_capabilities_at_odds_with_the_nameplate_are_refused_with_both(stated: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        birth(BessNameplate(**BESS), capabilities=tuple(map(Capability, stated)))
    (error,) = caught.value.errors()
    for word in (*stated, "storage, flexible_load, two_way"):
        assert word in error["msg"]


def test_every_kind_can_be_provisioned() -> None:
    assert set(get_args(KindChoice)) == {*Kind, OBSERVER}


def test_groups_of_kinds_are_those_of_their_devices() -> None:
    assert kinds_of(Group.VEHICLES) == (Kind.CHARGER,)
    assert kinds_of(Group.BATTERY) == (Kind.BESS,)
    assert kinds_of(Group.GENERATION) == (Kind.PV,)
    assert kinds_of(Group.LOAD) == (Kind.METER,)
    assert kinds_of(Group.HEAT) == (Kind.HEATPUMP,)
    uncontrolled = ChargerNameplate(**CHARGER, controllable=False)
    assert group_of(uncontrolled.capabilities) is Group.VEHICLES
    assert group_of(MeterNameplate(role=MeterRole.SUBMETER).capabilities) is Group.METERING
    assert group_of(ServiceNameplate().capabilities) is Group.SERVICE


def test_the_page_of_topics_explains_every_capability() -> None:
    page = (Path(__file__).parents[2] / "docs" / "topics.md").read_text(encoding="utf-8")
    assert [name for name in Capability if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "nameplate",
    [
        ChargerNameplate(**CHARGER),
        BessNameplate(**BESS),
        HeatPumpNameplate(**HEATPUMP),
        PvNameplate(rated_kw=5, curtailable=True),
        MeterNameplate(role=MeterRole.PCC),
        ServiceNameplate(),
    ],
    ids=lambda nameplate: nameplate.type,
)
def test_a_birth_has_the_nameplate_of_its_topics_kind(kind: Kind, nameplate: Any) -> None:
    """A charger whose birth says that it is a heat pump is not admitted: nobody inside looks at both."""
    topic = Topic("house", kind, "it", Channel.BIRTH)
    expected = {Kind.NETWORK: "meter"}.get(kind, kind if kind in DEVICE_KINDS else "service")
    stamp = Stamp(ts=datetime(2024, 5, 15, tzinfo=UTC), boot="b", seq=1)
    payload = encode(stamp, birth(nameplate))
    if nameplate.type == expected:
        assert decode(topic, payload)[1] is not None
        return
    with raises(
        Code.MESSAGE,
        "nameplate.type",
        f"kind {kind} is {expected}",
        f"received {nameplate.type}",
        kind=RemoteMessageError,
    ):
        decode(topic, payload)
