"""docs/site.md names every field of a site description that has no page of its own."""

import re
from pathlib import Path

import pytest

from schemas.site import Site
from schemas.site.base import SitePart
from schemas.site.tariff import PriceComponent, PriceRule, PriceTax, Times

PAGE = (Path(__file__).parents[2] / "docs" / "site.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))))
"""Words that stand there as code."""
HERE = {
    "schemas.site",
    "schemas.site.forecasting",
    "schemas.site.options",
    "schemas.site.tariff",
}
DEVICES = "schemas.site.devices."
"""Modules whose fields are on this page; feeds, drivers, network, profiles and scenarios have pages of their own."""
ELSEWHERE = {PriceRule, PriceComponent, PriceTax, Times}
"""In tariffs.md."""


def parts(part: type[SitePart] = SitePart) -> list[type[SitePart]]:
    found = {one for child in part.__subclasses__() for one in (child, *parts(child))}
    return sorted(found, key=lambda one: one.__name__)


@pytest.mark.parametrize(
    "part",
    [one for one in parts() if (one.__module__ in HERE or one.__module__.startswith(DEVICES)) and one not in ELSEWHERE],
    ids=lambda one: one.__name__,
)
def test_every_field_is_on_the_page(part: type[SitePart]) -> None:
    assert [name for name in part.model_fields if name not in NAMED] == []


def test_the_parts_of_a_site_are_all_there() -> None:
    assert Site in parts()
