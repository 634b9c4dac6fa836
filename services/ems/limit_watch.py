"""Alarms about the connection's limits and those from outside.

Exceeded, without a heartbeat, of a group that the site does not name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.limits import PCC, Allowed, InForce, Limits
from schemas.messages import Alarm, MeterRole, Severity
from schemas.participant import Json, Turn
from schemas.sums import sum_in_order
from services.ems.system_state import DeviceState, meter_role

TOLERANCE_KW, TOLERANCE_FRAC = 0.1, 0.01
"""What a mean power may exceed a limit by without an alarm: the accuracy of a meter of class 1."""

CONNECTION, EXCEEDED, FAILSAFE, UNKNOWN_GROUP = (
    "connection_limit_exceeded",
    "outside_limit_exceeded",
    "outside_limit_failsafe",
    "outside_limit_unknown_group",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """Registers of one device [kWh]."""

    boot: str
    ts: datetime
    import_kwh: float
    export_kwh: float


class LimitWatch:
    """Compares, from decision to decision, mean powers by the registers with what was allowed.

    A limit counts for a settlement period if it was known and held at its beginning, and still at its end; of the two
    values the milder.
    """

    def __init__(self, groups: Mapping[str, tuple[str, ...]], connection_kw: tuple[float, float]) -> None:
        """``groups``: devices of the groups that the site names. ``connection_kw``: what it may import and export."""
        self._groups = groups
        self._connection = (("import", connection_kw[0]), ("export", connection_kw[1]))
        self._before: dict[str, Reading] = {}
        self._allowed: dict[str, tuple[float | None, float | None]] = {}
        """By scope what was allowed at the decision before: import and export [kW]."""
        self._active: dict[str, Alarm] = {}

    def observe(self, limits: Limits, present: Mapping[str, DeviceState], turn: Turn) -> list[Alarm]:
        """The alarms that begin or end with this decision."""
        readings = _readings(present)
        found: dict[str, Alarm] = {}
        for group in (None, *self._groups):
            scope, holds = group or PCC, limits.at(group, turn.t)
            before = self._allowed.get(scope, (None, None))
            flow = self._mean_kw(group, readings, present)
            if flow is not None and group is None:
                for kw, (way, most_kw) in zip(flow, self._connection, strict=True):
                    if kw > most_kw * (1 + TOLERANCE_FRAC) + TOLERANCE_KW:
                        found[f"{CONNECTION}/{way}"] = _over_connection(way, kw, most_kw)
            if flow is not None:
                for way, kw, then, now in (
                    ("import", flow[0], before[0], holds.import_),
                    ("export", flow[1], before[1], holds.export),
                ):
                    if then is not None and now is not None and (alarm := _exceeded(scope, way, kw, then, now)):
                        found[f"{EXCEEDED}/{scope}/{way}"] = alarm
            self._allowed[scope] = _values(holds)
        for sender, held in limits.stopped(turn.t).items():
            text = f"{held.limit.source}: no heartbeat since {held.sent.isoformat()}; the failsafe holds"
            found[f"{FAILSAFE}/{sender}"] = Alarm(code=FAILSAFE, severity=Severity.WARNING, device=sender, text=text)
        for group in sorted(limits.groups - self._groups.keys()):
            text = f"a limit is for the group {group}, which the site does not name; it has no effect"
            found[f"{UNKNOWN_GROUP}/{group}"] = Alarm(
                code=UNKNOWN_GROUP, severity=Severity.CRITICAL, element=group, text=text
            )
        self._before = readings
        begun = [alarm for key, alarm in found.items() if key not in self._active]
        over = [alarm.model_copy(update={"active": False}) for key, alarm in self._active.items() if key not in found]
        self._active = found
        return [*over, *begun]

    def _mean_kw(
        self, group: str | None, readings: Mapping[str, Reading], present: Mapping[str, DeviceState]
    ) -> tuple[float, float] | None:
        """Mean import and export since the decision before; None where a register is missing or began anew."""
        if group is None:
            pcc = [name for name, device in present.items() if meter_role(device) == MeterRole.PCC.value]
            flow = self._flow(pcc[0], readings) if pcc else None
            return None if flow is None else (max(flow, 0.0), max(-flow, 0.0))
        flows = [self._flow(name, readings) for name in self._groups[group] if name in present]
        if not flows or any(flow is None for flow in flows):
            return None
        total = sum_in_order(flow for flow in flows if flow is not None)
        return max(total, 0.0), max(-total, 0.0)

    def _flow(self, name: str, readings: Mapping[str, Reading]) -> float | None:
        now, before = readings.get(name), self._before.get(name)
        if now is None or before is None or now.boot != before.boot or now.ts <= before.ts:
            return None
        hours = (now.ts - before.ts).total_seconds() / 3600
        return (now.import_kwh - before.import_kwh - (now.export_kwh - before.export_kwh)) / hours

    def snapshot(self) -> Json:
        return {
            "before": {
                name: [reading.boot, reading.ts.isoformat(), reading.import_kwh, reading.export_kwh]
                for name, reading in self._before.items()
            },
            "allowed": {scope: list(values) for scope, values in self._allowed.items()},
            "active": {key: alarm.model_dump(mode="json") for key, alarm in self._active.items()},
        }

    def restore(self, state: Json) -> None:
        self._before = {
            name: Reading(boot, datetime.fromisoformat(ts), imported, exported)
            for name, (boot, ts, imported, exported) in state["before"].items()
        }
        self._allowed = {scope: (values[0], values[1]) for scope, values in state["allowed"].items()}
        self._active = {key: Alarm.model_validate(alarm, strict=False) for key, alarm in state["active"].items()}


def _readings(present: Mapping[str, DeviceState]) -> dict[str, Reading]:
    found = {}
    for name, device in present.items():
        telemetry, ts = device.telemetry, device.telemetry_ts
        if telemetry is None or ts is None or telemetry.energy_import_kwh is None:
            continue
        found[name] = Reading(device.boot, ts, telemetry.energy_import_kwh, telemetry.energy_export_kwh or 0.0)
    return found


def _values(holds: InForce) -> tuple[float | None, float | None]:
    return tuple(None if allowed is None else allowed.kw for allowed in (holds.import_, holds.export))  # type: ignore[return-value]


def _over_connection(way: str, kw: float, limit_kw: float) -> Alarm:
    return Alarm(
        code=CONNECTION,
        severity=Severity.CRITICAL,
        element=PCC,
        value=kw,
        limit=limit_kw,
        text=f"mean {way} of {kw:.2f} kW in the last period; the connection allows {limit_kw:.2f} kW",
    )


def _exceeded(scope: str, way: str, kw: float, then_kw: float, now: Allowed) -> Alarm | None:
    limit_kw = max(then_kw, now.kw)
    if kw <= limit_kw * (1 + TOLERANCE_FRAC) + TOLERANCE_KW:
        return None
    return Alarm(
        code=EXCEEDED,
        severity=Severity.CRITICAL,
        element=scope,
        value=kw,
        limit=limit_kw,
        text=f"{scope}: mean {way} of {kw:.2f} kW in the last period; {now.source} allows {limit_kw:.2f} kW",
    )
