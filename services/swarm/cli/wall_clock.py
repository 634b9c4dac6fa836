"""The clock's process in wall time: refuses a site that lives, opens the session, ends it."""

from broker.host import new_boot
from broker.mqtt import MqttTransport
from broker.wall import drive
from schemas.messages import TimeMode
from schemas.site import Site
from services.clock.lockstep import CLOCK
from services.clock.refusal import check_site_is_free
from services.clock.wall import WallClock, WallTime
from services.swarm.clock_process import ClockOrder
from services.swarm.process import Connection, Life, stop_event

_LEAD_S = 1.0
"""Machine time between the announcement and the beginning, for participants to get ready in."""


def run_wall_clock(site: Site, order: ClockOrder, speed: float, connection: Connection) -> None:
    """Carries a simulated session to its end, ``speed`` times as fast as the machine's clock.

    Raises SiteBusyError, BrokerUnreachableError.
    """
    stop = stop_event(Life())
    transport = MqttTransport(connection.address, f"{site.site}.{CLOCK}", connection.credentials)
    if order.allowed is not None:
        check_site_is_free(transport, site.site, TimeMode.WALL, order.allowed)
    time = WallTime(site.time.step_s, order.t0, order.t_end, speed, simulated=True, lead_s=_LEAD_S)
    clock = WallClock(site.site, transport, time, run=order.run, boot=new_boot(), resume=False)
    drive(clock, transport, stop)
