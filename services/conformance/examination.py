"""The course of an examination: set-points of every kind, one after the other, and what the device makes of them."""

import json
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.clauses import Clause
from schemas.messages import (
    EPOCH_STEP_MOST,
    VALIDITY_MOST,
    Ack,
    Fallback,
    Nameplate,
    Presence,
    PvNameplate,
    Setpoint,
    Telemetry,
)
from schemas.topics import Channel
from services.conformance.bench import Bench
from services.conformance.expectation import (
    LEAST_TOLERANCE_KW,
    Order,
    Range,
    clipped_kw,
    following,
    highest_kw,
    lowest_kw,
    on_fallback,
    telling_values,
)
from services.conformance.heard import (
    SECOND,
    Sample,
    Span,
    judge_messages,
    judge_registers,
    judge_run,
    judge_telemetry,
)
from services.conformance.proxy import CuttableWay
from services.conformance.verdicts import Verdicts

HOLD_PERIODS = 4
"""Telemetries that are looked at while a set-point holds."""
OLD_RUN = "20000101T000000.000000Z-0000"
LONG = timedelta(hours=2)
OWN_LIMIT_FRAC = 1.5
"""A set-point of so much more than the nameplate is one outside of it."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """``patience_s``: machine time for an answer; ``slack_s``: for a power to be there, and to end."""

    seed: int
    count: int = 8
    patience_s: float = 5.0
    slack_s: float = 1.0
    join_s: float = 60.0
    back_s: float = 30.0
    """Machine time that a device has to come back after its connection broke."""
    epoch: int | None = None


class Examination:
    """One device, examined once. ``way``: what it comes through; None: nothing about broken connections is judged.

    ``say`` shows progress.
    """

    def __init__(
        self,
        bench: Bench,
        wishes: Wishes,
        way: CuttableWay | None,
        say: Callable[[str], None],
    ) -> None:
        self.bench, self.wishes, self.verdicts = bench, wishes, Verdicts()
        self._way, self._say = way, say
        self._epoch = 1 if wishes.epoch is None else wishes.epoch
        self._period_s = 0.0
        """Of telemetry, as it comes [run s]."""
        self._away: list[Span] = []
        self._joined = 0
        """How many messages had been heard when it was seen in the run."""
        self._asked: set[str] = set()
        """Set-points that were sent; each may have one answer."""
        self._repeated: set[str] = set()
        """Those of them that were sent twice."""
        self._sent = b""
        """The last one, as it was sent."""
        self._last_kw: float | None = None
        """The value that was followed last: what `hold` holds."""
        self._random = random.Random(wishes.seed)  # noqa: S311 - reproducible, and no secret
        self._plate: Nameplate

    def run(self) -> Verdicts:
        if self._join():
            commanded = self._plate.commanded
            answers = commanded and self._begin_to_command()
            if answers:
                self._follow_and_fall_back()
                self._outside_the_nameplate()
                self._to_refuse()
                self._without_effect()
                self._twice()
                self._ahead()
                self._at_random()
                self._judge_answers()
            elif not commanded:
                for clause in Clause:
                    if clause.startswith("S") or clause is Clause.EXPIRY_ALONE:
                        self.verdicts.skip(clause, "its nameplate takes no set-points")
                self._watch(HOLD_PERIODS * 2)
            self._broken_connection(commanded=answers)
            self._passive()
            self._retained()
        return self.verdicts

    # ---- it joins

    def _join(self) -> bool:
        bench, verdicts = self.bench, self.verdicts
        self._say("waiting for its birth, state and telemetry")

        def in_the_run() -> bool:
            last = next((each for each in reversed(bench.heard) if isinstance(each.body, Telemetry)), None)
            live = last is not None and last.stamp is not None and not last.retained
            return bool(live and last and last.stamp and last.stamp.run in (None, bench.run) and bench.here())

        joined = bench.until(in_the_run, self.wishes.join_s)
        birth = bench.birth
        if birth is None:
            faults = [each.fault for each in bench.heard if each.topic.channel is Channel.BIRTH and each.fault]
            verdicts.fail(Clause.BIRTH, faults[0] if faults else f"no birth within {self.wishes.join_s:g} s")
            return False
        self._plate = birth[1].nameplate
        verdicts.judge(Clause.STATE, None if bench.here() else self._state_text())
        if not joined:
            if bench.here():
                verdicts.fail(Clause.PERIOD, f"no telemetry in the run within {self.wishes.join_s:g} s")
            return False
        self._joined = len(bench.heard)
        first = len(bench.samples)
        period_s = birth[1].telemetry_period_s
        if period_s is None:
            verdicts.fail(Clause.PERIOD, "its birth has no telemetry_period_s")
            return False
        allowed_s = bench.machine_s(3 * 3 * period_s) + self.wishes.patience_s
        if not bench.until(lambda: len(bench.samples) >= first + 3, allowed_s):
            verdicts.fail(Clause.PERIOD, f"no three telemetries within {allowed_s:.1f} s")
            return False
        newest = bench.samples[-3:]
        gaps = [(two.ts - one.ts) / SECOND for one, two in pairwise(newest)]
        self._period_s = min(max([*gaps, 0.05]), period_s)
        judge_telemetry(newest, birth[1], bench.pace, self.wishes.slack_s * bench.pace, (), verdicts)
        if Clause.CLOCK in verdicts.failures:
            for clause in Clause:
                verdicts.skip(clause, "by a clock that is wrong nothing else can be judged")
            return False
        return True

    def _state_text(self) -> str:
        state, birth = self.bench.last_state(), self.bench.birth
        assert birth is not None
        if state is None:
            return "it has no state"
        return f"state is {state[1].state} of boot {state[0].boot}, and the birth is of {birth[0].boot}"

    # ---- set-points

    @property
    def _settle_s(self) -> float:
        """For a power to be there [run s]."""
        ramp = getattr(self._plate, "ramp_kw_per_s", None)
        reach = highest_kw(self._plate) - lowest_kw(self._plate)
        return (reach / ramp if ramp else 0.0) + self.wishes.slack_s * self.bench.pace + 2 * self._period_s

    @property
    def _dead_s(self) -> float:
        return float(getattr(self._plate, "dead_time_s", 0.0))

    @property
    def _valid_s(self) -> float:
        """Long enough to be followed, and looked at."""
        return self._dead_s + self._settle_s + HOLD_PERIODS * self._period_s

    def _setpoint(
        self,
        value_kw: float,
        *,
        valid: timedelta | None = None,
        ahead: timedelta = timedelta(0),
        fallback: Fallback = Fallback.IDLE,
        epoch: int | None = None,
    ) -> Setpoint:
        begin = self.bench.run_time + ahead
        limit = isinstance(self._plate, PvNameplate)
        return Setpoint(
            id=f"c-{secrets.token_hex(6)}",
            epoch=self._epoch if epoch is None else epoch,
            valid_from=begin,
            valid_until=begin + (timedelta(seconds=self._valid_s) if valid is None else valid),
            power_kw=None if limit else round(value_kw, 3),
            limit_kw=round(value_kw, 3) if limit else None,
            fallback=fallback,
            reason="examined",
        )

    def _send(self, setpoint: Setpoint) -> Ack | None:
        """Sends it and waits for the answer."""
        self._sent = self.bench.stamped(setpoint)
        self.bench.publish(self._sent)
        self._asked.add(setpoint.id)
        return self._answer(setpoint.id)

    def _answer(self, setpoint_id: str) -> Ack | None:
        if self.bench.until(lambda: bool(self.bench.acks(setpoint_id)), self.wishes.patience_s):
            self.verdicts.hold(Clause.ANSWER)
            return self.bench.acks(setpoint_id)[0][1]
        return None

    def _order(self, setpoint: Setpoint, clause: Clause = Clause.APPLIED) -> Order | None:
        """Sends what has to be accepted; what came of it, or None."""
        ack = self._send(setpoint)
        if ack is None:
            self.verdicts.fail(
                Clause.ANSWER, f"no ack for {_words(setpoint)} within {self.wishes.patience_s:g} s{self._seeded}"
            )
            return None
        value_kw = self._applied(setpoint, ack, clause)
        if value_kw is None:
            return None
        dead = timedelta(seconds=self._dead_s)
        return Order(setpoint, value_kw, max(self.bench.run_time + dead, setpoint.valid_from))

    @property
    def _seeded(self) -> str:
        return f" (seed {self.wishes.seed})"

    def _applied(self, setpoint: Setpoint, ack: Ack, clause: Clause) -> float | None:
        """The value [kW] that the ack says is applied; judged. None: it is not to be looked at."""
        asked = _value(setpoint)
        limit = setpoint.limit_kw is not None
        said = ack.applied_limit_kw if limit else ack.applied_kw
        within = clipped_kw(self._plate, asked)
        fault = None
        if not ack.accepted:
            fault = f"{_words(setpoint)} is refused: {ack.reason or 'no reason'}"
        elif said is None:
            fault = f"the ack of {_words(setpoint)} has no {'applied_limit_kw' if limit else 'applied_kw'}"
        elif clause is Clause.CLIP and clipped_kw(self._plate, said) != said and abs(said - within) > _ROUNDING_KW:
            fault = f"{_words(setpoint)} is said to be applied as {said:g} kW; the nameplate allows {within:g} kW"
        elif abs(said - asked) > _ROUNDING_KW and not ack.reason:
            fault = f"{_words(setpoint)} is applied as {said:g} kW, without a reason"
        elif abs(said) > abs(within) + LEAST_TOLERANCE_KW or said * within < 0:
            fault = f"{_words(setpoint)} is said to be applied as {said:g} kW"
        self.verdicts.judge(clause, None if fault is None else fault + self._seeded)
        return said if fault is None else None

    def _begin_to_command(self) -> bool:
        """Finds an epoch that the device takes."""
        self._say("its first set-point")
        ack = self._send(self._setpoint(0.0 if not isinstance(self._plate, PvNameplate) else highest_kw(self._plate)))
        if ack is None:
            self.verdicts.fail(
                Clause.ANSWER, f"its first set-point is not answered within {self.wishes.patience_s:g} s"
            )
            return False
        if not ack.accepted and ack.epoch is not None:
            self._epoch = ack.epoch
        elif not ack.accepted:
            what = f"its first set-point, of epoch {self._epoch}, is refused: {ack.reason}; --epoch gives another one"
            self.verdicts.fail(Clause.APPLIED, what)
            return False
        return True

    def _value(self, which: int) -> float:
        return telling_values(self._plate, self.bench.samples[-1].body)[which]

    # ---- what flows

    def _range(self, order: Order, sample: Sample) -> Range:
        return following(self._plate, order.value_kw, sample.body)

    def _reaches(self, clause: Clause, since: datetime, bound: Callable[[Sample], Range], what: str) -> Sample | None:
        """The first telemetry from ``since`` on that is within, if it comes in time; else the clause fails."""
        deadline = since + timedelta(seconds=self._settle_s)
        machine_s = (deadline - self.bench.run_time) / SECOND / self.bench.pace
        seen: list[Sample] = []

        def decided() -> bool:
            seen[:] = self.bench.samples_from(since)
            return any(bound(each).has(each.body.power_kw) or each.ts > deadline for each in seen)

        patience_s = self.wishes.patience_s + self.bench.machine_s(2 * self._period_s)
        self.bench.until(decided, max(machine_s, 0.0) + patience_s)
        for each in seen:
            if each.ts <= deadline and bound(each).has(each.body.power_kw):
                return each
        if seen and seen[0].ts > deadline:
            self.verdicts.fail(Clause.PERIOD, f"{what}: no telemetry from {since:%H:%M:%S} to {seen[0].ts:%H:%M:%S}")
        elif seen:
            newest = seen[-1]
            late_s = (newest.ts - since) / SECOND
            measured = f"{newest.body.power_kw:.4g} kW is measured {late_s:.1f} s later"
            self.verdicts.fail(clause, f"{what}: {bound(newest)} is expected, {measured}{self._seeded}")
        else:
            self.verdicts.fail(Clause.PERIOD, f"{what}: no telemetry after {since:%H:%M:%S}")
        return None

    def _stays(
        self, clause: Clause, since: datetime, until: datetime, bound: Callable[[Sample], Range], what: str
    ) -> bool:
        """Whether all telemetry of [since, until) is within."""
        left_s = (until - self.bench.run_time) / SECOND / self.bench.pace
        patience_s = self.wishes.patience_s + self.bench.machine_s(2 * self._period_s)
        self.bench.until(lambda: bool(self.bench.samples_from(until)), max(left_s, 0.0) + patience_s)
        for each in self.bench.samples_from(since):
            if each.ts < until and not bound(each).has(each.body.power_kw):
                before_s = (until - each.ts) / SECOND
                self.verdicts.fail(
                    clause,
                    f"{what}: {bound(each)} is expected, {each.body.power_kw:.4g} kW is measured {before_s:.1f} s "
                    f"before its end{self._seeded}",
                )
                return False
        self.verdicts.hold(clause)
        return True

    def _followed(self, order: Order) -> Sample | None:
        what = f"on {_words(order.setpoint)}, acknowledged as {order.value_kw:g} kW"
        found = self._reaches(Clause.FOLLOWED, order.followed_from, lambda each: self._range(order, each), what)
        if found is None:
            return None
        if self._tells(order, found):
            self.verdicts.hold(Clause.FOLLOWED)
        else:
            self.verdicts.skip(Clause.FOLLOWED, _NO_ROOM)
        self._last_kw = order.value_kw
        return found

    def _tells(self, order: Order, sample: Sample) -> bool:
        """Whether what flows differs from rest, and is all that is asked for."""
        bound = self._range(order, sample)
        return not bound.has(0.0)

    def _expires(self, order: Order, reached: Sample, clause: Clause = Clause.EXPIRY) -> None:
        """It holds until its end, then its fallback does."""
        until, fallback = order.setpoint.valid_until, order.setpoint.fallback
        what = f"until {until:%H:%M:%S} of {_words(order.setpoint)}"
        if not self._stays(clause, reached.ts, until, lambda each: self._range(order, each), what):
            return

        def bound(each: Sample) -> Range:
            return on_fallback(self._plate, fallback, order.value_kw, each.body)

        if self._reaches(clause, until, bound, f"fallback {fallback} after {_words(order.setpoint)}") is not None:
            self.verdicts.hold(clause)

    def _watch(self, periods: float) -> None:
        self.bench.until(lambda: False, self.bench.machine_s(periods * self._period_s))

    # ---- the parts

    def _follow_and_fall_back(self) -> None:
        for turn, fallback in enumerate((Fallback.IDLE, Fallback.HOLD, Fallback.UNCONTROLLED)):
            self._say(f"a set-point and its end, fallback {fallback}")
            order = self._order(self._setpoint(self._value(turn % 2), fallback=fallback))
            if order is not None and (reached := self._followed(order)) is not None:
                self._expires(order, reached)

    def _outside_the_nameplate(self) -> None:
        self._say("set-points outside the nameplate")
        high, low = highest_kw(self._plate), lowest_kw(self._plate)
        beyond = [OWN_LIMIT_FRAC * high + 1.0]
        if not isinstance(self._plate, PvNameplate):
            beyond.append(OWN_LIMIT_FRAC * low - 1.0)
        for value_kw in beyond:
            order = self._order(self._setpoint(value_kw), Clause.CLIP)
            if order is not None:
                self._followed(order)

    def _refused(self, clause: Clause, setpoint: Setpoint, what: str) -> None:
        ack = self._send(setpoint)
        if ack is None:
            self.verdicts.fail(Clause.ANSWER, f"no ack for a set-point {what} within {self.wishes.patience_s:g} s")
        else:
            self.verdicts.judge(clause, f"a set-point {what} is accepted" if ack.accepted else None)

    def _to_refuse(self) -> None:
        self._say("set-points that are to be refused")
        value = self._value(0)
        now = self.bench.run_time
        over = self._setpoint(value).model_copy(
            update={"valid_from": now - timedelta(seconds=900), "valid_until": now - timedelta(seconds=300)}
        )
        self._refused(Clause.OVER, over, "that is over")
        self._refused(Clause.TOO_LONG, self._setpoint(value, valid=VALIDITY_MOST + LONG), "that ends in 50 h")
        wrong = self._setpoint(value)
        other = (
            {"power_kw": -abs(value), "limit_kw": None}
            if isinstance(self._plate, PvNameplate)
            else {"power_kw": None, "limit_kw": abs(value)}
        )
        field = "power_kw" if isinstance(self._plate, PvNameplate) else "limit_kw"
        self._refused(Clause.WRONG_FIELD, wrong.model_copy(update=other), f"with {field}")
        self._refused(
            Clause.EPOCH,
            self._setpoint(value, epoch=self._epoch + EPOCH_STEP_MOST + 1000),
            f"{EPOCH_STEP_MOST + 1000} epochs above the highest",
        )
        self._epoch += 1
        if self._order(self._setpoint(value)) is not None:
            self._refused(Clause.EPOCH, self._setpoint(value, epoch=self._epoch - 1), "of a lower epoch")

    def _without_effect(self) -> None:
        """A valid set-point holds while all of this comes, and it goes on to hold."""
        self._say("messages that are not of the contract, or of another run")
        order = self._order(self._setpoint(self._value(0), valid=LONG))
        reached = None if order is None else self._followed(order)
        other = self._value(1)
        wrong = {name: self._setpoint(other) for name in _MALFORMED}
        field = "limit_kw" if isinstance(self._plate, PvNameplate) else "power_kw"
        begun = self.bench.run_time
        for name, setpoint in wrong.items():
            self.bench.publish(_malformed(name, self.bench, setpoint, field))
        foreign = self._setpoint(other)
        self.bench.publish(self.bench.stamped(foreign, run=OLD_RUN))
        # What came before this one's answer had its time.
        last = self._order(self._setpoint(self._value(0), valid=LONG))
        until = self.bench.run_time + timedelta(seconds=HOLD_PERIODS * self._period_s)
        if order is not None and reached is not None and last is not None:
            self._stays(
                Clause.NOT_OF_CONTRACT,
                begun,
                until,
                lambda each: self._range(last, each),
                f"while messages come that are not of the contract, on {_words(last.setpoint)}",
            )
        for name, setpoint in wrong.items():
            accepted = any(ack.accepted for _, ack in self.bench.acks(setpoint.id))
            self.verdicts.judge(Clause.NOT_OF_CONTRACT, f"a set-point {name} is accepted" if accepted else None)
        accepted = any(ack.accepted for _, ack in self.bench.acks(foreign.id))
        self.verdicts.judge(Clause.OTHER_RUN, f"a set-point of run {OLD_RUN} is accepted" if accepted else None)

    def _twice(self) -> None:
        self._say("a set-point that comes twice")
        first = self._setpoint(self._value(0), valid=LONG)
        payload = self.bench.stamped(first)
        self.bench.publish(payload)
        if self._answer(first.id) is None:
            self.verdicts.fail(Clause.ANSWER, f"no ack for {_words(first)} within {self.wishes.patience_s:g} s")
            return
        second = self._order(self._setpoint(self._value(1), valid=LONG))
        if second is None or (reached := self._followed(second)) is None:
            return
        self.bench.publish(payload)  # late and again: it must not come back into force
        # An answer to what is sent after it shows that it has been read.
        self._send(self._setpoint(self._value(1), epoch=self._epoch - 1))
        until = self.bench.run_time + timedelta(seconds=HOLD_PERIODS * self._period_s)
        self._stays(
            Clause.DUPLICATE, reached.ts, until, lambda each: self._range(second, each), "after a set-point came twice"
        )
        answers = len(self.bench.acks(first.id))
        self.verdicts.judge(
            Clause.DUPLICATE, f"a set-point that came twice has {answers} answers" if answers > 1 else None
        )

    def _ahead(self) -> None:
        self._say("a set-point that lies ahead")
        now_order = self._order(self._setpoint(self._value(0), valid=LONG))
        reached = None if now_order is None else self._followed(now_order)
        if now_order is None or reached is None:
            return
        ahead = timedelta(seconds=self._settle_s + HOLD_PERIODS * self._period_s)
        later = self._order(self._setpoint(self._value(1), ahead=ahead))
        if later is None:
            return
        begin = later.setpoint.valid_from
        bound: Callable[[Sample], Range] = lambda each: self._range(now_order, each)  # noqa: E731 - it has a name
        if self._stays(Clause.AHEAD, reached.ts, begin, bound, f"before valid_from of {_words(later.setpoint)}"):
            self._followed(later)

    def _at_random(self) -> None:
        rng, plate = self._random, self._plate
        for number in range(self.wishes.count):
            self._say(f"random set-points, {number + 1} of {self.wishes.count}, seed {self.wishes.seed}")
            spread = (lowest_kw(plate) * 1.3, highest_kw(plate) * 1.3)
            value = round(rng.uniform(*spread), 2)
            fallback = rng.choice(list(Fallback))
            expires, again, low_epoch = rng.random() < 0.3, rng.random() < 0.3, rng.random() < 0.2
            if low_epoch:
                self._refused(Clause.EPOCH, self._setpoint(value, epoch=self._epoch - 1), "of a lower epoch")
            within = clipped_kw(plate, value) == value
            setpoint = self._setpoint(value, fallback=fallback, valid=None if expires else LONG)
            order = self._order(setpoint, Clause.APPLIED if within else Clause.CLIP)
            if order is None or (reached := self._followed(order)) is None:
                continue
            if again and not expires:
                self.bench.publish(self._sent)
                self._repeated.add(setpoint.id)
            if expires:
                self._expires(order, reached)

    def _judge_answers(self) -> None:
        for setpoint_id in self._asked:
            answers = len(self.bench.acks(setpoint_id))
            if answers > 1:
                clause = Clause.DUPLICATE if setpoint_id in self._repeated else Clause.ANSWER
                self.verdicts.fail(clause, f"set-point {setpoint_id} has {answers} answers{self._seeded}")

    # ---- the connection

    def _broken_connection(self, *, commanded: bool) -> None:
        clauses = (Clause.WILL, Clause.BACK, *((Clause.EXPIRY_ALONE,) if commanded else ()))
        way, bench = self._way, self.bench
        if way is None:
            for clause in clauses:
                self.verdicts.skip(clause, "only with --through, where the device's connection can be cut")
            return
        if way.connections == 0:
            for clause in clauses:
                self.verdicts.skip(clause, f"the device has not come through port {way.port}")
            return
        self._say("its connection is cut")
        order = reached = None
        if commanded:
            order = self._order(self._setpoint(self._value(0), fallback=Fallback.IDLE))
            reached = None if order is None else self._followed(order)
        birth = bench.birth
        assert birth is not None
        begun, since = len(bench.heard), bench.run_time
        way.cut()

        def gone() -> bool:
            state = bench.last_state()
            return state is not None and state[1].state is Presence.OFFLINE

        offline = bench.until(gone, self.wishes.patience_s + self.wishes.slack_s)
        self.verdicts.judge(Clause.WILL, self._will_fault(birth[0].boot, offline))
        if order is not None:
            over_s = (order.setpoint.valid_until - bench.run_time) / SECOND + self._settle_s
            bench.until(lambda: False, max(bench.machine_s(over_s), 0.0))
        way.restore()
        began = bench.monotonic()
        back = bench.until(lambda: bench.here() and _born_since(bench, begun), self.wishes.back_s)
        took_s = bench.monotonic() - began
        self._away.append((since, bench.run_time))
        if not back:
            self.verdicts.fail(Clause.BACK, f"no birth and state within {self.wishes.back_s:g} s: {self._state_text()}")
            return
        if order is not None and reached is not None:
            self._alone(order)
        if not commanded or self._order(self._setpoint(self._value(1)), Clause.BACK) is not None:
            self.verdicts.hold(Clause.BACK)
        self._say(f"it was back after {took_s:.1f} s")
        self._watch(HOLD_PERIODS)

    def _will_fault(self, boot: str, offline: bool) -> str | None:
        state = self.bench.last_state()
        if not offline or state is None:
            return "no offline when its connection broke"
        stamp = state[0]
        if stamp.boot != boot or stamp.seq != 0:
            return f"offline is seq {stamp.seq} of boot {stamp.boot}; 0 of {boot} is expected"
        return None

    def _alone(self, order: Order) -> None:
        """The set-point ended while nobody could say so."""
        if Clause.EXPIRY in self.verdicts.failures:
            self.verdicts.skip(Clause.EXPIRY_ALONE, f"its set-points do not end with a connection, see {Clause.EXPIRY}")
            return
        since = order.setpoint.valid_until + timedelta(seconds=self._settle_s)
        bench = self.bench
        patience_s = self.wishes.patience_s + bench.machine_s(3 * self._period_s)
        bench.until(lambda: bool(bench.samples_from(since)), patience_s)
        for each in bench.samples_from(since)[:HOLD_PERIODS]:
            bound = on_fallback(self._plate, order.setpoint.fallback, order.value_kw, each.body)
            measured = f"{each.body.power_kw:.4g} kW is measured"
            fault = f"after the end of {_words(order.setpoint)}: {bound} is expected, {measured}"
            self.verdicts.judge(Clause.EXPIRY_ALONE, None if bound.has(each.body.power_kw) else fault)

    # ---- at the end

    def _retained(self) -> None:
        """Birth and state as who comes later finds them."""
        bench = self.bench
        birth = bench.birth
        assert birth is not None
        bench.listen_anew()
        kept: dict[Channel, bytes] = {}

        def both() -> bool:
            kept.update(
                {
                    each.topic.channel: each.payload
                    for each in bench.heard[begun:]
                    if each.retained and each.topic.channel in (Channel.BIRTH, Channel.STATE)
                }
            )
            return len(kept) == 2

        begun = len(bench.heard)
        bench.until(both, self.wishes.patience_s)
        fault = None if Channel.BIRTH in kept else "its birth is not retained"
        if fault is None and json.loads(kept[Channel.BIRTH])["boot"] != birth[0].boot:
            fault = "the birth that is retained is of another life"
        self.verdicts.judge(Clause.BIRTH, fault)
        self.verdicts.judge(Clause.STATE, None if Channel.STATE in kept else "its state is not retained")
        if not bench.here() and Clause.BACK not in self.verdicts.failures:
            self.verdicts.fail(Clause.STATE, self._state_text())

    def _passive(self) -> None:
        bench, birth = self.bench, self.bench.birth
        assert birth is not None
        judge_messages(bench.heard, bench.run, self.verdicts)
        judge_run(bench.heard[self._joined :], bench.run, self.verdicts)
        judge_telemetry(
            bench.samples, birth[1], bench.pace, self.wishes.slack_s * bench.pace, self._away, self.verdicts
        )
        judge_registers(bench.samples, self._period_s, self.verdicts)


_ROUNDING_KW = 0.011
"""What a device may round its applied power by without giving a reason."""
_NO_ROOM = "nothing could flow: no vehicle, no room in its store or nothing to produce"
_MALFORMED = (
    "that is no JSON",
    "with text as its value",
    "with a field that the contract does not have",
    "that ends before it begins",
    "of another contract",
    "with NaN",
    "without a time zone",
    "without an epoch",
)


def _malformed(name: str, bench: Bench, setpoint: Setpoint, field: str) -> bytes:
    if name == "that is no JSON":
        return bench.stamped(setpoint)[:-1]
    if name == "with NaN":
        return bench.altered(setpoint, **{field: float("nan")})
    changes: dict[str, object] = {
        "with text as its value": {field: str(_value(setpoint))},
        "with a field that the contract does not have": {"boost": True},
        "that ends before it begins": {"valid_until": (setpoint.valid_from - timedelta(minutes=1)).isoformat()},
        "of another contract": {"contract": 3},
        "without a time zone": {"valid_until": f"{setpoint.valid_until:%Y-%m-%dT%H:%M:%S}"},
        "without an epoch": {"epoch": None},
    }
    altered = changes[name]
    assert isinstance(altered, dict)
    return bench.altered(setpoint, **altered)


def _born_since(bench: Bench, begun: int) -> bool:
    """Birth and state came again."""
    channels = {each.topic.channel for each in bench.heard[begun:] if each.stamp is not None and each.stamp.seq > 0}
    return {Channel.BIRTH, Channel.STATE} <= channels


def _value(setpoint: Setpoint) -> float:
    value = setpoint.power_kw if setpoint.limit_kw is None else setpoint.limit_kw
    assert value is not None
    return value


def _words(setpoint: Setpoint) -> str:
    name = "power_kw" if setpoint.limit_kw is None else "limit_kw"
    return f"{name} {_value(setpoint):g}"
