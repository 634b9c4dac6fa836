"""What the EMS knows of the devices in wall time, and alarms about what it does not: silence, and wrong clocks."""

from collections.abc import Mapping
from datetime import datetime

from schemas.messages import Alarm, KnownDevice, MeterRole, Plan, PlanStatus, Severity
from schemas.participant import Json, Turn
from schemas.presence import ahead_bound_s, behind_bound_s, silent_after_s
from schemas.topics import Kind
from services.ems.system_state import LAGS, DeviceState, SystemState, meter_role

DEVICE_SILENT, PCC_METER_SILENT, CLOCK_SKEW = "device_silent", "pcc_meter_silent", "clock_skew"
LOOK_S = 60.0
"""Run time between looks."""


class DeviceWatch:
    """Compares what is known of the devices with what should be."""

    def __init__(self) -> None:
        self._active: dict[str, Alarm] = {}

    def observe(self, state: SystemState, turn: Turn) -> list[Alarm]:
        """The alarms that begin or end with this look."""
        found: dict[str, Alarm] = {}
        for name, known in sorted(state.devices.items()):
            for alarm in (_silent(name, known, state, turn), _skew(name, known, turn)):
                if alarm is not None:
                    found[f"{alarm.code}/{name}"] = alarm
        begun = [alarm for key, alarm in found.items() if key not in self._active]
        over = [alarm.model_copy(update={"active": False}) for key, alarm in self._active.items() if key not in found]
        self._active = found
        return [*over, *begun]

    def snapshot(self) -> Json:
        return {key: alarm.model_dump(mode="json") for key, alarm in self._active.items()}

    def restore(self, state: Json) -> None:
        self._active = {key: Alarm.model_validate(alarm, strict=False) for key, alarm in state.items()}


def unmetered(state: SystemState, turn: Turn) -> str | None:
    """Why nobody measures the PCC although a meter for it is known; None where one does, or none ever was.

    Wall time only: in lock-step the barrier says who is there.
    """
    silences = [_silence(name, known, state, turn) for name, known in sorted(state.devices.items()) if _at_pcc(known)]
    if not silences or None in silences:
        return None
    return "; ".join(silence for silence in silences if silence is not None)


def knowledge(state: SystemState, turn: Turn, plan: Plan) -> dict[str, KnownDevice]:
    """What is known of each device now, and whether the plan reckons with it or why not."""
    return {name: _known(name, known, state, turn, plan) for name, known in sorted(state.devices.items())}


def in_words(known: Mapping[str, KnownDevice]) -> str:
    """The state of knowledge as a line of a log."""
    return "; ".join(_line(name, each) for name, each in known.items()) or "no device"


def _known(name: str, known: DeviceState, state: SystemState, turn: Turn, plan: Plan) -> KnownDevice:
    body, why = known.telemetry, _why_not(name, known, state, turn, plan)
    return KnownDevice(
        power_kw=None if body is None else body.power_kw,
        soc_frac=None if body is None else body.stored_frac,
        age_s=None if known.heard is None else max(_age_s(known.heard, turn), 0.0),
        clock_behind_s=_skew_s(known, turn),
        in_plan=why is None,
        why_not=why,
        bounded=None if (part := plan.devices.get(name)) is None else part.bounded,
    )


def _why_not(name: str, known: DeviceState, state: SystemState, turn: Turn, plan: Plan) -> str | None:
    if name in state.present(turn):
        part = plan.devices.get(name)
        if plan.status is PlanStatus.SAFE_RULE:
            return "there is no plan: every device follows its fallback"
        return None if part is None else part.left_to_fallback
    if known.birth.telemetry_period_s is None:
        return "its birth has no telemetry period"
    missing = "no telemetry yet" if known.heard is None else "no telemetry within three of its periods"
    return _silence(name, known, state, turn) or missing


def _line(name: str, known: KnownDevice) -> str:
    parts = [name]
    if known.power_kw is not None:
        parts.append(f"{known.power_kw:.2f} kW")
    if known.soc_frac is not None:
        parts.append(f"SOC {known.soc_frac:.3f}")
    if known.age_s is not None:
        parts.append(f"{known.age_s:.0f} s old")
    if known.clock_behind_s is not None:
        parts.append(f"clock {known.clock_behind_s:+.0f} s behind")
    if known.bounded is not None:
        parts.append(f"({known.bounded})")
    return " ".join(parts) + ("" if known.in_plan else f" (not in the plan: {known.why_not})")


def _at_pcc(known: DeviceState) -> bool:
    return meter_role(known) == MeterRole.PCC.value


def _silence(name: str, known: DeviceState, state: SystemState, turn: Turn) -> str | None:
    """Why nothing is known of a device now; None: it is heard, or it may still come."""
    if (goodbye := state.goodbye(name)) is not None:
        return f"{name} is {goodbye}"
    since, period_s = known.heard or known.met, known.birth.telemetry_period_s
    if since is None or period_s is None:
        return None
    age_s, most_s = _age_s(since, turn), silent_after_s(period_s, turn.pace)
    return f"no telemetry of {name} for {age_s:.0f} s, allowed are {most_s:.0f} s" if age_s > most_s else None


def _age_s(since: datetime, turn: Turn) -> float:
    return (turn.t - since).total_seconds()


def _silent(name: str, known: DeviceState, state: SystemState, turn: Turn) -> Alarm | None:
    """About a device that says nothing. One that has said goodbye has said so itself, unless it measures the PCC."""
    silence = _silence(name, known, state, turn)
    if silence is None or (state.goodbye(name) is not None and not _at_pcc(known)):
        return None
    since, period_s = known.heard or known.met, known.birth.telemetry_period_s
    pcc = _at_pcc(known)
    text = f"{silence}: until it is heard, batteries rest and vehicles only charge" if pcc else f"{silence}"
    return Alarm(
        code=PCC_METER_SILENT if pcc else DEVICE_SILENT,
        severity=Severity.CRITICAL if pcc else Severity.WARNING,
        device=name,
        value=None if since is None else max(_age_s(since, turn), 0.0),
        limit=None if period_s is None else silent_after_s(period_s, turn.pace),
        text=text,
    )


def _skew_s(known: DeviceState, turn: Turn) -> float | None:
    """By how much the device's clock is behind that of the EMS [s], negative: ahead; None: within the bound.

    What comes before its time has a wrong time. What comes after it may be late, unless all do.
    """
    if known.kind is Kind.NETWORK:
        return None  # its time is that up to which the slowest device was heard
    if known.lags_s and known.lags_s[-1] < -ahead_bound_s(turn.pace):
        return known.lags_s[-1]
    least_s = min(known.lags_s, default=0.0)
    return least_s if len(known.lags_s) == LAGS and least_s > behind_bound_s(turn.pace) else None


def _skew(name: str, known: DeviceState, turn: Turn) -> Alarm | None:
    skew_s = _skew_s(known, turn)
    if skew_s is None:
        return None
    way = "behind, or its messages are late by as much" if skew_s > 0 else "ahead"
    return Alarm(
        code=CLOCK_SKEW,
        severity=Severity.WARNING,
        device=name,
        value=skew_s,
        limit=behind_bound_s(turn.pace) if skew_s > 0 else ahead_bound_s(turn.pace),
        text=f"the clock of {name} is {abs(skew_s):.0f} s {way}; it counts as there by when its messages arrive",
    )
