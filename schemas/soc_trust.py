"""Whether the SOC of a battery or a buffer is to be believed: one that leapt is not, until it is repeated."""

from dataclasses import dataclass, replace
from datetime import datetime

from schemas.messages.birth import BessNameplate, HeatPumpNameplate
from schemas.participant import Json
from schemas.plausibility import soc_doubt

BELIEVED_AFTER = 3
"""A SOC that jumped is believed when so many telemetries in a row agree with it: the device has corrected itself."""


StorePlate = BessNameplate | HeatPumpNameplate
"""Devices whose store stays; a vehicle is another one at each plug-in."""


@dataclass(frozen=True, slots=True)
class _Level:
    """A SOC that was reported, and how many telemetries have agreed with it if it is not believed yet."""

    boot: str
    ts: datetime
    soc_frac: float
    agreed: int = BELIEVED_AFTER


class SocTrust:
    """Of one store."""

    def __init__(self) -> None:
        self._newest: _Level | None = None
        self._believed: _Level | None = None

    def doubt(self, boot: str, ts: datetime, soc_frac: float, plate: StorePlate) -> str | None:
        """Why the SOC of the next telemetry is not believed; None: it is."""
        level = _Level(boot, ts, soc_frac)
        before, believed = self._newest, self._believed
        doubt = None if believed is None or believed.boot != boot else _jump(believed, level, plate)
        if doubt is not None:
            agrees = before is not None and before.boot == boot and _jump(before, level, plate) is None
            agreed = before.agreed + 1 if before is not None and agrees and before.agreed < BELIEVED_AFTER else 1
            level = replace(level, agreed=agreed)
            doubt = None if agreed >= BELIEVED_AFTER else doubt
        self._newest = level
        if doubt is None:
            self._believed = level
        return doubt

    def snapshot(self) -> Json:
        return [_listed(self._newest), _listed(self._believed)]

    @classmethod
    def restored(cls, state: Json) -> "SocTrust":
        trust = cls()
        trust._newest, trust._believed = map(_level, state)
        return trust


def _jump(before: _Level, now: _Level, plate: StorePlate) -> str | None:
    return soc_doubt(before.soc_frac, now.soc_frac, now.ts - before.ts, plate)


def _listed(level: _Level | None) -> Json:
    return None if level is None else [level.boot, level.ts.isoformat(), level.soc_frac, level.agreed]


def _level(listed: Json) -> _Level | None:
    if listed is None:
        return None
    boot, ts, soc_frac, agreed = listed
    return _Level(boot, datetime.fromisoformat(ts), soc_frac, agreed)
