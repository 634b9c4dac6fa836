"""Charging sessions as a picture: how many vehicles are there over time, when they come and go, what they take."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from services.analysis.figures import BLUE, GREEN, ORANGE, Picture
from services.analysis.figures.canvas import Panel, canvas, legend
from twinswarm.imports.vehicles import Placed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def picture_of_sessions(placed: Sequence[Placed], zone: tzinfo) -> Picture:
    """Three panels: vehicles plugged in, hours of arrival and departure, energies."""
    figure, (over_time, hours, energies) = canvas(
        [Panel("vehicles plugged in", 2.0, 0.2), Panel("sessions", 1.5, 0.7), Panel("sessions", 1.5, 0.6)], None
    )
    _presence(over_time, placed, zone)
    for times, name, color in (
        ([place.session.arrival for place in placed], "arrivals", BLUE),
        ([place.session.departure for place in placed], "departures", ORANGE),
    ):
        local = [time.astimezone(zone) for time in times]
        hours.hist(
            [time.hour + time.minute / 60 for time in local], bins=range(25), histtype="step", label=name, color=color
        )
    legend(hours, 2)
    hours.set_xlim(0, 24)
    hours.set_xticks(range(0, 25, 3), [f"{hour:02d}:00" for hour in range(0, 25, 3)])
    energies.hist([place.session.energy_kwh for place in placed], bins=30, color=GREEN)
    energies.set_xlabel("energy of a session [kWh]")
    return Picture("sessions as they were read", "vehicles over time, hours of arrival and departure, energies", figure)


def _presence(axes: "Axes", placed: Sequence[Placed], zone: tzinfo) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    changes = sorted([(p.session.arrival, 1) for p in placed] + [(p.session.departure, -1) for p in placed])
    times, counts, present = [], [], 0
    for time, change in changes:
        present += change
        times.append(time.astimezone(zone))
        counts.append(present)
    numbers = date2num(times)  # type: ignore[no-untyped-call]
    axes.xaxis_date(zone)
    axes.step(numbers, counts, where="post", color=BLUE, linewidth=0.8)
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
