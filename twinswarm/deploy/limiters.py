"""The participant of a source of limits, from the site's description."""

from collections.abc import Callable

from schemas.errors import Code, InputError
from schemas.participant import Participant, Source
from schemas.site import Site
from schemas.site.limits import ModbusRelay, OpenAdrLimit
from services.limiter.openadr import OpenAdrSource
from services.limiter.relay import ModbusRelayLink, MqttRelayLink
from services.limiter.sourced import SourcedLimiter
from twinswarm.deploy.drivers import mqtt_connection
from twinswarm.extras import require


def sourced(site: Site, name: str) -> Callable[[], Participant]:
    """How to build the limiter ``name`` of a site. Raises InputError where the site has no such source."""
    described = site.limits.get(name)
    if described is None:
        there = ", ".join(site.limits) or "none; see docs/limits.md"
        raise InputError.one("NAME", f"the site {site.site} has the limits {there}", name, code=Code.UNKNOWN)
    title = f"{site.site}/{name}"
    link: Source
    if isinstance(described, OpenAdrLimit):
        require("openadr3")
        link = OpenAdrSource(title, described, described.ven_name or f"twinswarm-{site.site}")
    elif isinstance(described, ModbusRelay):
        require("pymodbus")
        link = ModbusRelayLink(title, described)
    else:
        link = MqttRelayLink(title, described, mqtt_connection(site, name, described, f"limits.{name}"))
    return lambda: SourcedLimiter(site.site, name, described, link, described.max_age_s)
