"""On how many phases each charger charged when, by what it published."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from schemas.messages import ChargerTelemetry, Phases
from schemas.participant import Json, Received


class PhaseHistory:
    """Of chargers whose telemetry says their phases. Others are on all that they have."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[datetime, Phases]]] = {}
        """By charger, since when it has been on how many phases, in order."""

    def receive(self, telemetry: Mapping[str, Sequence[Received]]) -> None:
        """Takes in telemetry by device, each in the order in which it came."""
        for device, messages in telemetry.items():
            for received in messages:
                body = received.body
                if not isinstance(body, ChargerTelemetry) or body.phases is None:
                    continue
                known = self._known.setdefault(device, [])
                known += [(switched.at, switched.phases) for switched in body.phases_switched or ()]
                known.append((received.stamp.ts, body.phases))
                known.sort(key=lambda each: each[0])

    def on_one(self, at: datetime) -> frozenset[str]:
        """The chargers that are on one phase just after ``at``."""
        return frozenset(device for device, known in self._known.items() if _at(known, at) == 1)

    def drop_before(self, settled: datetime) -> None:
        """Forgets what is not needed any more after ``settled``."""
        for device, known in self._known.items():
            keep = sum(1 for _, after in pairwise(known) if after[0] <= settled)
            self._known[device] = known[keep:]

    def snapshot(self) -> Json:
        return {
            device: [[since.isoformat(), phases] for since, phases in known]
            for device, known in sorted(self._known.items())
        }

    def restore(self, state: Json) -> None:
        self._known = {
            device: [(datetime.fromisoformat(since), phases) for since, phases in known]
            for device, known in state.items()
        }


def _at(known: Sequence[tuple[datetime, Phases]], at: datetime) -> Phases | None:
    """The phases then; before the first entry those of it."""
    if known and at < known[0][0]:
        return known[0][1]
    return next((phases for since, phases in reversed(known) if since <= at), None)
