"""A site's load meters, inverters and forecast in memory, without anybody who plans."""

from collections.abc import Callable
from datetime import UTC, datetime

from runtime.in_memory import run_direct
from schemas.cycle import Course
from schemas.messages import MeterRole, Phase
from schemas.participant import Json, Received
from schemas.site import AnyDevice, Meter, Pv, Site
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import lockstep_run
from twinswarm.simulation.compose import maker
from twinswarm.simulation.runs import new_run_id


def forecast_devices(site: Site) -> dict[str, AnyDevice]:
    """The load meters and inverters, by name."""
    return {
        name: device
        for name, device in sorted(site.devices.items())
        if isinstance(device, Pv) or (isinstance(device, Meter) and device.role is MeterRole.LOAD)
    }


def walk_forecast(
    site: Site,
    course: Course,
    on_phase: Callable[[int, Phase, datetime, Callable[[], Json]], None],
    on_message: Callable[[Received], None],
) -> None:
    """Lives ``course`` through. ``on_phase`` is also given how to take the forecast's state. Raises TwinswarmError."""
    devices = forecast_devices(site)
    walking = site.model_copy(update={"devices": devices, "scenario": ()})
    forecast = maker(walking, "forecast")()
    now = datetime.now(UTC)
    run_direct(
        [*(maker(walking, name)() for name in devices), forecast],
        course,
        new_run_id(now),
        (Topic(walking.site, Kind.CLOCK, "clock", Channel.RUN), lockstep_run(course, now)),
        on_phase=lambda n, phase, time: on_phase(n, phase, time, forecast.snapshot),
        on_message=on_message,
    )
