"""Files in the shapes of the platforms that write them, from known values.

The shapes are those that the platforms' pages and libraries that read them document: transparency.entsoe.eu (CSV
exports of 2024 and before), smard.de (download centre), energy-charts.info, PVGIS 5.2 user manual, NAESB REQ.21 (ESPI).
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.imports.written import Powers, comma, table

BERLIN = ZoneInfo("Europe/Berlin")
PARIS = ZoneInfo("Europe/Paris")


def entsoe_utc(prices: Powers) -> str:
    """Since 2024: times of UTC, the area and the sequence of the auction in columns; here with a second sequence."""
    rows = []
    for t, p in zip(prices.times, prices.kw, strict=True):
        span = f"{t:%d/%m/%Y %H:%M:%S} - {t + prices.step:%d/%m/%Y %H:%M:%S}"
        rows.append([f'"{cell}"' for cell in (span, "BZN|FR", "Sequence Sequence 1", f"{p:.2f}", "", "")])
        rows.append([f'"{cell}"' for cell in (span, "BZN|FR", "Sequence Sequence 2", "999.00", "", "")])
    heads = (
        "MTU (UTC)",
        "Area",
        "Sequence",
        "Day-ahead Price (EUR/MWh)",
        "Intraday Period (UTC)",
        "Intraday Price (EUR/MWh)",
    )
    return table(",".join(f'"{head}"' for head in heads), rows, ",")


def entsoe_local(prices: Powers) -> str:
    """Before: local times without marks, but for those of the end of summer time."""
    rows = []
    for t, p in zip(prices.times, prices.kw, strict=True):
        begin, end = t.astimezone(PARIS), (t + prices.step).astimezone(PARIS)
        both = begin.date() == datetime(2024, 10, 27).date() and begin.hour in {1, 2}
        marks = [f" ({'CEST' if one.dst() else 'CET'})" if both else "" for one in (begin, end)]
        span = f"{begin:%d/%m/%Y %H:%M:%S}{marks[0]} - {end:%d/%m/%Y %H:%M:%S}{marks[1]}"
        rows.append([f'"{cell}"' for cell in (span, f"{p:.2f}", "EUR", "")])
    return table('"MTU (CET/CEST)","Day-ahead Price [EUR/MWh]","Currency","BZN|FR"', rows, ",")


def smard(prices: Powers) -> str:
    """With a second area, which has no values."""
    rows = [
        [
            f"{t.astimezone(BERLIN):%d.%m.%Y %H:%M}",
            f"{(t + prices.step).astimezone(BERLIN):%d.%m.%Y %H:%M}",
            comma(p, 2),
            "-",
        ]
        for t, p in zip(prices.times, prices.kw, strict=True)
    ]
    area = "[€/MWh] Originalauflösungen"
    return "\ufeff" + table(f"Datum von;Datum bis;Deutschland/Luxemburg {area};DE/AT/LU {area}", rows)


def smard_english(prices: Powers) -> str:
    def stamp(time: datetime) -> str:
        local = time.astimezone(BERLIN)
        return f"{local:%b} {local.day}, {local.year} {local:%I:%M %p}"

    rows = [[stamp(t), stamp(t + prices.step), f"{p:.2f}"] for t, p in zip(prices.times, prices.kw, strict=True)]
    return "\ufeff" + table("Start date;End date;Germany/Luxembourg [€/MWh] Original resolutions", rows)


def energy_charts(prices: Powers) -> str:
    rows = [
        [t.astimezone(BERLIN).isoformat(timespec="minutes"), f"{p:.2f}"]
        for t, p in zip(prices.times, prices.kw, strict=True)
    ]
    return '"Date (GMT+1)","Day Ahead Auction (DE-LU)"\n' + table(',"Price (EUR/MWh)"', rows, ",")


def energy_charts_json(prices: Powers) -> str:
    times = [int(t.timestamp()) for t in prices.times]
    return json.dumps(
        {"license_info": "CC BY 4.0", "unix_seconds": times, "price": list(prices.kw), "unit": "EUR / MWh"}
    )


def awattar(prices: Powers) -> str:
    rows = [
        {"start_timestamp": int(t.timestamp() * 1000), "end_timestamp": int((t + prices.step).timestamp() * 1000),
         "marketprice": p, "unit": "Eur/MWh"}
        for t, p in zip(prices.times, prices.kw, strict=True)
    ]  # fmt: skip
    return json.dumps({"object": "list", "data": rows, "url": "/de/v1/marketdata"})


def tibber(prices: Powers) -> str:
    rows = [
        {"total": p / 1000, "startsAt": t.astimezone(BERLIN).isoformat(timespec="milliseconds")}
        for t, p in zip(prices.times, prices.kw, strict=True)
    ]
    info = {"today": rows[:24], "tomorrow": rows[24:]}
    return json.dumps({"data": {"viewer": {"homes": [{"currentSubscription": {"priceInfo": info}}]}}})


def entsoe_xml(prices: Powers) -> str:
    points = "".join(
        f"<Point><position>{n}</position><price.amount>{p}</price.amount></Point>" for n, p in enumerate(prices.kw, 1)
    )
    end = prices.start + len(prices.kw) * prices.step
    return (
        '<?xml version="1.0" encoding="utf-8"?><Publication_MarketDocument '
        'xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"><type>A44</type><TimeSeries><mRID>1</mRID>'
        "<currency_Unit.name>EUR</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name>"
        f"<curveType>A03</curveType><Period><timeInterval><start>{prices.start:%Y-%m-%dT%H:%MZ}</start>"
        f"<end>{end:%Y-%m-%dT%H:%MZ}</end></timeInterval><resolution>PT60M</resolution>{points}</Period></TimeSeries>"
        "</Publication_MarketDocument>"
    )


def green_button(powers: Powers) -> str:
    """Energies in Wh, with a multiplier of ten."""
    seconds = int(powers.step.total_seconds())
    readings = "".join(
        f"<IntervalReading><timePeriod><duration>{seconds}</duration><start>{int(t.timestamp())}</start></timePeriod>"
        f"<value>{round(e * 100)}</value></IntervalReading>"
        for t, e in zip(powers.times, powers.kwh, strict=True)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Usage</title>'
        '<entry><content><ReadingType xmlns="http://naesb.org/espi"><accumulationBehaviour>4</accumulationBehaviour>'
        f"<flowDirection>1</flowDirection><intervalLength>{seconds}</intervalLength><powerOfTenMultiplier>1"
        "</powerOfTenMultiplier><uom>72</uom></ReadingType></content></entry><entry><content>"
        f'<IntervalBlock xmlns="http://naesb.org/espi">{readings}</IntervalBlock></content></entry></feed>'
    )


def pvgis_hourly(
    start: datetime,
    rows: Sequence[tuple[float, float, float, float]],
    slope: int = 0,
    sun_deg: Sequence[float] | None = None,
) -> str:
    """Beam and diffuse irradiance [W/m²], air temperature [°C], PV power [W], at minute 10 of each hour.

    ``sun_deg``: height of the sun; None: 0, as in a file without it.
    """
    heights = [0.0] * len(rows) if sun_deg is None else sun_deg
    lines = [
        f"{start + timedelta(hours=n, minutes=10):%Y%m%d:%H%M},{p:.1f},{b:.2f},{d:.2f},0.0,{h:.2f},{t:.2f},1.0,0.0"
        for n, ((b, d, t, p), h) in enumerate(zip(rows, heights, strict=True))
    ]
    head = (
        "Latitude (decimal degrees):\t48.100\r\nLongitude (decimal degrees):\t11.500\r\nElevation (m):\t520\r\n"
        f"Radiation database:\tPVGIS-SARAH2\r\n\r\n\r\nSlope: {slope} deg.\r\nAzimuth: 0 deg.\r\n"
        "Nominal power of the PV system (c-Si) (kWp):\t1.0\r\nSystem losses (%):\t14.0\r\n"
        "time,P,Gb(i),Gd(i),Gr(i),H_sun,T2m,WS10m,Int\r\n"
    )
    return head + "\r\n".join(lines) + "\r\n\r\nP: PV system power (W)\r\n\r\nPVGIS (c) European Union, 2001-2024\r\n"


def pvgis_tmy(ghi: Sequence[float], temperature: Sequence[float]) -> str:
    """8760 hours; January of 2012, the other months of 2015."""
    lines = []
    time = datetime(2015, 1, 1)
    for g, t in zip(ghi, temperature, strict=True):
        shown = time.replace(year=2012) if time.month == 1 else time
        lines.append(f"{shown:%Y%m%d:%H%M},{t:.2f},80.0,{g:.1f},{g / 2:.1f},{g / 2:.1f},280.0,1.0,90.0,95000.0")
        time += timedelta(hours=1)
    months = "".join(f"{month},{2012 if month == 1 else 2015}\r\n" for month in range(1, 13))
    return (
        "Latitude (decimal degrees): 48.100\r\nLongitude (decimal degrees): 11.500\r\nElevation (m): 520.0\r\n"
        f"Irradiance Time Offset (h): 0.1761\r\nmonth,year\r\n{months}"
        "time(UTC),T2m,RH,G(h),Gb(n),Gd(h),IR(h),WS10m,WD10m,SP\r\n" + "\r\n".join(lines) + "\r\n"
        "T2m: 2-m air temperature (degree Celsius)\r\nRH: relative humidity (%)\r\nPVGIS (c) European Communities\r\n"
    )
