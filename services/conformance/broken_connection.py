"""The device's connection is cut and comes back: its last will, its set-point that ends alone, its return."""

from datetime import timedelta

from schemas.clauses import Clause
from schemas.messages import Fallback, Presence
from schemas.topics import Channel
from services.conformance.bench import Bench
from services.conformance.commands import Commands, words
from services.conformance.examined import HOLD_PERIODS, Examined, state_text
from services.conformance.expectation import Order, on_fallback
from services.conformance.flow import followed
from services.conformance.heard import SECOND
from services.conformance.proxy import CuttableWay


def break_connection(device: Examined, commands: Commands | None, way: CuttableWay | None) -> None:
    """``commands`` None: it takes none, or answers none."""
    bench, wishes, verdicts = device.bench, device.wishes, device.verdicts
    clauses = (Clause.WILL, Clause.BACK, *(() if commands is None else (Clause.EXPIRY_ALONE,)))
    if way is None:
        for clause in clauses:
            verdicts.skip(clause, "only with --through, where the device's connection can be cut")
        return
    if way.connections == 0:
        for clause in clauses:
            verdicts.skip(clause, f"the device has not come through port {way.port}")
        return
    device.say("its connection is cut")
    order = reached = None
    if commands is not None:
        order = commands.order(commands.setpoint(device.telling_kw(0), fallback=Fallback.IDLE))
        reached = None if order is None else followed(device, order)
    birth = bench.birth
    assert birth is not None
    begun, since = len(bench.heard), bench.run_time
    way.cut()

    def gone() -> bool:
        state = bench.last_state()
        return state is not None and state[1].state is Presence.OFFLINE

    offline = bench.until(gone, wishes.patience_s + wishes.slack_s)
    verdicts.judge(Clause.WILL, _will_fault(bench, birth[0].boot, offline))
    if order is not None:
        over_s = (order.setpoint.valid_until - bench.run_time) / SECOND + device.settle_s
        bench.until(lambda: False, max(bench.machine_s(over_s), 0.0))
    way.restore()
    began = bench.monotonic()
    back = bench.until(lambda: bench.here() and _born_since(bench, begun), wishes.back_s)
    took_s = bench.monotonic() - began
    device.away.append((since, bench.run_time))
    if not back:
        verdicts.fail(Clause.BACK, f"no birth and state within {wishes.back_s:g} s: {state_text(bench)}")
        return
    if order is not None and reached is not None:
        _ended_alone(device, order)
    if commands is None or commands.order(commands.setpoint(device.telling_kw(1)), Clause.BACK) is not None:
        verdicts.hold(Clause.BACK)
    device.say(f"it was back after {took_s:.1f} s")
    device.watch(HOLD_PERIODS)


def _will_fault(bench: Bench, boot: str, offline: bool) -> str | None:
    state = bench.last_state()
    if not offline or state is None:
        return "no offline when its connection broke"
    stamp = state[0]
    if stamp.boot != boot or stamp.seq != 0:
        return f"offline is seq {stamp.seq} of boot {stamp.boot}; 0 of {boot} is expected"
    return None


def _born_since(bench: Bench, begun: int) -> bool:
    """Birth and state came again."""
    channels = {each.topic.channel for each in bench.heard[begun:] if each.stamp is not None and each.stamp.seq > 0}
    return {Channel.BIRTH, Channel.STATE} <= channels


def _ended_alone(device: Examined, order: Order) -> None:
    """The set-point ended while nobody could say so."""
    bench, verdicts = device.bench, device.verdicts
    if Clause.EXPIRY in verdicts.failures:
        verdicts.skip(Clause.EXPIRY_ALONE, f"its set-points do not end with a connection, see {Clause.EXPIRY}")
        return
    since = order.setpoint.valid_until + timedelta(seconds=device.settle_s)
    patience_s = device.wishes.patience_s + bench.machine_s(3 * device.period_s)
    bench.until(lambda: bool(bench.samples_from(since)), patience_s)
    for each in bench.samples_from(since)[:HOLD_PERIODS]:
        bound = on_fallback(device.plate, order.setpoint.fallback, order.value_kw, each.body)
        measured = f"{each.body.power_kw:.4g} kW is measured"
        fault = f"after the end of {words(order.setpoint)}: {bound} is expected, {measured}"
        verdicts.judge(Clause.EXPIRY_ALONE, None if bound.has(each.body.power_kw) else fault)
