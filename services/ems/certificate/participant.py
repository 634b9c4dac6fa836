"""An EMS that hands out a certificate with every plan that it solved."""

from collections.abc import Callable
from functools import partial
from typing import Any

from schemas.messages import Plan, Setpoint
from schemas.participant import Json, Outgoing, Turn
from schemas.site import Site
from services.ems.certificate.certificate import certificate_of
from services.ems.dispatch import Decision
from services.ems.participant import Ems
from services.ems.solution import Solution

Certify = Callable[[], dict[str, Json]]
"""Makes a certificate: it takes longer than most plans, and not every one is wanted."""

Keep = Callable[[Plan, Certify], Any]
"""What is done about a plan's certificate."""


class CertifyingEms(Ems):
    """The EMS of ``site``, to the last bit; ``keep`` gets what makes a certificate with every plan that was solved."""

    def __init__(self, site: Site, keep: Keep) -> None:
        super().__init__(site)
        self._keep = keep
        self._solution: Solution | None = None

    def _decide(self, turn: Turn) -> Decision:
        decision = super()._decide(turn)
        self._solution = decision.solution
        return decision

    def _conclude(self, turn: Turn) -> list[Outgoing]:
        messages = super()._conclude(turn)
        if self._solution is not None:
            plan = next(message.body for message in messages if isinstance(message.body, Plan))
            setpoints = {m.topic.device: m.body for m in messages if isinstance(m.body, Setpoint)}
            self._keep(plan, partial(certificate_of, self._solution, plan, setpoints))
        return messages
