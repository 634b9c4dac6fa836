"""Whether a peer is there and its clock is right, in wall time, by the receiver's clock.

Times are of the run [s]. What a busy machine takes to deliver a message, or to read it, is a longer time in a run that
passes faster; the bounds therefore never ask for more than `PROMPT_S` of the machine.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from schemas.topics import Kind

REVOKED = "its certificate was revoked"
"""Reason of the state of a device that an operator has taken from the site."""
STALE_PERIODS = 3
"""A device from which nothing has come for so many of its telemetry periods is not there."""
SKEW_S = 60.0
"""Difference between a device's clock and the receiver's from which on the device's is wrong."""
PROMPT_S = 10.0
"""Machine time within which a message that was sent has been read."""
EXACT_S = 2.0
"""Machine time by which the clocks of two processes differ at most."""


def ahead_bound_s(pace: float) -> float:
    """How far before its ``ts`` a telemetry may arrive. ``pace``: run seconds in a second of the machine."""
    return max(SKEW_S, EXACT_S * pace)


def behind_bound_s(pace: float) -> float:
    """How long after its ``ts`` a telemetry may arrive, if its sender's clock is right."""
    return max(SKEW_S, 2 * PROMPT_S * pace)


def silent_after_s(period_s: float, pace: float) -> float:
    """After so long without telemetry a device is silent. ``period_s``: its telemetry period."""
    return max(STALE_PERIODS * period_s, PROMPT_S * pace)


def lag_s(ts: datetime, arrived: datetime) -> float:
    """Time from a telemetry's ``ts`` to its arrival [s]: negative when the sender's clock is ahead."""
    return (arrived - ts) / timedelta(seconds=1)


# ---- services, which send no telemetry

HEARTBEAT_S = 15.0
"""Machine time between the metrics of a service that others watch; its birth says so."""
SILENT_BEATS = 3
"""A service of which nothing has come for so many of its heartbeats is silent, though its connection may stand."""
WATCHES: Mapping[Kind, tuple[Kind, ...]] = {
    Kind.EMS: (Kind.RECORDER, Kind.CLOCK, Kind.FORECAST, Kind.TARIFF),
    Kind.RECORDER: (Kind.EMS, Kind.CLOCK),
}
"""Who raises an alarm about whom in wall time. Nobody can watch itself, so these two watch each other."""
WATCHED = frozenset(kind for kinds in WATCHES.values() for kind in kinds)
"""Services with a heartbeat."""


def silent_service_s(heartbeat_s: float) -> float:
    """After so much machine time without a message a service is silent. ``heartbeat_s``: by its birth."""
    return SILENT_BEATS * heartbeat_s
