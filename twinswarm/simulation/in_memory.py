"""A whole site in one process and one thread, without a broker: the same day, to the last bit."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runtime.in_memory import InMemoryRun
from schemas.cycle import Course
from schemas.messages import Phase
from schemas.participant import Json, Received
from schemas.site import GHOSTS, Site
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import lockstep_run
from twinswarm.simulation.compose import Recording, maker, members
from twinswarm.simulation.runs import new_run_id

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm


def run_in_memory(
    site: Site,
    course: Course,
    recording: Recording | None,
    on_phase: Callable[[int, Phase, datetime], None] | None = None,
    on_message: Callable[[Received], None] | None = None,
    algorithm: "Algorithm | None" = None,
    learned: Mapping[str, Json] | None = None,
    brief: bool = False,
) -> str:
    """Runs a day and records it; without a recording nobody records, and ``on_message`` is all that is told of it.

    ``algorithm``: what the EMS plans with in the place of the optimiser. ``learned``: by participant, the state with
    which it begins, such as that of a forecast that has learned before. ``brief``: the EMS' plans say what is
    commanded, and nothing else, which is faster; powers and measurements are the same. Returns the run's identifier.
    """
    now = datetime.now(UTC)
    run = new_run_id(now)
    lived = composed(site, course, run, now, recording, on_phase, on_message, algorithm, learned, brief)
    lived.advance(course.last_cycle)
    return run


def composed(
    site: Site,
    course: Course,
    run: str,
    began: datetime,
    recording: Recording | None = None,
    on_phase: Callable[[int, Phase, datetime], None] | None = None,
    on_message: Callable[[Received], None] | None = None,
    algorithm: "Algorithm | None" = None,
    learned: Mapping[str, Json] | None = None,
    brief: bool = False,
) -> InMemoryRun:
    """The site's participants before their roll call. ``began``: by the machine's clock, for the run's message; the
    others as of `run_in_memory`."""
    participants = {
        device: maker(site, device, recording, algorithm, brief=brief)()
        for device in members(site)
        if recording or device not in ("recorder", GHOSTS)  # nobody would read what the ghosts say
    }
    for device, state in (learned or {}).items():
        participants[device].restore(state)
    return InMemoryRun(
        [*participants.values()],
        course,
        run,
        (Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), lockstep_run(course, began)),
        on_phase,
        on_message,
    )
