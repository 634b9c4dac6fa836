"""Answers in the form of the public services, of any values."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

Values = Sequence[float | None]


def times(start: datetime, step_s: int, count: int) -> list[datetime]:
    return [start + timedelta(seconds=i * step_s) for i in range(count)]


def energy_charts(start: datetime, step_s: int, values: Values) -> str:
    seconds = [int(time.timestamp()) for time in times(start, step_s, len(values))]
    return json.dumps({"license_info": "x", "unix_seconds": seconds, "price": values, "unit": "EUR / MWh"})


def energy_charts_co2(start: datetime, step_s: int, measured: Values, forecast: Values) -> str:
    """``measured`` and ``forecast`` are as long as one another, each with None where it has no value."""
    seconds = [int(time.timestamp()) for time in times(start, step_s, len(measured))]
    return json.dumps(
        {
            "unix_seconds": seconds,
            "co2eq": measured,
            "co2eq_forecast": forecast,
            "substitute": False,
            "deprecated": False,
        }
    )


def awattar(start: datetime, step_s: int, values: Values) -> str:
    data = [
        {
            "start_timestamp": int(time.timestamp() * 1000),
            "end_timestamp": int(time.timestamp() * 1000) + step_s * 1000,
            "marketprice": value,
            "unit": "Eur/MWh",
        }
        for time, value in zip(times(start, step_s, len(values)), values, strict=True)
    ]
    return json.dumps({"object": "list", "data": data, "url": "/at/v1/marketdata"})


def tibber(start: datetime, step_s: int, today: Values, tomorrow: Values) -> str:
    def priced(begin: datetime, values: Values) -> list[dict[str, object]]:
        return [
            {"total": value, "startsAt": time.astimezone().isoformat(timespec="milliseconds")}
            for time, value in zip(times(begin, step_s, len(values)), values, strict=True)
        ]

    end = start + timedelta(seconds=step_s * len(today))
    info = {"today": priced(start, today), "tomorrow": priced(end, tomorrow)}
    return json.dumps({"data": {"viewer": {"homes": [{"currentSubscription": {"priceInfo": info}}]}}})


def open_meteo(start: datetime, variable: str, values: Values) -> str:
    seconds = [int(time.timestamp()) for time in times(start, 3600, len(values))]
    return json.dumps(
        {
            "latitude": 45.07,
            "utc_offset_seconds": 0,
            "hourly_units": {"time": "unixtime", variable: "W/m²"},
            "hourly": {"time": seconds, variable: values},
        }
    )


def entsoe(start: datetime, step_s: int, points: dict[int, float], count: int) -> str:
    """``points``: by position from 1 on; curve type A03 leaves out those that repeat the one before."""

    def stamp(time: datetime) -> str:
        return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")

    rows = "".join(
        f"<Point><position>{position}</position><price.amount>{price}</price.amount></Point>"
        for position, price in points.items()
    )
    end = start + timedelta(seconds=step_s * count)
    return (
        '<?xml version="1.0" encoding="utf-8"?><Publication_MarketDocument '
        'xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"><type>A44</type><TimeSeries><mRID>1</mRID>'
        "<curveType>A03</curveType><Period><timeInterval>"
        f"<start>{stamp(start)}</start><end>{stamp(end)}</end></timeInterval>"
        f"<resolution>PT{step_s // 60}M</resolution>{rows}</Period></TimeSeries></Publication_MarketDocument>"
    )


ENTSOE_NOTHING = (
    "<Acknowledgement_MarketDocument><Reason><code>999</code><text>No matching data found for the parameters"
    "</text></Reason></Acknowledgement_MarketDocument>"
)
