"""The plan that a site's EMS makes at one instant of a simulated day, with what it has measured by then."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runtime.in_memory import run_direct
from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.messages import Plan
from schemas.participant import Received
from schemas.site import SERVICES, Site
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import lockstep_run
from twinswarm.simulation.compose import beside, maker, members
from twinswarm.simulation.runs import new_run_id

if TYPE_CHECKING:
    from services.ems.certificate.participant import Keep


class _FoundError(Exception):
    """Ends the run in memory: the rest of the day does not matter."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("the plan is there")
        self.plan = plan


def plan_at(site: Site, course: Course, at: datetime, certificates: "Keep | None" = None) -> Plan:
    """Lives through ``course`` without recording until the plan of the step that begins at ``at``.

    It is the plan of the whole run, to the last bit. ``certificates`` is called with every plan on the way, and with
    this one at last. Raises RunFailedError when the EMS made none.
    """

    def look(received: Received) -> None:
        if isinstance(received.body, Plan) and received.stamp.ts >= at:
            raise _FoundError(received.body)

    try:
        live_through(site, course, look, certificates)
    except _FoundError as found:
        return found.plan
    raise RunFailedError(f"the EMS made no plan at {at}")


def live_through(
    site: Site, course: Course, on_message: Callable[[Received], None] | None, certificates: "Keep | None"
) -> None:
    """Lives through ``course`` without recording. ``certificates`` is called with every plan that was solved."""
    now = datetime.now(UTC)
    idle = beside(site)
    planning = [d for d in members(site) if SERVICES.get(d) is not Kind.RECORDER and d not in idle]
    run_direct(
        [maker(site, device, certificates=certificates)() for device in planning],
        course,
        new_run_id(now),
        (Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), lockstep_run(course, now)),
        on_message=on_message,
    )
