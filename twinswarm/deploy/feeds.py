"""The participants whose profiles feeds renew."""

from collections.abc import Callable
from pathlib import Path

from schemas.errors import Code, InputError
from schemas.participant import Participant
from schemas.site import Feed, Site
from services.feeds.fed import Fed
from services.feeds.source import FeedSource
from services.forecast.daily import DailySeries

FED = ("forecast", "tariff")
"""The services whose profiles feeds may renew."""


def feeds_of(site: Site, service: str) -> dict[str, Feed]:
    """The feeds of the profiles that ``forecast`` or ``tariff`` publishes, by profile."""
    of_tariff = {profile for _, profile in (*site.tariff.profiles_used, *site.connection.profiles_used)}
    used = of_tariff if service == "tariff" else {profile for _, profile in site.profiles_used()} - of_tariff
    return {name: feed for name, feed in sorted(site.feeds.items()) if name in used}


def fed(site: Site, service: str, cache: Path) -> Callable[[], Participant]:
    """How to build ``tariff`` or ``forecast`` with its feeds. Raises InputError where the site has none for it."""
    feeds = feeds_of(site, service)
    if not feeds:
        what = f"the site {site.site} has no feed of a profile that the {service} publishes"
        raise InputError.one("--feeds", what, code=Code.MISSING)
    sources = [FeedSource(name, feed, site, cache) for name, feed in feeds.items()]
    return lambda: Fed(_make(service), site, sources)


def _make(service: str) -> Callable[[Site], DailySeries]:
    if service == "tariff":
        from services.forecast.tariff import Tariff

        return Tariff
    from services.forecast.sources import forecast_of
    from twin_devices.pv_source import pv_power

    return lambda site: forecast_of(site, pv_power)
