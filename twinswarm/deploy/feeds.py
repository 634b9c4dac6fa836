"""The participants whose profiles feeds renew."""

from collections.abc import Callable
from pathlib import Path

from schemas.errors import Code, InputError
from schemas.participant import Participant
from schemas.site import Site
from services.feeds.fed import Fed
from services.feeds.source import FeedSource
from services.forecast.daily import DailySeries


def fed(site: Site, device: str, cache: Path) -> Callable[[], Participant]:
    """How to build ``tariff`` or ``forecast`` with the feeds of the profiles that it publishes.

    Raises InputError where the site has none for it.
    """
    prices = {profile for _, profile in site.tariff.profiles_used}
    used = prices if device == "tariff" else {profile for _, profile in site.profiles_used()} - prices
    feeds = {name: feed for name, feed in sorted(site.feeds.items()) if name in used}
    if not feeds:
        what = f"the site {site.site} has no feed of a profile that the {device} publishes"
        raise InputError.one("--feeds", what, code=Code.MISSING)
    sources = [FeedSource(name, feed, site, cache) for name, feed in feeds.items()]
    return lambda: Fed(_make(device), site, sources)


def _make(device: str) -> Callable[[Site], DailySeries]:
    if device == "tariff":
        from services.forecast.tariff import Tariff

        return Tariff
    from services.forecast.forecast import Forecast
    from twin_devices.pv_source import pv_power

    return lambda site: Forecast(site, pv_power)
