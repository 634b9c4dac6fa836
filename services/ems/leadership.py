"""Which of several EMS leads: the epoch, how a new or restarted EMS takes the lead, and when an EMS steps back.

In wall time an EMS that is started, or started again, leads by an epoch above all that it has heard of: its own, which
its checkpoint keeps; that of the site's retained plan; those of set-points, and of devices that refused one. Devices
refuse lower epochs. An EMS that hears the plan of another one with a higher epoch steps back: it publishes neither
plan nor set-point any more, and says so in an alarm. It leads again when it is started again.

A lock-step run has one EMS, which the roster names, and its epoch is 0: nothing of it depends on restarts.
"""

from collections.abc import Sequence

from schemas.messages import EPOCH_STEP_MOST, Ack, Alarm, EmsMode, Plan, Setpoint, Severity, TimeMode
from schemas.participant import Json, Received, Turn

LOCKSTEP_EPOCH = 0


class Leadership:
    """The epoch of one EMS. ``mode``: only an EMS that controls takes the lead, or loses it."""

    def __init__(self, mode: EmsMode) -> None:
        self._mode = mode
        self._epoch: int | None = None
        """None: not chosen yet in this life."""
        self._started_again = False
        self._heard = 0
        """The highest epoch of others, as far as it is plausible."""
        self._leader: tuple[int, str] | None = None
        """Epoch and boot of another EMS that leads; None: this one does."""
        self._alarmed = False

    @property
    def has_stepped_back(self) -> bool:
        return self._leader is not None

    def observe(self, turn: Turn, inbox: Sequence[Received]) -> None:
        """Takes in what others say about epochs."""
        if turn.mode is TimeMode.LOCKSTEP:
            return
        for received in inbox:
            body, boot = received.body, received.stamp.boot
            if boot == turn.boot:
                continue
            if isinstance(body, Plan):
                self._hear(body.epoch)
                if body.mode is EmsMode.CONTROL:
                    self._compare(turn, body.epoch, boot)
            elif isinstance(body, Setpoint) or (isinstance(body, Ack) and body.epoch is not None):
                self._hear(body.epoch or 0)

    def _hear(self, epoch: int) -> None:
        if epoch <= self._known + EPOCH_STEP_MOST:
            self._heard = max(self._heard, epoch)

    @property
    def _known(self) -> int:
        return max(self._heard, self._epoch or 0)

    def _compare(self, turn: Turn, epoch: int, boot: str) -> None:
        """Steps back before another EMS of a higher epoch; of two that chose the same, the higher boot leads."""
        leads_now = self._mode is EmsMode.CONTROL and self._epoch is not None and not self._started_again
        if leads_now and self._epoch is not None and epoch <= self._epoch + EPOCH_STEP_MOST:
            rival, own = (epoch, boot), (self._epoch, turn.boot)
            if rival > own and (self._leader is None or rival > self._leader):
                self._leader = rival

    def epoch_at(self, turn: Turn) -> int:
        """The epoch of the plan that is made now, after `observe`."""
        if turn.mode is TimeMode.LOCKSTEP:
            return LOCKSTEP_EPOCH
        if self._mode is not EmsMode.CONTROL:
            return self._known
        if self._epoch is None or self._started_again:
            self._epoch = self._known + 1
            self._started_again, self._leader, self._alarmed = False, None, False
        elif self._leader is None:
            self._epoch = self._known  # a device knows a higher one of nobody who leads: nothing lower reaches it
        return self._epoch

    def alarm(self) -> Alarm | None:
        """What the operator has to know, once each time that this EMS steps back."""
        if self._leader is None or self._alarmed:
            return None
        self._alarmed = True
        return Alarm(
            code="ems_stepped_back",
            severity=Severity.WARNING,
            value=float(self._leader[0]),
            text=f"another EMS leads with epoch {self._leader[0]}, this one had {self._epoch}: "
            "it plans and commands nothing until it is started again",
        )

    def snapshot(self) -> Json:
        return {
            "epoch": self._epoch,
            "heard": self._heard,
            "leader": None if self._leader is None else list(self._leader),
            "alarmed": self._alarmed,
        }

    def restore(self, state: Json) -> None:
        self._epoch, self._heard = state["epoch"], state["heard"]
        leader = state["leader"]
        self._leader = None if leader is None else (leader[0], leader[1])
        self._alarmed = state["alarmed"]
        self._started_again = self._epoch is not None
