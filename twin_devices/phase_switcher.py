"""Which phases a charger uses that switches between one and three: pause, hold, and what a set-point wants."""

from datetime import datetime, timedelta

from schemas.messages import Ack, ChargerNameplate, Phases, PhasesSwitched, Setpoint
from schemas.participant import Json
from twin_devices.physics.converter import feasible_power_kw
from twin_devices.setpoint_queue import Target


class PhaseSwitcher:
    """Decides once for each set-point, when it is followed: an ack stays true. A fallback waits for the hold's end.

    It begins on three phases, and may switch at once. While nothing is to flow it does not switch.
    """

    def __init__(self, plate: ChargerNameplate) -> None:
        """Of a charger with ``phase_switch``."""
        assert plate.phase_switch is not None
        self._plate = plate
        self._pause = timedelta(seconds=plate.phase_switch.pause_s)
        self._hold = timedelta(seconds=plate.phase_switch.hold_s)
        self.phases: Phases = 3
        self._held_until: datetime | None = None
        self._resumes: datetime | None = None
        self._decided: str | None = None
        """The set-point for which the phases are decided."""
        self._waits = False
        """A fallback wants the other phases."""
        self.switched: list[PhasesSwitched] = []
        """Since the last telemetry."""

    def follow(self, at: datetime, power_kw: float, target: Target) -> None:
        """Switches at ``at`` if the target wants and the hold allows it."""
        if target.setpoint is not None and target.setpoint == self._decided:
            return
        self._decided = target.setpoint
        wanted = self._wanted(power_kw, target.phases)
        is_held = self.held_until(at) is not None
        self._waits = target.setpoint is None and wanted != self.phases and is_held
        if wanted != self.phases and not is_held:
            self.phases = wanted
            self._resumes, self._held_until = at + self._pause, at + self._hold
            self.switched.append(PhasesSwitched(at, wanted))

    def decide_again(self) -> None:
        """Another vehicle is there: the set-point that holds has not been decided for it."""
        self._decided, self._waits = None, False

    def foreseen(self, at: datetime, power_kw: float, phases: Phases | None) -> tuple[Phases, str | None]:
        """On which a set-point is charged that is followed from ``at`` on; and why on others than it wants."""
        wanted = self._wanted(power_kw, phases)
        until = self.held_until(at)
        if wanted == self.phases or until is None:
            return wanted, None
        return self.phases, f"phases are held until {until.isoformat()}: it stays on {self.phases}"

    def possible_kw(self, power_kw: float, phases: Phases) -> float:
        """The part of a charging power [kW] that these phases give."""
        least_kw, most_kw = self._plate.range_kw(phases)
        return feasible_power_kw(power_kw, most_kw, 0.0, least_kw)

    def answered(self, ack: Ack, setpoint: Setpoint, at: datetime) -> Ack:
        """The answer to an accepted set-point that came at ``at``, with its phases and what these give of its power."""
        asked_kw = ack.applied_kw or 0.0
        phases, why = self.foreseen(max(at, setpoint.valid_from), asked_kw, setpoint.phases)
        applied_kw = self.possible_kw(asked_kw, phases)
        if applied_kw != asked_kw and why is None:
            least_kw, most_kw = self._plate.range_kw(phases)
            why = f"on {phases} it gives {least_kw:g} to {most_kw:g} kW"
        reasons = [text for text in (ack.reason, why) if text is not None]
        reason = "; ".join(reasons) or None
        return ack.model_copy(update={"applied_kw": applied_kw, "phases": phases, "reason": reason})

    def _wanted(self, power_kw: float, phases: Phases | None) -> Phases:
        if power_kw <= 0:
            return self.phases
        return self._plate.phases_for(power_kw, self.phases) if phases is None else phases

    def is_paused(self, at: datetime) -> bool:
        """Whether charging is interrupted just after ``at``."""
        return self._resumes is not None and at < self._resumes

    def is_settled(self, at: datetime) -> bool:
        """Whether no switch was under way or begun after ``at``."""
        return self._resumes is None or self._resumes <= at

    def held_until(self, at: datetime) -> datetime | None:
        """The end of the hold at ``at``; None: it may switch."""
        return self._held_until if self._held_until is not None and at < self._held_until else None

    def next_change(self, after: datetime) -> datetime | None:
        """The end of the pause, or of the hold that a fallback waits for."""
        changes = (self._resumes, self._held_until if self._waits else None)
        return min((change for change in changes if change is not None and change > after), default=None)

    def take_switched(self) -> tuple[PhasesSwitched, ...]:
        """Switches since this was called last."""
        switched, self.switched = tuple(self.switched), []
        return switched

    def snapshot(self) -> Json:
        return {
            "phases": self.phases,
            "held_until": None if self._held_until is None else self._held_until.isoformat(),
            "resumes": None if self._resumes is None else self._resumes.isoformat(),
            "decided": self._decided,
            "waits": self._waits,
            "switched": [[each.at.isoformat(), each.phases] for each in self.switched],
        }

    def restore(self, state: Json) -> None:
        self.phases = state["phases"]
        held, resumes = state["held_until"], state["resumes"]
        self._held_until = None if held is None else datetime.fromisoformat(held)
        self._resumes = None if resumes is None else datetime.fromisoformat(resumes)
        self._decided, self._waits = state["decided"], state["waits"]
        self.switched = [PhasesSwitched(datetime.fromisoformat(at), phases) for at, phases in state["switched"]]
