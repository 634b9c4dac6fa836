"""What is asked of each source, and how its answer is read."""

import json
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from schemas.site import IntervalLabel, Location
from schemas.site.feeds import (
    Awattar,
    EnergyCharts,
    EnergyChartsCo2,
    Entsoe,
    HttpFeed,
    JsonFeed,
    OpenMeteo,
    Tibber,
    TimeFormat,
    WeatherVariable,
)
from services.feeds.entsoe import area_code, day_ahead_prices
from services.feeds.reading import BadAnswerError, Reading, reading_of

PER_MWH = 0.001
"""From €/MWh to €/kWh."""

_AWATTAR = {"de": "https://api.awattar.de/v1/marketdata", "at": "https://api.awattar.at/v1/marketdata"}
_TIBBER = (
    "{viewer {homes {currentSubscription {priceInfo(resolution: QUARTER_HOURLY) "
    "{today {PART startsAt} tomorrow {PART startsAt}}}}}}"
)


@dataclass(frozen=True)
class Request:
    """A request, and how the text of its answer becomes a reading; that raises BadAnswerError."""

    url: str
    read: Callable[[str], Reading]
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """None: GET; otherwise it is posted as JSON."""


@dataclass(frozen=True)
class Wanted:
    """Whose values are wanted, and for when."""

    start: datetime
    end: datetime
    location: Location
    token: str | None = None


def request_for(feed: HttpFeed, wanted: Wanted) -> Request:
    """Raises ValueError for a bidding zone that nobody knows."""
    match feed:
        case EnergyCharts() | EnergyChartsCo2():
            return _energy_charts(feed, wanted)
        case Awattar():
            query = {"start": _ms(wanted.start), "end": _ms(wanted.end)}
            mapping = _Mapping("data[].start_timestamp", "data[].marketprice", TimeFormat.UNIX_MS, PER_MWH)
            return Request(_with(feed.url or _AWATTAR[feed.country], query), mapping.reader(wanted.location))
        case Tibber():
            info = f"data.viewer.homes[{feed.home}].currentSubscription.priceInfo.[today, tomorrow][][]"
            mapping = _Mapping(f"{info}.startsAt", f"{info}.{feed.part.value}", TimeFormat.ISO, 1.0)
            body = json.dumps({"query": _TIBBER.replace("PART", feed.part.value)}).encode()
            return Request(feed.url, mapping.reader(wanted.location), _bearer(wanted.token), body)
        case OpenMeteo():
            return _weather(feed, wanted)
        case Entsoe():
            query = {
                "securityToken": wanted.token or "",
                "documentType": "A44",
                "in_Domain": (area := area_code(feed.bidding_zone)),
                "out_Domain": area,
                "periodStart": f"{wanted.start:%Y%m%d%H%M}",
                "periodEnd": f"{wanted.end:%Y%m%d%H%M}",
            }
            return Request(_with(feed.url, query), day_ahead_prices)
        case JsonFeed():
            return _json(feed, wanted)


def _energy_charts(feed: EnergyCharts | EnergyChartsCo2, wanted: Wanted) -> Request:
    when = {"start": _iso(wanted.start), "end": _iso(wanted.end)}
    if isinstance(feed, EnergyCharts):
        query = {"bzn": feed.bidding_zone, **when}
        mapping = _Mapping("unix_seconds", "price", TimeFormat.UNIX_S, PER_MWH)
    else:
        query = {"country": feed.country, **when}
        mapping = _Mapping("unix_seconds", "co2eq", TimeFormat.UNIX_S, 1.0, otherwise="co2eq_forecast")
    return Request(_with(feed.url, query), mapping.reader(wanted.location))


def _weather(feed: OpenMeteo, wanted: Wanted) -> Request:
    query = {
        "latitude": f"{wanted.location.latitude_deg:g}",
        "longitude": f"{wanted.location.longitude_deg:g}",
        "hourly": feed.variable.value,
        "timeformat": "unixtime",
        "past_days": "1",
        "forecast_days": "4",
    }
    # A temperature is of an instant, and taken for that of the hour that begins then.
    mean = feed.variable is not WeatherVariable.TEMPERATURE
    label = IntervalLabel.INTERVAL_END if mean else IntervalLabel.INTERVAL_START
    mapping = _Mapping("hourly.time", f"hourly.{feed.variable.value}", TimeFormat.UNIX_S, 1.0, label)
    return Request(_with(feed.url, query), mapping.reader(wanted.location))


def _json(feed: JsonFeed, wanted: Wanted) -> Request:
    replaced = {
        "{start}": _iso(wanted.start),
        "{end}": _iso(wanted.end),
        "{start_s}": str(int(wanted.start.timestamp())),
        "{end_s}": str(int(wanted.end.timestamp())),
        "{latitude}": f"{wanted.location.latitude_deg:g}",
        "{longitude}": f"{wanted.location.longitude_deg:g}",
    }
    url = feed.url
    for name, value in replaced.items():
        url = url.replace(name, value)
    headers = {name: value.replace("{token}", wanted.token or "") for name, value in feed.headers.items()}
    mapping = _Mapping(feed.times, feed.values, feed.time_format, feed.factor, feed.interval_label)
    return Request(url, mapping.reader(wanted.location), headers)


@dataclass(frozen=True)
class _Mapping:
    """Where times and values stand in a JSON answer, as JMESPath expressions."""

    times: str
    values: str
    time_format: TimeFormat
    factor: float
    interval_label: IntervalLabel | None = None
    otherwise: str | None = None
    """Where the values stand that hold where there is none."""

    def reader(self, location: Location) -> Callable[[str], Reading]:
        return lambda text: self.read(text, location)

    def read(self, text: str, location: Location) -> Reading:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadAnswerError(f"the answer is no JSON: {error}; it begins {text[:80]!r}") from None
        times, values = self._list(answer, self.times), self._list(answer, self.values)
        if self.otherwise is not None:
            others = self._list(answer, self.otherwise)
            if len(others) != len(values):
                raise BadAnswerError(f"{self.values} gives {len(values)} and {self.otherwise} {len(others)} values")
            values = [other if value is None else value for value, other in zip(values, others, strict=True)]
        if len(times) != len(values):
            raise BadAnswerError(f"{self.times} gives {len(times)} times and {self.values} {len(values)} values")
        pairs = [(self._time(time, location), self._value(value)) for time, value in zip(times, values, strict=True)]
        return reading_of(pairs, self.interval_label, "the answer")

    @staticmethod
    def _list(answer: Any, path: str) -> list[Any]:
        import jmespath
        from jmespath.exceptions import JMESPathError

        try:
            found = jmespath.search(path, answer)
        except JMESPathError as error:
            raise BadAnswerError(f"{path!r} cannot be followed: {error}") from None
        if not isinstance(found, list):
            keys = ", ".join(answer) if isinstance(answer, dict) else type(answer).__name__
            raise BadAnswerError(f"{path} leads to no list; the answer has {keys[:200]}")
        return found

    def _value(self, value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadAnswerError(f"{self.values} has a value that is no number: {str(value)[:80]!r}")
        return value * self.factor

    def _time(self, value: Any, location: Location) -> datetime:
        try:
            if self.time_format is TimeFormat.ISO:
                time = datetime.fromisoformat(value)
                zoned = time if time.tzinfo else time.replace(tzinfo=zoneinfo.ZoneInfo(location.time_zone))
                return zoned.astimezone(UTC)
            seconds = float(value) / (1000.0 if self.time_format is TimeFormat.UNIX_MS else 1.0)
            return datetime.fromtimestamp(seconds, UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            what = f"{self.times} has a time that is not of the form {self.time_format.value}"
            raise BadAnswerError(f"{what}: {str(value)[:80]!r}") from None


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _with(url: str, query: dict[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _ms(time: datetime) -> str:
    return str(int(time.timestamp() * 1000))
