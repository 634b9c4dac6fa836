"""What flows on a set-point: whether its power comes in time, stays, and ends with it."""

from collections.abc import Callable
from datetime import datetime, timedelta

from schemas.clauses import Clause
from services.conformance.commands import words
from services.conformance.examined import Examined
from services.conformance.expectation import Order, Range, following, on_fallback
from services.conformance.heard import SECOND, Sample

_NO_ROOM = "nothing could flow: no vehicle, no room in its store or nothing to produce"


def range_of(device: Examined, order: Order, sample: Sample) -> Range:
    return following(device.plate, order.value_kw, sample.body)


def followed(device: Examined, order: Order) -> Sample | None:
    """The first telemetry with the order's power, if it comes in time; judged."""
    what = f"on {words(order.setpoint)}, acknowledged as {order.value_kw:g} kW"
    found = _reached(device, Clause.FOLLOWED, order.followed_from, lambda each: range_of(device, order, each), what)
    if found is None:
        return None
    if range_of(device, order, found).has(0.0):  # as at rest, it tells nothing
        device.verdicts.skip(Clause.FOLLOWED, _NO_ROOM)
    else:
        device.verdicts.hold(Clause.FOLLOWED)
    return found


def expires(device: Examined, order: Order, reached: Sample) -> None:
    """It holds until its end, then its fallback does."""
    until, fallback = order.setpoint.valid_until, order.setpoint.fallback
    what = f"until {until:%H:%M:%S} of {words(order.setpoint)}"
    if not stays(device, Clause.EXPIRY, reached.ts, until, lambda each: range_of(device, order, each), what):
        return

    def bound(each: Sample) -> Range:
        return on_fallback(device.plate, fallback, order.value_kw, each.body)

    after = f"fallback {fallback} after {words(order.setpoint)}"
    if _reached(device, Clause.EXPIRY, until, bound, after) is not None:
        device.verdicts.hold(Clause.EXPIRY)


def stays(
    device: Examined, clause: Clause, since: datetime, until: datetime, bound: Callable[[Sample], Range], what: str
) -> bool:
    """Whether all telemetry of [since, until) is within."""
    bench = device.bench
    left_s = (until - bench.run_time) / SECOND / bench.pace
    patience_s = device.wishes.patience_s + bench.machine_s(2 * device.period_s)
    bench.until(lambda: bool(bench.samples_from(until)), max(left_s, 0.0) + patience_s)
    for each in bench.samples_from(since):
        if each.ts < until and not bound(each).has(each.body.power_kw):
            before_s = (until - each.ts) / SECOND
            device.verdicts.fail(
                clause,
                f"{what}: {bound(each)} is expected, {each.body.power_kw:.4g} kW is measured {before_s:.1f} s "
                f"before its end{device.seeded}",
            )
            return False
    device.verdicts.hold(clause)
    return True


def _reached(
    device: Examined, clause: Clause, since: datetime, bound: Callable[[Sample], Range], what: str
) -> Sample | None:
    """The first telemetry from ``since`` on that is within, if it comes in time; else the clause fails."""
    bench, verdicts = device.bench, device.verdicts
    deadline = since + timedelta(seconds=device.settle_s)
    machine_s = (deadline - bench.run_time) / SECOND / bench.pace
    seen: list[Sample] = []

    def decided() -> bool:
        seen[:] = bench.samples_from(since)
        return any(bound(each).has(each.body.power_kw) or each.ts > deadline for each in seen)

    patience_s = device.wishes.patience_s + bench.machine_s(2 * device.period_s)
    bench.until(decided, max(machine_s, 0.0) + patience_s)
    for each in seen:
        if each.ts <= deadline and bound(each).has(each.body.power_kw):
            return each
    if seen and seen[0].ts > deadline:
        verdicts.fail(Clause.PERIOD, f"{what}: no telemetry from {since:%H:%M:%S} to {seen[0].ts:%H:%M:%S}")
    elif seen:
        newest = seen[-1]
        late_s = (newest.ts - since) / SECOND
        measured = f"{newest.body.power_kw:.4g} kW is measured {late_s:.1f} s later"
        verdicts.fail(clause, f"{what}: {bound(newest)} is expected, {measured}{device.seeded}")
    else:
        verdicts.fail(Clause.PERIOD, f"{what}: no telemetry after {since:%H:%M:%S}")
    return None
