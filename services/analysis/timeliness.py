"""Whether set-points and telemetry came in time: what the results of a run and of a day say of it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from schemas.messages import NetworkTelemetry, Run, TimeMode
from schemas.punctuality import NOTICED_FRAC, PunctualityCount
from schemas.topics import Channel
from services.history.reader import History
from services.history.tracks import Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeliness:
    """Set-points, and the time in which a run went. All 0 or none where nothing was late, as always in lock-step."""

    setpoints_sent: int
    setpoints_refused: int
    """By their devices: too late, too long, beyond what they are. Each once."""
    setpoints_late: int = 0
    """In wall time: answered by their devices later than a tenth of the settlement period after they became valid, or
    refused because they were over."""
    periods_without_setpoints: int = 0
    """In wall time: settlement periods between the first and the last commanded one that the EMS did not plan."""
    periods_commanded: int = 0
    """In wall time: settlement periods from the first to the last commanded one."""
    telemetry_late_frac: float = 0.0
    """The part of the PCC meter's telemetry that had to go without some device's, which was late or away."""
    speed: float | None = None
    """How many times real time a run in wall time went, at last; None in lock-step."""
    speeds: tuple[float, ...] = ()
    """In wall time: the speeds at which the run went, one after the other."""

    def fields(self) -> dict[str, Any]:
        """By name, for a value that has more of them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Timeliness)}


def timeliness_of(history: History, run: str, pcc: Track) -> Timeliness:
    """Of a recorded run, or of a window of it."""
    info = history.info(run)
    setpoints, acks = history.setpoints(run), history.acks(run)
    refused = len({(received.topic.device, ack.id) for received, ack in acks if not ack.accepted})
    if info.mode is not TimeMode.WALL:
        return Timeliness(setpoints_sent=len(setpoints), setpoints_refused=refused)
    count = PunctualityCount(info.step, info.t0)
    for received, setpoint in setpoints:
        count.setpoint(received.topic.device, setpoint)
    for received, ack in acks:
        count.ack(received.topic.device, ack, received.stamp.ts)
    found, speeds = count.result, _speeds(history, run)
    return Timeliness(
        setpoints_sent=len(setpoints),
        setpoints_refused=refused,
        setpoints_late=found.late,
        periods_without_setpoints=found.without,
        periods_commanded=found.periods,
        telemetry_late_frac=_telemetry_late_frac(pcc),
        speed=speeds[-1] if speeds else None,
        speeds=speeds,
    )


def too_late(result: Timeliness) -> str | None:
    """How many set-points and telemetries came too late, and what to do about it; None: none worth mention."""
    sent, without, periods = result.setpoints_sent, result.periods_without_setpoints, result.periods_commanded
    late = max(result.setpoints_late, result.setpoints_refused)
    parts = []
    if late >= NOTICED_FRAC * max(sent, 1) and late:
        parts.append(f"{late} of {sent} set-points were refused or too late")
    if without >= NOTICED_FRAC * max(periods, 1) and without:
        parts.append(f"{without} of {periods} settlement periods had no set-points")
    if result.telemetry_late_frac >= NOTICED_FRAC and (parts or _fastest(result) > 1):
        late_percent = f"{100 * result.telemetry_late_frac:.0f} %"
        parts.append(f"{late_percent} of the time the PCC meter went without some telemetry")
    if not parts:
        return None
    what = ", ".join(parts)
    if _fastest(result) <= 1:
        return what
    if len(result.speeds) > 1:
        slowed = f"the clock slowed down from {result.speeds[0]:g} to {result.speeds[-1]:g} times real time"
        return f"time ran too fast: {what}; {slowed}, repeat it with a lower --speed"
    return f"time ran too fast: {what}; repeat it with a lower --speed"


def _fastest(result: Timeliness) -> float:
    return max((*result.speeds, result.speed or 1.0))


def _speeds(history: History, run: str) -> tuple[float, ...]:
    """As the clock announced them; none in lock-step."""
    bodies = [received.body for received in history.messages(run, Channel.RUN)]
    speeds = [body.speed for body in bodies if isinstance(body, Run) and body.speed is not None]
    return tuple(speed for speed, before in zip(speeds, [None, *speeds], strict=False) if speed != before)


def _telemetry_late_frac(pcc: Track) -> float:
    missing = [bool(s.body.missing) for s in pcc.samples if isinstance(s.body, NetworkTelemetry)]
    return sum(missing) / len(missing) if missing else 0.0
