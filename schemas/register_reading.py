"""Registers of energy from one reading to the next: how much they may have grown, and whether they came back.

A meter that restarts shows less than before, and some show the old count again a moment later. The rise is then no
energy: it was counted before the fall. Whoever compares registers (EMS, network twin, settlement of a history) compares
two `RegisterReading` of a chain, so that all of them doubt the same steps; see ``docs/plausibility.md``.
"""

from collections.abc import Collection
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from schemas.participant import Json
from schemas.plausibility import BOOKED_LATE, PowerBounds, plausible_power_kw, standing_since, step_doubt

CAME_BACK = "a register that had gone back came back"

COMES_BACK_WITHIN = 3
"""A register that fell and is back after more readings than these has counted meanwhile: it started anew."""

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Fall:
    """What registers [kWh] would show by now if they had not gone back, and in how many readings they may come back."""

    import_kwh: float
    export_kwh: float
    readings: int


class RegisterReading(NamedTuple):
    """Power [kW] and registers [kWh] of a meter at ``ts``; None: it has no register."""

    ts: datetime
    boot: str
    power_kw: float
    import_kwh: float | None
    export_kwh: float | None
    since: datetime
    """Since when the registers have had these values."""
    fall: Fall | None = None
    came_back: bool = False
    """The step that led here is the way back after a fall, and no energy."""
    unheard_since: datetime | None = None
    """Of the network twin, which counts what flowed unheard when a device is heard again: since when one is not."""
    went_without: bool = False
    """Of the network twin: a device was not heard at some time of this life. A correction may still be on its way."""

    @classmethod
    def first(
        cls,
        ts: datetime,
        boot: str,
        power_kw: float,
        import_kwh: float | None,
        export_kwh: float | None,
        missing: Collection[str] = (),
    ) -> "RegisterReading":
        """``missing``: devices that the network twin did not hear."""
        unheard = ts if missing else None
        return cls(ts, boot, power_kw, import_kwh, export_kwh, ts, unheard_since=unheard, went_without=bool(missing))

    def following(
        self,
        ts: datetime,
        boot: str,
        power_kw: float,
        import_kwh: float | None,
        export_kwh: float | None,
        missing: Collection[str] = (),
    ) -> "RegisterReading":
        """The next reading of the chain, which may be of another life."""
        since = standing_since((self.import_kwh, self.export_kwh), self.since, (import_kwh, export_kwh), ts)
        plain = RegisterReading(
            ts,
            boot,
            power_kw,
            import_kwh,
            export_kwh,
            since,
            unheard_since=(self.unheard_since or ts) if missing else None,
            went_without=bool(missing) or (self.went_without and boot == self.boot),
        )
        if boot != self.boot or (self.fall is None and not self.fell_until(plain)):
            return plain
        fall, came_back = self._fall_until(plain)
        return plain._replace(fall=fall, came_back=came_back)

    def fell_until(self, later: "RegisterReading") -> bool:
        """Whether a register is lower in a later reading."""
        return _fell(self.import_kwh, later.import_kwh) or _fell(self.export_kwh, later.export_kwh)

    def grown_until(self, later: "RegisterReading") -> tuple[float, float] | None:
        """Growth of the import and the export register [kWh]; None where one of them is not known."""
        if self.import_kwh is None or self.export_kwh is None:
            return None
        if later.import_kwh is None or later.export_kwh is None:
            return None
        return later.import_kwh - self.import_kwh, later.export_kwh - self.export_kwh

    def lasted_until(self, later: "RegisterReading") -> timedelta:
        """The time in which what the registers grew by can have flowed."""
        lasted = later.ts - self.since
        if not self.went_without:
            return lasted
        return max(lasted, later.ts - (self.unheard_since or self.ts), BOOKED_LATE)

    def doubt_until(self, later: "RegisterReading", bounds: PowerBounds | None) -> str | None:
        """Why the step to the next reading of the chain is doubtful; None: it is plausible, or there are no registers.

        ``bounds``: of the meter's power; None: not known.
        """
        grown = self.grown_until(later)
        if grown is None:
            return None
        doubt = step_doubt(*grown, self.lasted_until(later), bounds)
        return CAME_BACK if doubt is None and later.came_back else doubt

    def snapshot(self) -> Json:
        return {
            "ts": self.ts.isoformat(),
            "boot": self.boot,
            "power_kw": self.power_kw,
            "registers": [self.import_kwh, self.export_kwh],
            "since": self.since.isoformat(),
            "fall": None if self.fall is None else list(astuple(self.fall)),
            "came_back": self.came_back,
            "unheard_since": None if self.unheard_since is None else self.unheard_since.isoformat(),
            "went_without": self.went_without,
        }

    @classmethod
    def restored(cls, state: Json) -> "RegisterReading":
        (import_kwh, export_kwh), unheard = state["registers"], state["unheard_since"]
        return cls(
            datetime.fromisoformat(state["ts"]),
            state["boot"],
            state["power_kw"],
            import_kwh,
            export_kwh,
            datetime.fromisoformat(state["since"]),
            None if state["fall"] is None else Fall(*state["fall"]),
            came_back=state["came_back"],
            unheard_since=None if unheard is None else datetime.fromisoformat(unheard),
            went_without=state["went_without"],
        )

    def held_until(self, later: "RegisterReading", bounds: PowerBounds | None) -> tuple[float, float] | None:
        """Energy [kWh] drawn and given until the next reading by the power of this one, if it is plausible, else of the
        next one; None: neither is."""
        power_kw = plausible_power_kw((self.power_kw, later.power_kw), bounds)
        if power_kw is None:
            return None
        energy_kwh = power_kw * ((later.ts - self.ts) / _HOUR)
        return max(energy_kwh, 0.0), max(-energy_kwh, 0.0)

    def _fall_until(self, later: "RegisterReading") -> tuple[Fall | None, bool]:
        """The fall that is pending at the later reading, and whether an earlier one ended with the step to it."""
        import_kwh, export_kwh = later.import_kwh, later.export_kwh
        if self.import_kwh is None or self.export_kwh is None or import_kwh is None or export_kwh is None:
            return None, False
        held_kwh = self.power_kw * ((later.ts - self.ts) / _HOUR)
        drawn_kwh, given_kwh = max(held_kwh, 0.0), max(-held_kwh, 0.0)
        before = self.fall or Fall(self.import_kwh, self.export_kwh, COMES_BACK_WITHIN + 1)
        unfallen = Fall(before.import_kwh + drawn_kwh, before.export_kwh + given_kwh, before.readings - 1)
        if self.fell_until(later):
            return Fall(unfallen.import_kwh, unfallen.export_kwh, COMES_BACK_WITHIN), False
        if self.fall is None:
            return None, False
        # Which is nearer: where the registers would be without the fall, or where they would be if they went on?
        off_unfallen = abs(import_kwh - unfallen.import_kwh) + abs(export_kwh - unfallen.export_kwh)
        off_onward = abs(import_kwh - self.import_kwh - drawn_kwh) + abs(export_kwh - self.export_kwh - given_kwh)
        came_back = off_unfallen < off_onward
        return (None if came_back or unfallen.readings <= 0 else unfallen), came_back


def _fell(before_kwh: float | None, after_kwh: float | None) -> bool:
    return before_kwh is not None and after_kwh is not None and after_kwh < before_kwh
