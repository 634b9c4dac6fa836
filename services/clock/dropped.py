"""Messages that the broker gave up for a client that does not take them, in wall time: an alarm of the clock.

A client that is stuck, or away with a session that lasts, has a queue at the broker, and the queue a bound. Mosquitto
counts what it drops beyond it (`schemas.topics.BROKER_DROPPED`), every 10 s, and does not say for whom. Brokers without
this count publish nothing there. A broker that was started again counts from 0.
"""

from datetime import datetime, timedelta

from schemas.messages import Alarm, Severity

MESSAGES_DROPPED = "messages_dropped"
"""Code of the alarm."""
PATIENCE = timedelta(minutes=1)
"""While more is dropped, it comes again so often; it ends when nothing was for so long."""


class DroppedWatch:
    """What one clock knows of it."""

    def __init__(self) -> None:
        self.count: int | None = None
        """Since the broker started; None: it does not say."""
        self._told = 0
        """The count up to which somebody was told."""
        self._told_at: datetime | None = None
        """When; None: no alarm stands."""

    def hear(self, payload: bytes) -> None:
        """Takes the broker's count; anything that is no number is no count. What was before the clock is not told."""
        text = payload[:20]
        if not text.isdigit():
            return
        before, self.count = self.count, int(text)
        if before is None or self.count < before:
            self._told = self.count if before is None else 0

    def look(self, now: datetime) -> Alarm | None:
        """The alarm that begins, comes again with a higher count, or ends now."""
        count = self.count or 0
        if self._told_at is not None and now - self._told_at < PATIENCE:
            return None
        more, self._told = count - self._told, count
        if more > 0:
            self._told_at = now
            text = (
                f"the broker has dropped {more} messages for a client that does not take them: it is stuck, or was "
                "away for too long, and does not know what it was sent"
            )
        elif self._told_at is not None:
            self._told_at = None
            text = f"over: the broker drops nothing any more; {count} since it started"
        else:
            return None
        return Alarm(
            code=MESSAGES_DROPPED, severity=Severity.CRITICAL, active=more > 0, value=float(count), limit=0.0, text=text
        )
