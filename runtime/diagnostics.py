"""Diagnostics of a run loop in wall time: `metric` periodically, `reject` for a message that it ignores.

Both belong to wall time alone. What a lock-step run sends is a function of what it was given, to the last bit, and
arises from ticks only: there, seconds have no place, and a stray message that comes at no cycle cannot be answered in
one. The recorder keeps it as a dead letter in either mode.

A set-point that a device has read and refuses (an old epoch, over already, not within its nameplate) is answered by
an `ack` with the reason, which is no `reject`, and is not counted here.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from schemas.errors import Code
from schemas.messages import Alarm, Metric, Reject, Severity
from schemas.participant import Outgoing, Participant, Received, own_metrics, own_topic
from schemas.presence import HEARTBEAT_S, WATCHED
from schemas.topics import Channel, Kind

PERIOD = timedelta(minutes=1)
"""Between metrics, and the window of the limit on rejects; of the machine's time, however fast the run's goes."""
REJECTS_MOST = 10
"""A minute, and one a topic: a flood of garbage is counted, not answered by another flood."""
IDENTITY_REUSED = "identity_reused"
"""Code of the alarm about a number that was used twice."""
IDENTITY_CONTESTED = "identity_contested"
"""Code of the alarm about another process that lives at the same time under the same identity."""
_TOPIC_MOST, _REASON_MOST = 200, 500
"""Characters that the contract allows in a reject."""


def metric_period(kind: Kind) -> timedelta:
    """Machine time between the metrics of a participant: for a service that others watch they are its heartbeat."""
    return timedelta(seconds=HEARTBEAT_S) if kind in WATCHED else PERIOD


class Diagnostics:
    """Counts of one participant's run loop, since its process began."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant
        self._period = metric_period(participant.kind)
        self._since: datetime | None = None
        self._window_began: datetime | None = None
        self._reported: set[str] = set()
        """Topics that a reject named in this minute."""
        self._lag_s: float | None = None
        self._turn_s: float | None = None
        self.rejected = 0
        """Messages that were not of the contract."""
        self.other_runs = 0
        """Messages of other runs, ignored."""

    def heard(self, lag_s: float) -> None:
        """Telemetry arrived so much machine time after the instant that it is about."""
        self._lag_s = lag_s if self._lag_s is None else max(self._lag_s, lag_s)

    def turned(self, turn_s: float) -> None:
        """The participant acted, which took so much machine time."""
        self._turn_s = turn_s if self._turn_s is None else max(self._turn_s, turn_s)

    def reject(self, topic: str, reason: str, code: Code) -> Outgoing | None:
        """The reject of a message that is ignored; None beyond the limit, and for rejects, so that none answers
        another."""
        topic = _plain(topic, _TOPIC_MOST)
        silent = topic.endswith(f"/{Channel.REJECT}") or topic in self._reported or len(self._reported) >= REJECTS_MOST
        if silent:
            return None
        self._reported.add(topic)
        body = Reject(topic=topic, code=code, reason=_plain(reason, _REASON_MOST))
        return Outgoing(own_topic(self._participant, Channel.REJECT), body)

    def begun_anew(self, received: Received) -> Alarm | None:
        """The alarm about a sender that has begun to count anew without a new boot; None: said in this minute."""
        topic, stamp = received.topic, received.stamp
        key = f"{topic.kind}/{topic.device} begun anew"
        if key in self._reported:
            return None
        self._reported.add(key)
        return Alarm(
            code=IDENTITY_REUSED,
            severity=Severity.WARNING,
            device=topic.device,
            text=f"{topic}: number {stamp.seq} was used before with other content: its sender has begun to count anew "
            f"without a new boot, and counts as another life, {stamp.boot}",
        )

    def contested(self, boot: str, own_boot: str) -> Alarm | None:
        """The alarm about another process of this identity; None: said in this minute."""
        key = f"contested by {boot}"
        if key in self._reported:
            return None
        self._reported.add(key)
        return Alarm(
            code=IDENTITY_CONTESTED,
            severity=Severity.CRITICAL,
            device=self._participant.device,
            text=f"another process, boot {boot}, lives under the identity of {self._participant.device}, boot "
            f"{own_boot}: one of them acts and the other one stands by; stop one of them",
        )

    def metric(self, now: datetime, skipped: int, inputs: Mapping[str, float]) -> Outgoing | None:
        """The numbers of the period that is over at machine time ``now``; None: it is not over yet.

        ``skipped``: instants that were passed over since the start because the process was late. ``inputs``: numbers
        about the participant's sources.
        """
        if self._since is None or self._window_began is None:
            self._since = self._window_began = now
        if now - self._window_began >= PERIOD:
            self._window_began = now
            self._reported.clear()
        if now - self._since < self._period:
            return None
        values = {"rejected": float(self.rejected), "other_runs": float(self.other_runs), "skipped": float(skipped)}
        if self._lag_s is not None:
            values["lag_s"] = self._lag_s
        if self._turn_s is not None:
            values["turn_s"] = self._turn_s
        self._since, self._lag_s, self._turn_s = now, None, None
        return Outgoing(
            own_topic(self._participant, Channel.METRIC),
            Metric(values=values | dict(inputs) | own_metrics(self._participant)),
        )


def _plain(text: str, most: int) -> str:
    """A peer's text, cut and without lone surrogates, so that it can be sent again."""
    return text.encode(errors="replace").decode()[:most]
