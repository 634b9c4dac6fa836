"""Who of a site is in the stack's profile ``live`` beside EMS and clock.

These are feeds, drivers, sources of limits, shadows and ghosts. Each is a process of its own, with the certificate of
its own name.
"""

from dataclasses import dataclass

from schemas.site import Site
from schemas.site.drivers import ModbusDriver, MqttDriver, SunspecDriver
from schemas.site.feeds import token_variable
from schemas.site.limits import AnyLimitSource, OpenAdrLimit
from twinswarm.deploy.feeds import FED, feeds_of
from twinswarm.simulation.compose import beside


@dataclass(frozen=True)
class LiveService:
    """A service of the profile ``live``."""

    name: str
    """Of the service. One that the profile ``sim`` has as well ends with ``-live``."""
    identity: str
    """Under which it is on the bus."""
    command: str
    why: str
    """In words, for who reads the file."""
    outside: bool = False
    """It reaches what is not in a container."""
    variables: tuple[str, ...] = ()
    """Environment variables with its secrets."""


def live_services(site: Site) -> tuple[LiveService, ...]:
    """In the order in which the compose file has them."""
    return (*_feeds(site), *_drivers(site), *_limiters(site), *_beside(site))


def driven(site: Site) -> tuple[str, ...]:
    """Devices whose driver reaches them by itself. Those of OCPP and S2 listen for theirs, at a port of the machine."""
    dialling = MqttDriver | ModbusDriver | SunspecDriver
    return tuple(name for name, device in sorted(site.devices.items()) if isinstance(device.driver, dialling))


def _feeds(site: Site) -> list[LiveService]:
    found = []
    for service in FED:
        if feeds := feeds_of(site, service):
            secrets = sorted(filter(None, map(token_variable, feeds.values())))
            command = f"{service} --feeds /var/lib/twinswarm/feeds"
            why = f"Its feeds are outside: {', '.join(feeds)}."
            found.append(LiveService(f"{service}-live", service, command, why, outside=True, variables=tuple(secrets)))
    return found


def _drivers(site: Site) -> list[LiveService]:
    return [
        LiveService(f"{name}-live", name, f"drive {name}", "The real device, by its driver.", outside=True)
        for name in driven(site)
    ]


def _limiters(site: Site) -> list[LiveService]:
    return [
        LiveService(
            name, name, f"limiter {name}", "A source of limits from outside.", outside=True, variables=_secrets(source)
        )
        for name, source in sorted(site.limits.items())
    ]


def _secrets(source: AnyLimitSource) -> tuple[str, ...]:
    named = source.client_secret_env if isinstance(source, OpenAdrLimit) else None
    return () if named is None else (named,)


def _beside(site: Site) -> list[LiveService]:
    why = "It lives beside the real site and commands nobody."
    return [LiveService(f"{name}-live", name, f"twin {name}", why) for name in beside(site)]
