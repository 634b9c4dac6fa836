"""A charge point's clock beside ours: which of its measurements are of now, and which were queued while it was away."""

from datetime import UTC, datetime, timedelta

NOW = timedelta(seconds=60)
"""A measurement up to so old, or so far ahead, is of now."""
SAME = timedelta(seconds=5)
APART = timedelta(seconds=1)
BELIEVED = timedelta(days=40 * 366)
"""A clock that was never set is at 1970 or 2000; what is further off is no time."""


def parse(text: object) -> datetime | None:
    """An instant of OCPP, RFC 3339; without a zone it is UTC. None: it is none."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        return None


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class PeerClock:
    """The clock of a charge point that may be wrong, by the measurements that it sends.

    What comes as it is measured keeps its age, however wrong the clock is; what is handed in after an interruption
    comes faster than it was measured, so its age shrinks.
    """

    def __init__(self) -> None:
        self._anchor: tuple[datetime, timedelta] | None = None
        """When a measurement was received against which later ones are held, and its age then."""
        self._steady = False
        self.behind = timedelta()
        """By how much it is behind ours; zero: it is right."""

    def is_now(self, measured: datetime, received: datetime) -> bool:
        age = received - measured
        if abs(age) > BELIEVED:
            return False
        if abs(age) <= NOW:
            self._anchor, self._steady = None, False
            self.behind = timedelta() if abs(age) <= SAME else age
            return True
        if self._anchor is None:
            self._anchor = (received, age)
        elif received - self._anchor[0] >= APART:
            self._steady = abs(age - self._anchor[1]) <= SAME
            self._anchor = (received, age)
        if self._steady:
            self.behind = age
        return self._steady

    def its_time(self, ours: datetime) -> datetime:
        """What its clock shows at an instant of ours."""
        return ours - self.behind

    @property
    def trouble(self) -> str | None:
        seconds = self.behind.total_seconds()
        if abs(self.behind) <= NOW:
            return None
        return f"its clock is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead'}"
