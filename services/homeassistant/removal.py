"""Takes a site away from Home Assistant: what announces its devices, and what persons set there."""

from collections.abc import Callable
from dataclasses import dataclass

from broker.transport import Transport
from schemas.roles import home_settings
from schemas.topics import matches
from services.homeassistant.discovery import discovered, is_of_site

LISTEN_S = 2.0
"""What is retained has come by then."""


@dataclass(frozen=True, slots=True)
class Removed:
    """How many retained messages were taken away."""

    devices: int
    states: int


def remove_site(site: str, transport: Transport, prefix: str, monotonic: Callable[[], float]) -> Removed:
    """Deletes what stands retained of this site: the devices' discovery, and the states of what persons set.

    Raises BrokerUnreachableError.
    """
    settings = home_settings(site)
    transport.connect([discovered(prefix), settings])
    retained: set[str] = set()
    begun = monotonic()
    while monotonic() - begun < LISTEN_S:
        delivery = transport.receive(0.2)
        if delivery is None:
            continue
        transport.acknowledge(delivery)
        if delivery.payload:
            retained.add(delivery.topic)
    states = sorted(topic for topic in retained if matches(settings, topic))
    devices = sorted(topic for topic in retained if is_of_site(topic, prefix, site))
    for topic in (*devices, *states):
        transport.publish(topic, b"", retain=True)
    transport.flush(10.0)
    return Removed(len(devices), len(states))
