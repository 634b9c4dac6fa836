"""What is tried with set-points: that they are followed, end, are clipped or refused, and nothing else has effect."""

import random
from datetime import timedelta

from schemas.clauses import Clause
from schemas.messages import EPOCH_STEP_MOST, VALIDITY_MOST, Fallback, PvNameplate
from services.conformance.commands import Commands, words
from services.conformance.examined import HOLD_PERIODS, Examined
from services.conformance.expectation import clipped_kw, highest_kw, lowest_kw
from services.conformance.flow import expires, followed, range_of, stays
from services.conformance.malformed import MALFORMED, malformed

OLD_RUN = "20000101T000000.000000Z-0000"
LONG = timedelta(hours=2)
OWN_LIMIT_FRAC = 1.5
"""A set-point of so much more than the nameplate is one outside of it."""


def follow_and_fall_back(device: Examined, commands: Commands) -> None:
    for turn, fallback in enumerate((Fallback.IDLE, Fallback.HOLD, Fallback.UNCONTROLLED)):
        device.say(f"a set-point and its end, fallback {fallback}")
        order = commands.order(commands.setpoint(device.telling_kw(turn % 2), fallback=fallback))
        if order is not None and (reached := followed(device, order)) is not None:
            expires(device, order, reached)


def outside_the_nameplate(device: Examined, commands: Commands) -> None:
    device.say("set-points outside the nameplate")
    high, low = highest_kw(device.plate), lowest_kw(device.plate)
    beyond = [OWN_LIMIT_FRAC * high + 1.0]
    if not isinstance(device.plate, PvNameplate):
        beyond.append(OWN_LIMIT_FRAC * low - 1.0)
    for value_kw in beyond:
        order = commands.order(commands.setpoint(value_kw), Clause.CLIP)
        if order is not None:
            followed(device, order)


def to_refuse(device: Examined, commands: Commands) -> None:
    device.say("set-points that are to be refused")
    value = device.telling_kw(0)
    now = device.bench.run_time
    over = commands.setpoint(value).model_copy(
        update={"valid_from": now - timedelta(seconds=900), "valid_until": now - timedelta(seconds=300)}
    )
    commands.refused(Clause.OVER, over, "that is over")
    commands.refused(Clause.TOO_LONG, commands.setpoint(value, valid=VALIDITY_MOST + LONG), "that ends in 50 h")
    wrong = commands.setpoint(value)
    other = (
        {"power_kw": -abs(value), "limit_kw": None}
        if isinstance(device.plate, PvNameplate)
        else {"power_kw": None, "limit_kw": abs(value)}
    )
    field = "power_kw" if isinstance(device.plate, PvNameplate) else "limit_kw"
    commands.refused(Clause.WRONG_FIELD, wrong.model_copy(update=other), f"with {field}")
    commands.refused(
        Clause.EPOCH,
        commands.setpoint(value, epoch=commands.epoch + EPOCH_STEP_MOST + 1000),
        f"{EPOCH_STEP_MOST + 1000} epochs above the highest",
    )
    commands.epoch += 1
    if commands.order(commands.setpoint(value)) is not None:
        commands.refused(Clause.EPOCH, commands.setpoint(value, epoch=commands.epoch - 1), "of a lower epoch")


def without_effect(device: Examined, commands: Commands) -> None:
    """A valid set-point holds while all of this comes, and it goes on to hold."""
    device.say("messages that are not of the contract, or of another run")
    bench, verdicts = device.bench, device.verdicts
    order = commands.order(commands.setpoint(device.telling_kw(0), valid=LONG))
    reached = None if order is None else followed(device, order)
    other = device.telling_kw(1)
    wrong = {name: commands.setpoint(other) for name in MALFORMED}
    begun = bench.run_time
    for name, setpoint in wrong.items():
        bench.publish(malformed(name, bench, setpoint))
    foreign = commands.setpoint(other)
    bench.publish(bench.stamped(foreign, run=OLD_RUN))
    # What came before this one's answer had its time.
    last = commands.order(commands.setpoint(device.telling_kw(0), valid=LONG))
    until = bench.run_time + timedelta(seconds=HOLD_PERIODS * device.period_s)
    if order is not None and reached is not None and last is not None:
        stays(
            device,
            Clause.NOT_OF_CONTRACT,
            begun,
            until,
            lambda each: range_of(device, last, each),
            f"while messages come that are not of the contract, on {words(last.setpoint)}",
        )
    for name, setpoint in wrong.items():
        accepted = any(ack.accepted for _, ack in bench.acks(setpoint.id))
        verdicts.judge(Clause.NOT_OF_CONTRACT, f"a set-point {name} is accepted" if accepted else None)
    accepted = any(ack.accepted for _, ack in bench.acks(foreign.id))
    verdicts.judge(Clause.OTHER_RUN, f"a set-point of run {OLD_RUN} is accepted" if accepted else None)


def twice(device: Examined, commands: Commands) -> None:
    device.say("a set-point that comes twice")
    bench, verdicts = device.bench, device.verdicts
    first = commands.setpoint(device.telling_kw(0), valid=LONG)
    payload = bench.stamped(first)
    bench.publish(payload)
    if commands.answer(first.id) is None:
        verdicts.fail(Clause.ANSWER, f"no ack for {words(first)} within {device.wishes.patience_s:g} s")
        return
    second = commands.order(commands.setpoint(device.telling_kw(1), valid=LONG))
    if second is None or (reached := followed(device, second)) is None:
        return
    bench.publish(payload)  # late and again: it must not come back into force
    # An answer to what is sent after it shows that it has been read.
    commands.send(commands.setpoint(device.telling_kw(1), epoch=commands.epoch - 1))
    until = bench.run_time + timedelta(seconds=HOLD_PERIODS * device.period_s)
    stays(
        device,
        Clause.DUPLICATE,
        reached.ts,
        until,
        lambda each: range_of(device, second, each),
        "after a set-point came twice",
    )
    answers = len(bench.acks(first.id))
    verdicts.judge(Clause.DUPLICATE, f"a set-point that came twice has {answers} answers" if answers > 1 else None)


def ahead(device: Examined, commands: Commands) -> None:
    device.say("a set-point that lies ahead")
    now = commands.order(commands.setpoint(device.telling_kw(0), valid=LONG))
    reached = None if now is None else followed(device, now)
    if now is None or reached is None:
        return
    wait = timedelta(seconds=device.settle_s + HOLD_PERIODS * device.period_s)
    later = commands.order(commands.setpoint(device.telling_kw(1), ahead=wait))
    if later is None:
        return
    begin = later.setpoint.valid_from
    what = f"before valid_from of {words(later.setpoint)}"
    if stays(device, Clause.AHEAD, reached.ts, begin, lambda each: range_of(device, now, each), what):
        followed(device, later)


def at_random(device: Examined, commands: Commands) -> None:
    wishes, plate = device.wishes, device.plate
    rng = random.Random(wishes.seed)  # noqa: S311 - reproducible, and no secret
    for number in range(wishes.count):
        device.say(f"random set-points, {number + 1} of {wishes.count}, seed {wishes.seed}")
        spread = (lowest_kw(plate) * 1.3, highest_kw(plate) * 1.3)
        value = round(rng.uniform(*spread), 2)
        fallback = rng.choice(list(Fallback))
        ends, again, low_epoch = rng.random() < 0.3, rng.random() < 0.3, rng.random() < 0.2
        if low_epoch:
            commands.refused(Clause.EPOCH, commands.setpoint(value, epoch=commands.epoch - 1), "of a lower epoch")
        within = clipped_kw(plate, value) == value
        setpoint = commands.setpoint(value, fallback=fallback, valid=None if ends else LONG)
        order = commands.order(setpoint, Clause.APPLIED if within else Clause.CLIP)
        if order is None or (reached := followed(device, order)) is None:
            continue
        if again and not ends:
            commands.repeat(setpoint)
        if ends:
            expires(device, order, reached)


TRIALS = (follow_and_fall_back, outside_the_nameplate, to_refuse, without_effect, twice, ahead, at_random)
