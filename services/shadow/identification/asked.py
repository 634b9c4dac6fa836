"""What a device was asked for through a history: the accepted set-points in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.messages import Ack, Setpoint
from schemas.participant import Received


@dataclass(frozen=True, slots=True)
class Asked:
    """A power [kW] that the device acknowledged, from when it was asked for until it ended or another one came."""

    power_kw: float
    start: datetime
    end: datetime


def asked(setpoints: Sequence[tuple[Received, Setpoint]], acks: Sequence[tuple[Received, Ack]]) -> list[Asked]:
    """By time. An ack's time is, by the device's clock, when the set-point was there.

    In lock-step that is the set-point's own instant.
    """
    sent = {setpoint.id: setpoint for _, setpoint in setpoints}
    found: dict[datetime, Asked] = {}
    for received, ack in acks:
        setpoint = sent.get(ack.id)
        if not ack.accepted or setpoint is None or setpoint.power_kw is None:
            continue
        # What will flow may be less, at a bound or for a vehicle; what was asked is what is followed.
        start = max(received.stamp.ts, setpoint.valid_from)
        found[start] = Asked(setpoint.power_kw, start, setpoint.valid_until)
    ordered = [found[start] for start in sorted(found)]
    ends = [*(following.start for following in ordered[1:]), None]
    return [
        Asked(each.power_kw, each.start, each.end if end is None else min(each.end, end))
        for each, end in zip(ordered, ends, strict=True)
        if end is None or end > each.start
    ]
