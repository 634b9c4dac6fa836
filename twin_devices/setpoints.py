"""Set-point handling of one device, without its physics: epoch, clip, validity, dead time, fallback and ack.

Twins and drivers of real devices share it. A driver hands over what it receives, asks for the target, and asks to be
called again when that changes::

    setpoints = SetpointHandler(Fallback.IDLE, lambda s: clip_power(s, "charger", 0.0, 22.0), dead_time_s=2.0)
    acks = setpoints.receive(setpoint, at)
    power_kw = setpoints.target_at(at).value_or(idle_kw=0.0, uncontrolled_kw=22.0, unknown_kw=0.0)
    wake_at = setpoints.next_change()
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import EPOCH_STEP_MOST, SETPOINTS_AHEAD_MOST, VALIDITY_MOST, Ack, Fallback, Setpoint
from schemas.participant import Json
from twin_devices.setpoint_queue import Accepted, SetpointQueue, Target

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Clipped:
    """The value [kW] of a set-point that the device will follow, and why it differs; or None, and why it refuses."""

    value_kw: float | None
    reason: str | None = None


def clip_power(setpoint: Setpoint, kind: str, lowest_kw: float, highest_kw: float) -> Clipped:
    """``power_kw`` within the nameplate's range [kW]; refuses ``limit_kw``. ``kind`` names the device in the reason."""
    if setpoint.power_kw is None:
        return Clipped(None, f"a {kind} takes power_kw, not limit_kw")
    power_kw = min(max(setpoint.power_kw, lowest_kw), highest_kw)
    if power_kw == setpoint.power_kw:
        return Clipped(power_kw)
    return Clipped(power_kw, f"power_kw {setpoint.power_kw} is outside the nameplate, {lowest_kw} to {highest_kw} kW")


def clip_limit(setpoint: Setpoint, rated_kw: float) -> Clipped:
    """``limit_kw`` up to the inverter's rating [kW]; refuses ``power_kw``."""
    if setpoint.limit_kw is None:
        return Clipped(None, "a PV inverter takes limit_kw, not power_kw")
    if setpoint.limit_kw > rated_kw:
        return Clipped(rated_kw, f"limit_kw {setpoint.limit_kw} is above the rating {rated_kw} kW")
    return Clipped(setpoint.limit_kw)


class SetpointHandler:
    """Accepts or refuses set-points, and knows the target at every instant.

    ``fallback`` holds before the first set-point. ``clip`` brings a set-point within the nameplate or refuses it.
    ``dead_time_s`` passes between receiving a set-point and following it.
    """

    def __init__(self, fallback: Fallback, clip: Callable[[Setpoint], Clipped], *, dead_time_s: float = 0.0) -> None:
        self._clip = clip
        self._dead_time = timedelta(seconds=dead_time_s)
        self._fallback = fallback
        self._queue = SetpointQueue(fallback)
        self._epoch = 0

    @property
    def target(self) -> Target:
        """The target at the instant that was last settled."""
        return self._queue.target

    def target_at(self, at: datetime) -> Target:
        """The target just after ``at``. Instants must not go backwards."""
        self._queue.settle(at, expire=True)
        return self._queue.target

    def settle(self, at: datetime, *, expire: bool) -> None:
        """Brings ``target`` to the instant ``at``. ``expire``: a set-point valid until ``at`` itself is over, too."""
        self._queue.settle(at, expire=expire)

    def next_change(self) -> datetime | None:
        """The next instant at which the target changes; None: it holds until a set-point comes."""
        return self._queue.next_change()

    @property
    def epoch(self) -> int:
        """The highest epoch that was seen; who commands at the device itself uses it."""
        return self._epoch

    def withdraw(self, reason: str) -> list[Ack]:
        """Gives up every set-point, the active one, too, and says so; the fallback of the beginning holds."""
        return [_refused(each.id, reason) for each in self._queue.withdraw(self._fallback)]

    def receive(self, setpoint: Setpoint, at: datetime) -> list[Ack]:
        """Queues a set-point received at ``at``, or refuses it.

        The first ack answers it, with the value after the clip. Another one follows when the set-point that lay
        farthest ahead was given up for it.
        """
        refusal = self._refusal_by_epoch(setpoint.epoch)
        if refusal is not None:
            return [_refused(setpoint.id, refusal, epoch=self._epoch)]
        clipped = self._clip(setpoint)
        if clipped.value_kw is None:
            return [_refused(setpoint.id, clipped.reason or "not possible")]
        accepted = self._accept(setpoint, clipped.value_kw, at)
        if isinstance(accepted, str):
            return [_refused(setpoint.id, accepted)]
        given_up = self._queue.insert(accepted, most=SETPOINTS_AHEAD_MOST)
        too_many = f"given up: more than {SETPOINTS_AHEAD_MOST} set-points lie ahead, and it is the farthest"
        if given_up is accepted:
            return [_refused(setpoint.id, too_many)]
        is_power = setpoint.power_kw is not None
        ack = Ack(
            id=setpoint.id,
            accepted=True,
            applied_kw=clipped.value_kw if is_power else None,
            applied_limit_kw=None if is_power else clipped.value_kw,
            reason=clipped.reason,
        )
        return [ack] if given_up is None else [ack, _refused(given_up.id, too_many)]

    def _refusal_by_epoch(self, epoch: int) -> str | None:
        """Raises the highest epoch that was seen; or says why this one is refused, and changes nothing."""
        if epoch < self._epoch:
            return f"epoch {epoch} is below {self._epoch}, which was seen before"
        if epoch > self._epoch + EPOCH_STEP_MOST:
            return f"epoch {epoch} is more than {EPOCH_STEP_MOST} above {self._epoch}, the highest that was seen before"
        self._epoch = epoch
        return None

    def _accept(self, setpoint: Setpoint, value_kw: float, at: datetime) -> Accepted | str:
        """The set-point as it goes into the queue, or why it is refused."""
        until = setpoint.valid_until
        if until <= at:
            return f"valid_until {until.isoformat()} is not after {at.isoformat()}"
        if until > at + VALIDITY_MOST:
            return f"valid_until {until.isoformat()} is more than {VALIDITY_MOST / HOUR:g} h after {at.isoformat()}"
        effective_from = max(at, setpoint.valid_from)
        followed_from = max(at + self._dead_time, setpoint.valid_from)
        if followed_from >= until:
            return f"it would be over before the dead time of {self._dead_time.total_seconds()} s"
        fallback, phases = setpoint.fallback, setpoint.phases
        return Accepted(setpoint.id, value_kw, effective_from, followed_from, until, fallback, phases)

    def snapshot(self) -> Json:
        return {"epoch": self._epoch, "queue": self._queue.snapshot()}

    def restore(self, state: Json) -> None:
        self._epoch = state["epoch"]
        self._queue.restore(state["queue"])


def _refused(setpoint_id: str, reason: str, epoch: int | None = None) -> Ack:
    return Ack(id=setpoint_id, accepted=False, reason=reason, epoch=epoch)
