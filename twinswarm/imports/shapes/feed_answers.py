"""Kept answers of price feeds: Energy-Charts, aWATTar and Tibber as JSON, ENTSO-E's document A44 as XML.

They are read by `services.feeds`, as the answers of live feeds are.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from schemas.site import Location
from schemas.site.feeds import Awattar, EnergyCharts, Entsoe, HttpFeed, Tibber
from services.feeds.reading import BadAnswerError
from services.feeds.requests import Wanted as Window
from services.feeds.requests import request_for
from twinswarm.imports.imported import Imported
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.regular import Grid, resampled, without_holes
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import decoded

_NOW = datetime(2000, 1, 1, tzinfo=UTC)
_SOMEWHERE = Location(latitude_deg=0, longitude_deg=0, time_zone="UTC")
"""A request asks for a time and a place; how its answer is read depends on neither."""


def read_as(feed: HttpFeed) -> Callable[[Wanted], Imported]:
    """Reads the answer of a feed to €/kWh."""
    request = request_for(feed, Window(_NOW, _NOW, _SOMEWHERE))

    def read(wanted: Wanted) -> Imported:
        import numpy as np

        try:
            found = request.read(decoded(wanted.file, wanted.options, wanted.notes))
        except BadAnswerError as error:
            raise wanted.file.refuse(str(error).replace("the answer", "the file")) from None
        values = np.array([np.nan if value is None else value for value in found.values]) * wanted.options.factor
        grid = Grid(int(found.start.timestamp()), found.step_s, values)
        by = wanted.home or UTC
        grid = without_holes(grid, by, str(wanted.file.path), wanted.options, wanted.notes)
        if wanted.options.step_s is not None:
            grid = resampled(grid, wanted.options.step_s, by, wanted.notes)
        wanted.notes.read.append(f"prices of {feed.type} in €/kWh, read as the answer of a live feed (docs/feeds.md)")
        return Imported(Kind.PRICE, feed.type, {"price": grid}, wanted.notes)

    return read


def _is_json(file: RawFile, *fields: str) -> bool:
    return file.begin.lstrip()[:1] == "{" and all(f'"{field}"' in file.begin for field in fields)


_PRICE = frozenset({Kind.PRICE})
SHAPES = (
    Shape(
        "energy-charts", "answer of Energy-Charts' API, €/MWh", _PRICE, read_as(EnergyCharts(bidding_zone="DE-LU")),
        lambda file: _is_json(file, "unix_seconds"),
    ),
    Shape(
        "awattar", "answer of aWATTar's API, €/MWh", _PRICE, read_as(Awattar(country="de")),
        lambda file: _is_json(file, "start_timestamp", "marketprice"),
    ),
    Shape(
        "tibber", "answer of Tibber's API, price of a kWh", _PRICE, read_as(Tibber()),
        lambda file: _is_json(file, "priceInfo", "startsAt"),
    ),
    Shape(
        "entsoe-xml", "ENTSO-E's publication document A44, €/MWh", _PRICE, read_as(Entsoe(bidding_zone="DE_LU")),
        lambda file: "Publication_MarketDocument" in file.begin,
    ),
)  # fmt: skip
