"""The set-points of an examination: how they are made and sent, and what the device answers."""

import secrets
from datetime import timedelta

from schemas.clauses import Clause
from schemas.messages import Ack, Fallback, PvNameplate, Setpoint
from services.conformance.examined import Examined
from services.conformance.expectation import LEAST_TOLERANCE_KW, Order, clipped_kw, highest_kw

_ROUNDING_KW = 0.011
"""What a device may round its applied power by without giving a reason."""


class Commands:
    def __init__(self, device: Examined) -> None:
        self.epoch = 1 if device.wishes.epoch is None else device.wishes.epoch
        self._device = device
        self._bench, self._wishes, self._verdicts = device.bench, device.wishes, device.verdicts
        self._plate = device.plate
        self._asked: set[str] = set()
        """Set-points that were sent; each may have one answer."""
        self._repeated: set[str] = set()
        """Those of them that were sent twice."""
        self._sent = b""
        """The last one, as it was sent."""

    def begin(self) -> bool:
        """Finds an epoch that the device takes."""
        self._device.say("its first set-point")
        ack = self.send(self.setpoint(0.0 if not isinstance(self._plate, PvNameplate) else highest_kw(self._plate)))
        if ack is None:
            self._verdicts.fail(
                Clause.ANSWER, f"its first set-point is not answered within {self._wishes.patience_s:g} s"
            )
            return False
        if not ack.accepted and ack.epoch is not None:
            self.epoch = ack.epoch
        elif not ack.accepted:
            what = f"its first set-point, of epoch {self.epoch}, is refused: {ack.reason}; --epoch gives another one"
            self._verdicts.fail(Clause.APPLIED, what)
            return False
        return True

    def setpoint(
        self,
        value_kw: float,
        *,
        valid: timedelta | None = None,
        ahead: timedelta = timedelta(0),
        fallback: Fallback = Fallback.IDLE,
        epoch: int | None = None,
    ) -> Setpoint:
        begin = self._bench.run_time + ahead
        limit = isinstance(self._plate, PvNameplate)
        return Setpoint(
            id=f"c-{secrets.token_hex(6)}",
            epoch=self.epoch if epoch is None else epoch,
            valid_from=begin,
            valid_until=begin + (timedelta(seconds=self._device.valid_s) if valid is None else valid),
            power_kw=None if limit else round(value_kw, 3),
            limit_kw=round(value_kw, 3) if limit else None,
            fallback=fallback,
            reason="examined",
        )

    def send(self, setpoint: Setpoint) -> Ack | None:
        """Sends it and waits for the answer."""
        self._sent = self._bench.stamped(setpoint)
        self._bench.publish(self._sent)
        self._asked.add(setpoint.id)
        return self.answer(setpoint.id)

    def answer(self, setpoint_id: str) -> Ack | None:
        if self._bench.until(lambda: bool(self._bench.acks(setpoint_id)), self._wishes.patience_s):
            self._verdicts.hold(Clause.ANSWER)
            return self._bench.acks(setpoint_id)[0][1]
        return None

    def repeat(self, setpoint: Setpoint) -> None:
        """Sends the last one again, which is this."""
        self._bench.publish(self._sent)
        self._repeated.add(setpoint.id)

    def order(self, setpoint: Setpoint, clause: Clause = Clause.APPLIED) -> Order | None:
        """Sends what has to be accepted; what came of it, or None."""
        ack = self.send(setpoint)
        if ack is None:
            self._verdicts.fail(
                Clause.ANSWER,
                f"no ack for {words(setpoint)} within {self._wishes.patience_s:g} s{self._device.seeded}",
            )
            return None
        value_kw = self._applied(setpoint, ack, clause)
        if value_kw is None:
            return None
        dead = timedelta(seconds=self._device.dead_s)
        return Order(setpoint, value_kw, max(self._bench.run_time + dead, setpoint.valid_from))

    def _applied(self, setpoint: Setpoint, ack: Ack, clause: Clause) -> float | None:
        """The value [kW] that the ack says is applied; judged. None: it is not to be looked at."""
        asked = asked_kw(setpoint)
        limit = setpoint.limit_kw is not None
        said = ack.applied_limit_kw if limit else ack.applied_kw
        within = clipped_kw(self._plate, asked)
        fault = None
        if not ack.accepted:
            fault = f"{words(setpoint)} is refused: {ack.reason or 'no reason'}"
        elif said is None:
            fault = f"the ack of {words(setpoint)} has no {'applied_limit_kw' if limit else 'applied_kw'}"
        elif clause is Clause.CLIP and clipped_kw(self._plate, said) != said and abs(said - within) > _ROUNDING_KW:
            fault = f"{words(setpoint)} is said to be applied as {said:g} kW; the nameplate allows {within:g} kW"
        elif abs(said - asked) > _ROUNDING_KW and not ack.reason:
            fault = f"{words(setpoint)} is applied as {said:g} kW, without a reason"
        elif abs(said) > abs(within) + LEAST_TOLERANCE_KW or said * within < 0:
            fault = f"{words(setpoint)} is said to be applied as {said:g} kW"
        self._verdicts.judge(clause, None if fault is None else fault + self._device.seeded)
        return said if fault is None else None

    def refused(self, clause: Clause, setpoint: Setpoint, what: str) -> None:
        """Sends what has to be refused."""
        ack = self.send(setpoint)
        if ack is None:
            self._verdicts.fail(Clause.ANSWER, f"no ack for a set-point {what} within {self._wishes.patience_s:g} s")
        else:
            self._verdicts.judge(clause, f"a set-point {what} is accepted" if ack.accepted else None)

    def judge_answers(self) -> None:
        """Each set-point has one answer."""
        for setpoint_id in self._asked:
            answers = len(self._bench.acks(setpoint_id))
            if answers > 1:
                clause = Clause.DUPLICATE if setpoint_id in self._repeated else Clause.ANSWER
                self._verdicts.fail(clause, f"set-point {setpoint_id} has {answers} answers{self._device.seeded}")


def asked_kw(setpoint: Setpoint) -> float:
    """Its power or its limit."""
    value = setpoint.power_kw if setpoint.limit_kw is None else setpoint.limit_kw
    assert value is not None
    return value


def value_field(setpoint: Setpoint) -> str:
    """The field that has its value."""
    return "power_kw" if setpoint.limit_kw is None else "limit_kw"


def words(setpoint: Setpoint) -> str:
    return f"{value_field(setpoint)} {asked_kw(setpoint):g}"
