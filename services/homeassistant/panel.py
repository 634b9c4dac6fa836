"""What a person sets at Home Assistant, and what became of it: no connection, no clock.

A device is in mode ``ems`` or in mode ``set-point``, in which its number is asked of the EMS as a request
(`schemas.messages.request`). A command is taken when it is in order, and else leaves everything as it is and says why.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.capabilities import Capability
from schemas.errors import shorten
from schemas.messages import LEASE_MOST, Birth, Plan, PlanStatus, Request, RequestedPower
from schemas.roles import home_branch

SOURCE = "Home Assistant"
EMS, SETPOINT = "ems", "set-point"
"""Modes of a device."""
ON, STANDBY = "on", "standby"
"""Modes of the EMS."""
LEASE_S = 60.0
"""So long after the last repetition a request holds [s of the machine]."""
STATUS_MOST = 250
"""Home Assistant takes states of up to 255 characters."""
_LONGEST = 32
"""Bytes of a command."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a device takes [kW]."""

    least_kw: float
    most_kw: float
    is_limit: bool


@dataclass(slots=True)
class Setting:
    """Of one device."""

    range: Range
    kw: float | None = None
    until: datetime | None = None
    """End of mode ``set-point``; None: mode ``ems``."""
    status: str = "the EMS decides"


def range_of(birth: Birth) -> Range | None:
    """What may be asked of the device with this birth; None: nothing."""
    can, plate = birth.capabilities, birth.nameplate
    if Capability.CURTAILABLE in can:
        return Range(0.0, plate.gives_kw, is_limit=True)
    if Capability.FLEXIBLE_LOAD in can and Capability.HEAT not in can:
        return Range(0.0 - plate.gives_kw, plate.draws_kw, is_limit=False)
    return None


def base(site: str, device: str) -> str:
    """Topic below which a device's commands and their states stand."""
    return f"{home_branch(site)}/{device}"


def own_state(site: str) -> str:
    """Where it stands whether commands are taken: ``online`` or ``offline``."""
    return f"{base(site, 'homeassistant')}/state"


class Panel:
    """The settings of a site's devices and of its EMS. ``most_h``: after so long the EMS decides again."""

    def __init__(self, site: str, most_h: float) -> None:
        self._site, self._most = site, timedelta(hours=most_h)
        self._settings: dict[str, Setting] = {}
        self._standby_until: datetime | None = None
        self._status = "on"

    def meet(self, device: str, birth: Birth) -> None:
        """A device is there; what was set for it stays, unless it takes other numbers now."""
        allowed = range_of(birth)
        if allowed is None:
            self._settings.pop(device, None)
        elif device not in self._settings or self._settings[device].range != allowed:
            self._settings[device] = Setting(allowed)

    def forget(self, device: str) -> None:
        self._settings.pop(device, None)

    @property
    def asks(self) -> bool:
        """Whether anything is asked of the EMS."""
        return self._standby_until is not None or any(each.until is not None for each in self._settings.values())

    def command(self, topic: str, content: bytes, now: datetime | None, *, retained: bool) -> None:
        """Takes a command. ``now``: the run's time; None: there is no run in wall time."""
        device, _, what = topic.removeprefix(f"{home_branch(self._site)}/").partition("/")
        take = self._taker(device, what)
        if take is None:
            return
        text = content[: _LONGEST + 1].decode(errors="replace").strip()
        if retained:
            take(f"refused: {shorten(text, 40)} was kept by the broker, and old commands are not obeyed", None, None)
        elif now is None:
            take("refused: no run in wall time goes on", None, None)
        elif len(content) > _LONGEST:
            take(f"refused: {shorten(text, 40)} is too long", None, None)
        else:
            take("", text, now)

    def _taker(self, device: str, what: str) -> "Callable[[str, str | None, datetime | None], None] | None":
        """Who takes a command: with a refusal, or with its text and the time; None: nobody."""
        if (device, what) == (EMS, "mode/set"):
            return self._ems_mode
        setting = self._settings.get(device)
        if setting is None or what not in ("mode/set", "setpoint/set"):
            return None
        take = self._mode if what == "mode/set" else self._number

        def taken(refusal: str, text: str | None, now: datetime | None) -> None:
            if text is None or now is None:
                setting.status = refusal
            else:
                take(setting, text, now)

        return taken

    def _ems_mode(self, refusal: str, text: str | None, now: datetime | None) -> None:
        if text is None or now is None:
            self._status = refusal
        elif text == ON:
            self._standby_until, self._status = None, ON
        elif text == STANDBY:
            self._standby_until, self._status = now + self._most, "asked for standby"
        else:
            self._status = f"refused: a mode is {ON} or {STANDBY}, not {shorten(text, 40)}"

    def _mode(self, setting: Setting, text: str, now: datetime) -> None:
        if text == EMS:
            setting.until, setting.status = None, "the EMS decides"
        elif text != SETPOINT:
            setting.status = f"refused: a mode is {EMS} or {SETPOINT}, not {shorten(text, 40)}"
        elif setting.kw is None:
            setting.status = "refused: there is no set-point yet; set the number first"
        else:
            setting.until, setting.status = now + self._most, f"asked for {setting.kw:g} kW"

    def _number(self, setting: Setting, text: str, now: datetime) -> None:
        try:
            kw = float(text)
        except ValueError:
            kw = math.nan
        allowed = setting.range
        if not allowed.least_kw <= kw <= allowed.most_kw:
            what = f"{allowed.least_kw:g} to {allowed.most_kw:g} kW are allowed"
            setting.status = f"refused: {what}, not {shorten(text, 40)}"
            return
        setting.kw = kw
        if setting.until is not None:
            setting.until, setting.status = now + self._most, f"asked for {kw:g} kW"

    def hear(self, plan: Plan) -> None:
        """What the EMS makes of it."""
        for device, setting in self._settings.items():
            answer = None if setting.until is None else (plan.requests or {}).get(device)
            if answer is None or answer.source != SOURCE or answer.asked_kw != setting.kw:
                continue
            done = "nothing" if answer.planned_kw is None else f"{answer.planned_kw:.4g} kW"
            setting.status = done if answer.reason is None else f"{done} of {setting.kw:g} kW: {answer.reason}"
        if self._standby_until is not None and plan.status is PlanStatus.SAFE_RULE and plan.reason:
            self._status = plan.reason

    def release(self, why: str) -> None:
        """The EMS decides everywhere."""
        for setting in self._settings.values():
            if setting.until is not None:
                setting.until, setting.status = None, f"the EMS decides: {why}"
        if self._standby_until is not None:
            self._standby_until, self._status = None, f"{ON}: {why}"

    def look(self, now: datetime) -> None:
        """Ends what is over at the run's time ``now``."""
        over = f"{self._most.total_seconds() / 3600:g} h are over"
        for setting in self._settings.values():
            if setting.until is not None and now >= setting.until:
                setting.until, setting.status = None, f"the EMS decides: {over}"
        if self._standby_until is not None and now >= self._standby_until:
            self._standby_until, self._status = None, f"{ON}: {over}"

    def request(self, now: datetime, pace: float) -> Request:
        """All that is asked now, for so long as is stated without a repetition. ``pace``: run time per machine time."""
        asked = {
            device: RequestedPower(limit_kw=each.kw, until=each.until)
            if each.range.is_limit
            else RequestedPower(power_kw=each.kw, until=each.until)
            for device, each in self._settings.items()
            if each.until is not None
        }
        lease = min(timedelta(seconds=LEASE_S * pace), LEASE_MOST)
        return Request(
            source=SOURCE,
            valid_from=now,
            valid_until=now + lease,
            setpoints=asked,
            standby_until=self._standby_until,
        )

    @property
    def states(self) -> Mapping[str, str]:
        """By topic, what Home Assistant is to show."""
        found = {}
        for device, each in self._settings.items():
            where = base(self._site, device)
            found[f"{where}/mode"] = EMS if each.until is None else SETPOINT
            found[f"{where}/setpoint"] = "None" if each.kw is None else f"{each.kw:g}"
            found[f"{where}/status"] = each.status[:STATUS_MOST]
        where = base(self._site, EMS)
        found[f"{where}/mode"] = ON if self._standby_until is None else STANDBY
        found[f"{where}/status"] = self._status[:STATUS_MOST]
        return found
