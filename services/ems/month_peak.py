"""The month's highest import so far, for the demand charge: from the PCC's registers, step by step."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.messages import MeterRole
from schemas.participant import Json
from schemas.site import MonthPeak as Before
from services.ems.system_state import DeviceState, meter_role


class MonthPeak:
    """Mean import between two decisions; the month is the local one."""

    def __init__(
        self, zone: ZoneInfo, before: Before | None = None, past_kw: Mapping[str, float] | None = None
    ) -> None:
        """``before``: what is known of a month from before this life; a checkpoint knows better. ``past_kw``: peaks of
        whole months before it."""
        self._zone = zone
        self._past_kw = dict(past_kw or {})
        self._month = "" if before is None else before.month
        self._peak_kw = 0.0 if before is None else before.import_kw
        self._last: tuple[str, datetime, float] | None = None
        """(boot, time, register in kWh) of the PCC meter at the decision before."""

    def at(self, time: datetime) -> float:
        """[kW] of the month that holds at ``time``."""
        return self._peak_kw if self._month == self.month_of(time) else 0.0

    def month_of(self, time: datetime) -> str:
        """The local month, YYYY-MM."""
        local = time.astimezone(self._zone)
        return f"{local.year:04}-{local.month:02}"

    @property
    def past_kw(self) -> Mapping[str, float]:
        """Peaks by month: of before, of the months that ended in this life, and of the last one so far."""
        return self._past_kw | ({self._month: self._peak_kw} if self._month else {})

    def observe(self, present: dict[str, DeviceState]) -> None:
        for known in present.values():
            telemetry, ts = known.telemetry, known.telemetry_ts
            if meter_role(known) != MeterRole.PCC.value or telemetry is None or ts is None:
                continue
            if telemetry.energy_import_kwh is None:
                return
            if self._last is not None and self._last[0] == known.boot and ts > self._last[1]:
                _, before, register = self._last
                hours = (ts - before).total_seconds() / 3600
                mean = max(telemetry.energy_import_kwh - register, 0.0) / hours
                month = self.month_of(before)
                if self._month and month != self._month:
                    self._past_kw[self._month] = self._peak_kw
                self._peak_kw = max(mean, self._peak_kw if month == self._month else 0.0)
                self._month = month
            self._last = (known.boot, ts, telemetry.energy_import_kwh)
            return

    def snapshot(self) -> Json:
        last = None if self._last is None else [self._last[0], self._last[1].isoformat(), self._last[2]]
        return {"month": self._month, "peak_kw": self._peak_kw, "last": last, "past_kw": dict(self._past_kw)}

    def restore(self, state: Json) -> None:
        self._month, self._peak_kw = state["month"], state["peak_kw"]
        self._past_kw = dict(state.get("past_kw", {}))  # a checkpoint of an earlier version has none
        last = state["last"]
        self._last = None if last is None else (last[0], datetime.fromisoformat(last[1]), last[2])
