"""Charging profiles of a charge point, and what they allow at an instant."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.ocpp.clocks import parse

TX, TX_DEFAULT, MOST = "TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"
_PURPOSES = {TX: TX, TX_DEFAULT: TX_DEFAULT, MOST: MOST, "ChargingStationMaxProfile": MOST}
_EVERY = {"Daily": timedelta(days=1), "Weekly": timedelta(days=7)}


ToKw = Callable[[float, str, int | None], float]
"""Of a value, its unit and the number of phases."""


class ProfileError(ValueError):
    """A profile that cannot be followed; the text says why."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A limit, or a set-point of either sign [kW], and the number of phases; None: it does not say."""

    power_kw: float
    phases: int | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` after the schedule's begin on this holds."""

    start: timedelta
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class Profile:
    """``begin`` None: the begin of the transaction. ``every`` None: once."""

    number: int
    stack_level: int
    purpose: str
    transaction: str | None
    begin: datetime | None
    duration: timedelta | None
    every: timedelta | None
    periods: tuple[Period, ...]
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any], received: datetime, to_kw: ToKw) -> "Profile":
        """Of a message of OCPP 1.6 or 2, keys in snake case. Raises ProfileError, KeyError, TypeError, ValueError."""
        schedule = said["charging_schedule"]
        if isinstance(schedule, list):
            schedule = schedule[0]
        purpose = _PURPOSES.get(str(said["charging_profile_purpose"]))
        if purpose is None:
            raise ProfileError(f"the purpose {said['charging_profile_purpose']} is not known here")
        kind, unit = said["charging_profile_kind"], schedule["charging_rate_unit"]
        begin = parse(schedule.get("start_schedule")) or received
        every = None
        if kind == "Recurring":
            every = _EVERY.get(str(said.get("recurrency_kind")))
            if every is None:
                raise ProfileError("a recurring profile without a recurrency kind")
        periods = []
        for period in schedule["charging_schedule_period"]:
            value = period.get("setpoint", period.get("limit"))
            if value is None:
                raise ProfileError("a period without limit or setpoint")
            phases = period.get("number_phases")
            allowed = Allowed(to_kw(float(value), unit, phases), phases)
            periods.append(Period(timedelta(seconds=int(period["start_period"])), allowed))
        duration = schedule.get("duration")
        transaction = said.get("transaction_id")
        return cls(
            number=int(said.get("charging_profile_id", said.get("id", 0))),
            stack_level=int(said["stack_level"]),
            purpose=purpose,
            transaction=None if transaction is None else str(transaction),
            begin=None if kind == "Relative" else begin,
            duration=None if duration is None else timedelta(seconds=int(duration)),
            every=every,
            periods=tuple(sorted(periods, key=lambda each: each.start)),
            valid_from=parse(said.get("valid_from")),
            valid_to=parse(said.get("valid_to")),
        )

    def at(self, now: datetime, transaction_begin: datetime | None) -> Allowed | None:
        """What it allows then; None: it does not hold."""
        if (self.valid_from is not None and now < self.valid_from) or (
            self.valid_to is not None and now >= self.valid_to
        ):
            return None
        since = self._since(now, transaction_begin)
        if since < timedelta() or (self.duration is not None and since >= self.duration):
            return None
        begun = [each.allowed for each in self.periods if each.start <= since]
        return begun[-1] if begun else None

    def changes(self, now: datetime, transaction_begin: datetime | None) -> Iterator[datetime]:
        """Instants after ``now`` at which it may change."""
        since = self._since(now, transaction_begin)
        offsets = [each.start for each in self.periods] + [each for each in (self.duration, self.every) if each]
        yield from (now + offset - since for offset in offsets if offset > since)
        yield from (each for each in (self.valid_from, self.valid_to) if each is not None and each > now)

    def _since(self, now: datetime, transaction_begin: datetime | None) -> timedelta:
        since = now - (self.begin or transaction_begin or now)
        return since % self.every if self.every is not None and since >= timedelta() else since


class Profiles:
    """Those that were set; one of the same number, or of the same purpose and stack level, takes another's place."""

    def __init__(self) -> None:
        self._profiles: list[Profile] = []

    def set(self, new: Profile) -> None:
        self._profiles = [
            each
            for each in self._profiles
            if each.number != new.number and (each.purpose, each.stack_level) != (new.purpose, new.stack_level)
        ]
        self._profiles.append(new)

    def clear(self, number: int | None, purpose: str | None, stack_level: int | None) -> bool:
        """Those of this number, purpose (by any version's name) and level; None: of any. Whether there was one."""
        purpose = _PURPOSES.get(purpose or "", purpose)
        return self._drop(
            lambda each: (
                number in (None, each.number)
                and purpose in (None, each.purpose)
                and stack_level in (None, each.stack_level)
            )
        )

    def _drop(self, drops: Callable[[Profile], bool]) -> bool:
        kept = [each for each in self._profiles if not drops(each)]
        found, self._profiles = len(kept) < len(self._profiles), kept
        return found

    def end_of(self, transaction: str) -> None:
        """Profiles of a transaction end with it."""
        self._drop(lambda each: each.purpose == TX and each.transaction in (None, transaction))

    def allowed(self, now: datetime, transaction: str | None, begin: datetime | None) -> Allowed | None:
        """What they allow then: the transaction's own, or the default, and no more than the station's most.

        None: no profile holds. Of the station's most no phases are taken.
        """
        own = self._of(TX, now, begin, transaction) if transaction is not None else None
        if own is None:
            own = self._of(TX_DEFAULT, now, begin, None)
        most = self._of(MOST, now, begin, None)
        if own is None or most is None:
            return own or most
        return Allowed(min(own.power_kw, most.power_kw), own.phases)

    def _of(self, purpose: str, now: datetime, begin: datetime | None, transaction: str | None) -> Allowed | None:
        holding = [
            (each.stack_level, allowed)
            for each in self._profiles
            if each.purpose == purpose
            and (purpose != TX or each.transaction in (None, transaction))
            and (allowed := each.at(now, begin)) is not None
        ]
        return max(holding, key=lambda each: (each[0], each[1].power_kw))[1] if holding else None

    def next_change(self, now: datetime, begin: datetime | None) -> datetime | None:
        found: Iterable[datetime] = (at for each in self._profiles for at in each.changes(now, begin))
        return min(found, default=None)


def utc_now() -> datetime:
    return datetime.now(UTC)
