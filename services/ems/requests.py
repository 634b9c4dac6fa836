"""What persons ask of the EMS: set-points by hand and standby (`ems.requests`), as far as it holds now."""

import json
from dataclasses import dataclass
from datetime import datetime

from schemas.messages import Request, RequestedPower
from schemas.participant import Json, Received


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks of a device now."""

    source: str
    power: RequestedPower


class Requests:
    """The newest request of each sender."""

    def __init__(self) -> None:
        self._said: dict[str, Request] = {}

    def receive(self, received: Received) -> None:
        """Takes in a request, which replaces what this sender asked before."""
        assert isinstance(received.body, Request)
        self._said[received.topic.device] = received.body

    def _now(self, now: datetime) -> list[Request]:
        """Those that are valid, the newest last."""
        valid = [each for each in self._said.items() if each[1].valid_from <= now < each[1].valid_until]
        return [said for _, said in sorted(valid, key=lambda each: (each[1].valid_from, each[0]))]

    def standby(self, now: datetime) -> str | None:
        """Who asks for standby; None: nobody."""
        asked = (each for each in self._now(now) if each.standby_until is not None and now < each.standby_until)
        return next((each.source for each in asked), None)

    def wanted(self, now: datetime) -> dict[str, Wanted]:
        """By device; of several senders the newest request counts."""
        found: dict[str, Wanted] = {}
        for said in self._now(now):
            for device, power in said.setpoints.items():
                if now < power.until:
                    found[device] = Wanted(said.source, power)
        return dict(sorted(found.items()))

    def snapshot(self) -> Json:
        return {sender: json.loads(said.model_dump_json()) for sender, said in self._said.items()}

    def restore(self, state: Json) -> None:
        self._said = {sender: Request.model_validate_json(json.dumps(said)) for sender, said in state.items()}
