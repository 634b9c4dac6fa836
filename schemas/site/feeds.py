"""Feeds: where a live site gets a profile's values from, such as day-ahead prices and weather.

A feed replaces the values of a profile of the site while it has current ones. The profile itself holds in simulations,
and where the feed has nothing.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.site.base import SitePart
from schemas.site.openadr import Vtn
from schemas.site.profile import IntervalLabel

Url = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)]
Path = Annotated[str, Field(min_length=1, max_length=500)]


class _Feed(SitePart):
    every_s: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    """Between requests; after a failed one less at first, see `services.feeds.source`."""
    max_age_h: Annotated[float, Field(gt=0, le=240)] = 36.0
    """An answer older than that is no longer used."""


class _Secret(_Feed):
    token_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable with the access token."""
    token_file: Path | None = None
    """File with the access token. A token never stands in the description of a site."""


class EnergyCharts(_Feed):
    """Day-ahead prices of Fraunhofer ISE's Energy-Charts, without registration."""

    type: Literal["energy_charts"] = "energy_charts"
    bidding_zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{2,20}$")]
    """As Energy-Charts names it: DE-LU, AT, IT-North."""
    url: Url = "https://api.energy-charts.info/price"


class EnergyChartsCo2(_Feed):
    """CO2 intensity [g/kWh] of a country's electricity by Energy-Charts, measured and then forecast."""

    type: Literal["energy_charts_co2"] = "energy_charts_co2"
    country: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    """As Energy-Charts names it: de, at, it."""
    url: Url = "https://api.energy-charts.info/co2eq"


class Entsoe(_Secret):
    """Day-ahead prices of the ENTSO-E transparency platform (document A44); needs a token and the extra ``feeds``."""

    type: Literal["entsoe"] = "entsoe"
    bidding_zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{2,20}$")]
    """An EIC code, such as 10Y1001A1001A82H, or the name that entsoe-py has for it: DE_LU, IT_NORD."""
    url: Url = "https://web-api.tp.entsoe.eu/api"


class Awattar(_Feed):
    """Day-ahead prices of aWATTar, without registration."""

    type: Literal["awattar"] = "awattar"
    country: Literal["de", "at"]
    url: Url | None = None
    """None: that of the country."""


class TibberPart(StrEnum):
    TOTAL = "total"
    """What the customer pays, grid fees and taxes included as far as Tibber knows them."""
    ENERGY = "energy"


class Tibber(_Secret):
    """The prices of a Tibber contract, in its currency; needs a token."""

    type: Literal["tibber"] = "tibber"
    home: Annotated[int, Field(ge=0, le=100)] = 0
    """Which of the customer's homes, in the order of the answer."""
    part: TibberPart = TibberPart.TOTAL
    url: Url = "https://api.tibber.com/v1-beta/gql"


class WeatherVariable(StrEnum):
    """Names of Open-Meteo. Irradiance [W/m²] is the mean of the hour before its time."""

    TEMPERATURE = "temperature_2m"
    GHI = "shortwave_radiation"
    DNI = "direct_normal_irradiance"
    DHI = "diffuse_radiation"


class OpenMeteo(_Feed):
    """The weather forecast of Open-Meteo at the site's place, without registration for non-commercial use."""

    type: Literal["open_meteo"] = "open_meteo"
    variable: WeatherVariable
    url: Url = "https://api.open-meteo.com/v1/forecast"


class TimeFormat(StrEnum):
    ISO = "iso"
    """ISO 8601 with a zone, or in the site's zone without one."""
    UNIX_S = "unix_s"
    UNIX_MS = "unix_ms"


class JsonFeed(_Secret):
    """Any service that answers a GET with JSON."""

    type: Literal["json"] = "json"
    url: Url
    """``{start}`` and ``{end}`` are replaced by the times wanted (ISO 8601, UTC), ``{start_s}`` and ``{end_s}`` by
    seconds since 1970, ``{latitude}`` and ``{longitude}`` by the site's place."""
    times: Path
    """JMESPath expression of a list of times, such as ``data[].start_timestamp``."""
    values: Path
    """JMESPath expression of the list of values that belong to the times, such as ``data[].marketprice``."""
    time_format: TimeFormat = TimeFormat.ISO
    factor: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0
    """To the unit of the profile: 0.001 from €/MWh to €/kWh."""
    interval_label: IntervalLabel | None = None
    headers: dict[str, Annotated[str, Field(max_length=500)]] = Field(default_factory=dict)
    """``{token}`` is replaced by the access token."""


class OpenAdrPayload(StrEnum):
    PRICE = "PRICE"
    EXPORT_PRICE = "EXPORT_PRICE"
    GHG = "GHG"
    """Emissions of energy from the grid [g/kWh]."""


class OpenAdrFeed(Vtn, _Feed):
    """Prices or emissions as the events of an OpenADR 3 server have them; needs the extra ``openadr``."""

    type: Literal["openadr"] = "openadr"
    payload: OpenAdrPayload = OpenAdrPayload.PRICE
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    """Events in another one are refused."""


HttpFeed = EnergyCharts | EnergyChartsCo2 | Entsoe | Awattar | Tibber | OpenMeteo | JsonFeed
"""What one request over HTTP answers."""
Feed = Annotated[
    EnergyCharts | EnergyChartsCo2 | Entsoe | Awattar | Tibber | OpenMeteo | JsonFeed | OpenAdrFeed,
    Field(discriminator="type"),
]


def token_variable(feed: Feed) -> str | None:
    """The environment variable with the feed's access token or secret; None: it needs none, or reads it from a file."""
    if isinstance(feed, OpenAdrFeed):
        return feed.client_secret_env
    return feed.token_env if isinstance(feed, _Secret) else None


def token_path(feed: Feed) -> str | None:
    """The file with the feed's access token; None: it needs none, or has it from a variable."""
    return feed.token_file if isinstance(feed, _Secret) else None
