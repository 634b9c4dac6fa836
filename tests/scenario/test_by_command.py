"""Events by command: a twin that receives one behaves as one whose site describes it, and answers."""

from datetime import datetime
from typing import Any

import pytest

from schemas.messages import Alarm, ChargerTelemetry, MeterTelemetry, Phase, PvTelemetry, Telemetry, TimeMode
from schemas.participant import Received
from schemas.site import CarLeaves, Cloud, MeterLies, Offline, ScenarioEvent
from schemas.site.scenario import Event
from schemas.topics import Channel, Kind
from tests.twins.builders import Bench, at, bess, charger, device_topic, pv, received, site, through_json
from twin_devices.build import build_network, build_twin

METER = {"kind": "meter", "role": "load", "profile": "base"}
WHEN = [at(clock) for clock in ("10:00", "10:20", "10:40", "11:00", "11:20", "11:40")]
HAPPENING: dict[str, tuple[Kind, dict[str, Any], ScenarioEvent]] = {
    "leaves": (
        Kind.CHARGER,
        charger(fallback="uncontrolled", fallback_kw=20.0),
        CarLeaves(device="device", at=at("10:30")),
    ),
    "cloud": (Kind.PV, pv(), Cloud(device="device", start=at("10:30"), end=at("11:10"), available_frac=0.2)),
    "offline": (
        Kind.CHARGER,
        charger(fallback="uncontrolled", fallback_kw=20.0),
        Offline(device="device", start=at("10:30"), end=at("11:10")),
    ),
    "meter": (
        Kind.METER,
        METER,
        MeterLies(device="device", start=at("10:30"), end=at("11:10"), reads="scaled", factor=2.0),
    ),
    "stuck": (Kind.METER, METER, MeterLies(device="device", start=at("10:30"), end=at("11:10"), reads="stuck")),
}


def command(event: ScenarioEvent, kind: Kind, sent: datetime, name: str = "e1", device: str = "device") -> Received:
    return received(device_topic(kind, device, Channel.EVENT), sent, 1, Event(id=name, event=event))


def bench(described: dict[str, Any], *events: ScenarioEvent) -> Bench:
    built = site({"device": described}).model_copy(update={"scenario": events})
    return Bench(build_twin(built, "device"), TimeMode.WALL)


def lived(
    driven: Bench, told: Received | None = None, *, restarted: bool = False
) -> tuple[list[Telemetry], list[Alarm]]:
    """The telemetry at each of `WHEN`, and the answers; the command comes between the first two."""
    bodies: list[Any] = []
    for time in WHEN:
        bodies += [sent.body for sent in driven.turn(Phase.SENSE, time)]
        if time == WHEN[0] and told is not None:
            bodies += [sent.body for sent in driven.turn(Phase.APPLY, told.stamp.ts, [told, told])]
            if restarted:
                described = site({"device": driven_description(driven)})
                driven.participant = through_json(driven.participant, build_twin(described, "device"))
    telemetry = [body for body in bodies if isinstance(body, Telemetry)]
    return telemetry, [body for body in bodies if isinstance(body, Alarm)]


def driven_description(driven: Bench) -> dict[str, Any]:
    return next(described for kind, described, _ in HAPPENING.values() if kind is driven.participant.kind)


@pytest.mark.parametrize("restarted", [False, True], ids=["in one life", "over a restart"])
@pytest.mark.parametrize("what", HAPPENING)
def test_it_is_as_if_the_site_had_described_it(what: str, restarted: bool) -> None:
    kind, described, event = HAPPENING[what]
    expected, nothing = lived(bench(described, event))
    found, answers = lived(bench(described), command(event, kind, at("10:10")), restarted=restarted)
    assert found == expected
    assert nothing == []
    assert [(answer.code, answer.active, answer.element) for answer in answers] == [
        ("scripted_event", True, "e1"),
        ("scripted_event", False, "e1"),
    ]
    assert found != lived(bench(described))[0]


def test_what_should_have_begun_begins_now() -> None:
    driven = bench(pv())
    driven.turn(Phase.SENSE, at("10:00"))
    cloud = Cloud(device="device", start=at("09:00"), end=at("12:00"), available_frac=0.5)
    driven.turn(Phase.APPLY, at("10:30"), [command(cloud, Kind.PV, at("10:30"))])
    (sent,) = driven.turn(Phase.SENSE, at("11:00"))
    clear, clouded = bench(pv()), sent.body
    for time in ("10:00", "10:30"):
        (before,) = clear.turn(Phase.SENSE, at(time))
    (after,) = clear.turn(Phase.SENSE, at("11:00"))
    assert isinstance(before.body, PvTelemetry) and isinstance(after.body, PvTelemetry)
    assert isinstance(clouded, PvTelemetry)
    first, second = before.body.energy_export_kwh, after.body.energy_export_kwh
    assert first is not None and second is not None
    assert clouded.energy_export_kwh == pytest.approx(first + 0.5 * (second - first), abs=1e-9)


def test_a_car_that_leaves_now_is_gone_at_once_and_does_not_come_back() -> None:
    driven = bench(charger(fallback="uncontrolled", fallback_kw=20.0))
    driven.turn(Phase.SENSE, at("10:00"))
    driven.turn(
        Phase.APPLY, at("10:05"), [command(CarLeaves(device="device", at=at("10:00")), Kind.CHARGER, at("10:05"))]
    )
    for time in ("10:06", "12:00", "17:59"):
        body = driven.turn(Phase.SENSE, at(time))[0].body
        assert isinstance(body, ChargerTelemetry)
        assert (body.vehicle, body.power_kw) == (None, 0.0)


@pytest.mark.parametrize(
    ("kind", "described", "event"),
    [
        (Kind.BESS, bess(), Cloud(device="device", start=at("10:00"), end=at("11:00"))),
        (Kind.PV, pv(), Cloud(device="other", start=at("10:00"), end=at("11:00"))),
        (Kind.PV, pv(), Cloud(device="device", start=at("08:00"), end=at("09:00"))),
    ],
    ids=["of another kind", "of another device", "past"],
)
def test_an_event_that_cannot_happen_is_refused_and_changes_nothing(
    kind: Kind, described: dict[str, Any], event: ScenarioEvent
) -> None:
    found, answers = lived(bench(described), command(event, kind, at("10:10")))
    assert {answer.code for answer in answers} == {"scripted_event_refused"}
    assert not any(answer.active for answer in answers)
    assert found == lived(bench(described))[0]


def test_the_pcc_meter_lies_by_command() -> None:
    """And the settlement inside is not deceived: its registers go on behind the lie."""
    network = Bench(build_network(site({"building": METER})), TimeMode.LOCKSTEP)
    lie = MeterLies(device="network", start=at("10:00"), end=at("10:30"), reads="zero")
    load = MeterTelemetry(power_kw=10.0, energy_import_kwh=0.0, energy_export_kwh=0.0)

    def measured(clock: str, *more: Received) -> list[Any]:
        hours = (at(clock) - at("10:00")).total_seconds() / 3600
        told = load.model_copy(update={"energy_import_kwh": 10.0 * hours})
        telemetry = received(device_topic(Kind.METER, "building"), at(clock), network.n + 2, told)
        return [sent.body for sent in network.turn(Phase.MEASURE, at(clock), [telemetry, *more])]

    measured("10:00")
    answer, lied = measured("10:15", command(lie, Kind.NETWORK, at("10:15"), device="network"))
    assert isinstance(answer, Alarm) and answer.active
    assert lied.power_kw == 0.0 and lied.actual.power_kw > 9.9
    over, true = measured("10:30")
    assert isinstance(over, Alarm) and not over.active
    assert true.power_kw > 9.9
