"""An EMS that has seen the charging sessions of the time before a run."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from schemas.participant import Json
from schemas.site import Charger, Site
from services.ems.departure_history import DepartureHistory
from twinswarm.simulation.compose import maker

SEEN = timedelta(days=60)
"""The time before a run of which the sessions are seen; the history keeps no more at a car park's pace."""


def having_seen(site: Site, start: datetime) -> Mapping[str, Json]:
    """The state, by participant, of an EMS that learns departures and saw the site's sessions that ended by ``start``.

    Empty where the site's EMS does not learn them.
    """
    options = site.ems.learned_departures
    if options is None:
        return {}
    over = [
        (session.departure, session.vehicle if "vehicle" in charger.reports else None, session, charger)
        for _, charger in sorted(site.devices.items())
        if isinstance(charger, Charger)
        for session in charger.sessions_between(start - SEEN, start, site.zone)
        if session.departure <= start
    ]
    history = DepartureHistory(options, site.zone)
    for left, vehicle, session, charger in sorted(over, key=lambda one: (one[0], one[2].vehicle)):
        announced = session.said(charger.reports, charger.charge_efficiency).get("departure")
        history.add(vehicle, session.arrival, left, announced)
    state = maker(site, "ems")().snapshot()
    state["state"]["departures"] = history.snapshot()
    return {"ems": state}
