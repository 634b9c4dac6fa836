"""Which set-points are late, and which settlement periods had none."""

from datetime import UTC, datetime, timedelta

from schemas.messages import Ack, Fallback, Setpoint
from schemas.punctuality import PunctualityCount

T0 = datetime(2024, 5, 17, tzinfo=UTC)
STEP = timedelta(minutes=15)


def sent(period: int) -> Setpoint:
    valid_from = T0 + period * STEP
    return Setpoint(
        id=f"s{period}",
        epoch=1,
        valid_from=valid_from,
        valid_until=valid_from + STEP,
        power_kw=1.0,
        fallback=Fallback.IDLE,
    )


def accepted(period: int) -> Ack:
    return Ack(id=f"s{period}", accepted=True, applied_kw=1.0)


def refused(period: int) -> Ack:
    return Ack(id=f"s{period}", accepted=False, reason="over")


def test_late_is_beyond_a_tenth_of_the_period_and_a_period_without_any_is_counted() -> None:
    count = PunctualityCount(STEP)
    answers = {0: 89.0, 1: 91.0, 2: 2.0, 5: 901.0, 6: 10.0}
    for period, after_s in answers.items():
        for device in ("ev1", "bess"):
            count.setpoint(device, sent(period))
            answer = refused(period) if after_s > 900 else accepted(period)
            count.ack(device, answer, T0 + period * STEP + timedelta(seconds=after_s))
            count.ack(device, answer, T0 + 99 * STEP)  # its own second answer says nothing more
    found = count.result
    assert (found.setpoints, found.late, found.periods, found.without) == (10, 4, 7, 2)
    assert found.share == 0.4
    assert not found.in_time


def test_the_first_setpoints_of_a_run_within_a_period_count_from_its_begin() -> None:
    """Begun 720 s into the period; answered 3 s later, and another 91 s later."""
    began = T0 + timedelta(seconds=720)
    count = PunctualityCount(STEP, began)
    for device, after_s in (("ev1", 3.0), ("bess", 91.0)):
        count.setpoint(device, sent(0))
        count.ack(device, accepted(0), began + timedelta(seconds=after_s))
    assert (count.result.setpoints, count.result.late) == (2, 1)


def test_a_refusal_for_another_reason_is_not_late() -> None:
    count = PunctualityCount(STEP)
    count.setpoint("pv", sent(0))
    count.ack("pv", refused(0), T0 + timedelta(seconds=1))
    count.ack("pv", accepted(7), T0)  # the answer to somebody else's
    assert (count.result.late, count.result.share, count.result.in_time) == (0, 0.0, True)
    assert PunctualityCount(STEP).result.in_time
