"""Ghosts in wall time beside a meter that is silent, lies, or begins anew, and across restarts of their own."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import (
    Alarm,
    Earnings,
    EmsMode,
    Limit,
    NetworkTelemetry,
    Phase,
    Plan,
    PlanStatus,
    Quantity,
    Series,
    Stamp,
    TimeMode,
    ValueSeries,
)
from schemas.participant import Outgoing, Received, Turn
from schemas.topics import Channel, Kind, Topic
from services.ghosts.participant import DEGRADED, Ghosts
from tests.ghosts.hall import CHEAP, DEAR, IDEAL, hall
from twinswarm.simulation.compose import maker

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
SITE = hall({"newbess": IDEAL})
HOUR, MINUTES = timedelta(hours=1), timedelta(minutes=10)
NO_PLAN = "no plan of the EMS: the real site is expected to go on as it is"
TURN = Turn(Phase.APPLY, T0, T0, None, 3600, TimeMode.WALL)


def fresh() -> Ghosts:
    made = maker(SITE, "ghosts")()
    assert isinstance(made, Ghosts)
    return made


def of(
    kind: Kind, channel: Channel, body: Limit | Plan | Series | NetworkTelemetry, at: datetime, boot: str
) -> Received:
    return Received(Topic("hall", kind, str(kind), channel), Stamp(ts=at, boot=boot, seq=1), body, arrived=at)


def meter(at: datetime, register_kwh: float, power_kw: float = 10.0, boot: str = "m1") -> Received:
    body = NetworkTelemetry(
        power_kw=power_kw,
        energy_import_kwh=register_kwh,
        energy_export_kwh=0.0,
        losses_kw=0.0,
        losses_kwh=0.0,
        residual_kwh=0.0,
        voltages_pu={},
        loadings_frac={},
        missing=(),
    )
    return of(Kind.NETWORK, Channel.TELEMETRY, body, at, boot)


def prices() -> Received:
    told = {Quantity.PURCHASE_PRICE: (CHEAP,) * 12 + (DEAR,) * 12, Quantity.SALE_PRICE: (0.0,) * 24}
    series = tuple(ValueSeries(quantity=q, start=T0, step_s=3600, values=v) for q, v in told.items())
    return of(Kind.TARIFF, Channel.SERIES, Series(series=series), T0, "t1")


def flat(first: int, last: int, offset_kwh: float = 0.0, boot: str = "m1") -> list[Received]:
    """Readings every ten minutes of a load of 10 kW, from the ``first`` to the ``last``."""
    return [meter(T0 + n * MINUTES, 10 * n / 6 + offset_kwh, boot=boot) for n in range(first, last + 1)]


def beside(ghosts: Ghosts, readings: Iterable[Received]) -> list[Outgoing]:
    """Each reading in a turn of its own, and the turns that the ghosts ask for."""
    sent: list[Outgoing] = []
    for each in readings:
        turn, inbox = replace(TURN, t=each.stamp.ts), [each]
        while True:
            sent += ghosts.act(turn, inbox)
            inbox = []
            if ghosts.wake_at(turn.t) is None:
                break
    return sent


def accounts(sent: Sequence[Outgoing]) -> list[Earnings]:
    return [each.body for each in sent if isinstance(each.body, Earnings)]


def alarms(sent: Sequence[Outgoing]) -> list[tuple[bool, str]]:
    found = [each.body for each in sent if isinstance(each.body, Alarm)]
    assert {each.code for each in found} <= {DEGRADED}
    return [(each.active, each.text) for each in found]


WHOLE = [prices(), *flat(0, 6 * 24 + 1)]


@pytest.fixture(scope="module")
def undisturbed() -> Earnings:
    """The account of a day."""
    last = accounts(beside(fresh(), WHOLE))[-1]
    assert last.until == T0 + 24 * HOUR
    assert last.day.earned_eur == pytest.approx(4.0)
    return last


def test_killed_in_mid_day_they_go_on_from_their_checkpoint(undisturbed: Earnings) -> None:
    """The half hour in which they were dead is counted by the meter's registers."""
    first = fresh()
    beside(first, WHOLE[:60])
    second = fresh()
    second.restore(json.loads(json.dumps(first.snapshot())))
    sent = beside(second, WHOLE[63:])
    assert accounts(sent)[-1].day == undisturbed.day
    assert accounts(sent)[-1].devices == undisturbed.devices


def test_while_the_meter_is_silent_they_say_so_and_then_catch_up(undisturbed: Earnings) -> None:
    ghosts = fresh()
    beside(ghosts, WHOLE[:50])
    silent = ghosts.act(replace(TURN, t=WHOLE[50].stamp.ts + timedelta(minutes=5)), [])
    assert alarms(silent)[0][0]
    assert "silent since 2024-05-17T06:00:00" in alarms(silent)[0][1]
    assert "silent" in accounts(silent)[-1].degraded[0]
    assert ghosts.act(replace(TURN, t=WHOLE[50].stamp.ts + 2 * HOUR), []) == []  # said once, and nothing is made up
    sent = beside(ghosts, WHOLE[50 + 6 * 7 :])
    assert alarms(sent) == [(True, NO_PLAN)]  # that the meter is silent is over
    last = accounts(sent)[-1]
    assert last.day.hours == undisturbed.day.hours
    assert last.day.estimated_hours == 0
    assert last.day.real.import_kwh == pytest.approx(240.0)
    assert last.day.earned_eur == pytest.approx(undisturbed.day.earned_eur)
    steps = sorted({each.until for each in accounts(sent)})
    assert steps == [T0 + n * HOUR for n in range(8, 25)]  # none is left out


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (meter(T0 + 2 * HOUR, 10_000_000.0), "grew by"),
        (meter(T0 + 2 * HOUR, 20.0, power_kw=900_000.0), "beyond"),
        (meter(T0 + 2 * HOUR, 0.0), "went back"),
        (meter(T0 + 2 * HOUR, 0.0, boot="m2"), "another life"),
    ],
    ids=["jump", "watts for kilowatts", "reset", "another life"],
)
def test_what_cannot_be_true_is_not_believed_and_is_named(lie: Received, says: str) -> None:
    ghosts = fresh()
    beside(ghosts, [prices(), *flat(0, 11)])
    sent = beside(ghosts, [lie])
    assert any(active and says in text for active, text in alarms(sent))
    body = lie.body
    assert isinstance(body, NetworkTelemetry)
    base_kwh = (body.energy_import_kwh or 0.0) - 20.0
    after = [
        replace(each, stamp=each.stamp.model_copy(update={"boot": lie.stamp.boot})) for each in flat(13, 25, base_kwh)
    ]
    sent = beside(ghosts, after)
    last = accounts(sent)[-1]
    assert len(alarms(sent)) == 1  # that reason is over
    assert last.day.real.import_kwh == pytest.approx(10 * last.day.hours, rel=1e-6)
    assert last.day.estimated_hours == pytest.approx(0.0 if says == "beyond" else 1 / 6)
    assert last.degraded == (NO_PLAN,)


def test_without_prices_nothing_is_put_into_the_cost() -> None:
    sent = beside(fresh(), flat(0, 20))
    last = accounts(sent)[-1]
    assert (last.day.hours, last.day.unpriced_hours) == (3.0, 3.0)
    assert last.day.real.energy_eur == last.day.ghosts.energy_eur == 0
    assert any("no prices" in each for each in last.degraded)
    assert any("had no plan" in each for each in last.degraded)


def test_a_register_of_an_hour_keeps_import_and_export() -> None:
    """3 kWh each way within an hour, and nobody knows when."""
    ghosts = fresh()
    readings = [meter(T0 + n * HOUR, 3.0 * n) for n in range(4)]
    for n, each in enumerate(readings):
        assert isinstance(each.body, NetworkTelemetry)
        body = each.body.model_copy(update={"energy_export_kwh": 3.0 * n, "power_kw": 0.0})
        readings[n] = replace(each, body=body)
    last = accounts(beside(ghosts, [prices(), *readings, meter(T0 + 3 * HOUR + MINUTES, 9.0, 0.0)]))[-1]
    assert last.day.real.import_kwh == pytest.approx(3 * last.day.hours)
    assert last.day.real.export_kwh == pytest.approx(3 * last.day.hours)


def test_an_ems_that_is_gone_is_named_with_its_last_plan_until_it_plans_again() -> None:
    def plan(at: datetime) -> Received:
        body = Plan(
            start=at,
            step_s=3600,
            epoch=1,
            objective_eur=0.0,
            status=PlanStatus.OPTIMAL,
            mode=EmsMode.CONTROL,
            pcc_kw=(10.0,) * 24,
            devices={},
        )
        return of(Kind.EMS, Channel.PLAN, body, at, "e1")

    ghosts = fresh()
    sent = beside(ghosts, [prices(), *flat(0, 0), plan(T0), *flat(1, 6), plan(T0 + HOUR), *flat(7, 12)])
    assert alarms(sent) == []
    gone = beside(ghosts, flat(13, 25))
    assert alarms(gone) == [(True, "the EMS' newest plan is that of 2024-05-16T23:00:00+00:00")]  # once for two steps
    assert accounts(gone)[-1].day.hours == 4.0
    back = beside(ghosts, [*flat(26, 30), plan(T0 + 5 * HOUR), *flat(30, 31)])
    assert alarms(back) == [(False, "over: all is known again")]
